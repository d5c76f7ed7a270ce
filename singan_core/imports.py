"""What a piece of code's results can depend on, found by reading it: itself and the modules that it imports."""

import ast
import functools
from collections.abc import Collection, Iterable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def imported_modules(sources: Iterable[str], leaving_out: Collection[str] = ()) -> list[Path]:
    """The files of all modules of the package that these texts of Python import, and that those import in turn.

    leaving_out: files, by their path inside the package, that do not count, nor what they alone import.
    Imports inside functions count, and the packages that a module lies in; modules that are imported by a name made at
    run time do not. A text that is no Python, such as a cell with magic commands, may import anything: all modules.
    """
    waiting: set[Path] = set()
    for source in sources:
        try:
            waiting |= _modules(source)
        except SyntaxError:
            waiting |= set(PACKAGE.rglob("*.py"))
    left_out = {PACKAGE / name for name in leaving_out}
    found: set[Path] = set()
    while waiting := waiting - found - left_out:
        module = waiting.pop()
        found.add(module)
        waiting |= _modules(module.read_text(encoding="utf-8"))
    return sorted(found)


def syntax(source: str) -> str:
    """What Python reads in a text: its syntax tree, so that layout and comments do not count, nor docstrings.

    Other strings that are statements do not either, unless a body holds nothing else. The same tree gives the same text
    in all versions of Python that the project supports. A text that is no Python stays as it is.
    """
    try:
        return _shown(ast.parse(source))
    except SyntaxError:
        return source


def _shown(part: object) -> str:
    """A part of a tree as text. `ast.dump` would show empty fields as well, which differ between versions."""
    if isinstance(part, ast.AST):
        fields = (f"{name}={_shown(value)}" for name, value in ast.iter_fields(part) if value not in (None, []))
        return f"{type(part).__name__}({', '.join(fields)})"
    if isinstance(part, list):
        return f"[{', '.join(map(_shown, [each for each in part if not _is_text(each)] or part))}]"
    return repr(part)


def _is_text(statement: object) -> bool:
    value = getattr(statement, "value", None)
    return isinstance(statement, ast.Expr) and isinstance(value, ast.Constant) and isinstance(value.value, str)


def _modules(source: str) -> set[Path]:
    """The files of the package's modules that a text imports itself."""
    return {path for name in _imports(source) for path in _files(name)}


@functools.cache
def _imports(source: str) -> frozenset[str]:
    """The dotted names that a text imports itself."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # what is imported from a package may be one of its modules
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def _files(name: str) -> list[Path]:
    """The files that importing a dotted name runs: the packages from the top, and the module; of others none."""
    first, *parts = name.split(".")
    if first != PACKAGE.name:
        return []
    places = [PACKAGE.joinpath(*parts[:count]) for count in range(len(parts) + 1)]
    files = [place / "__init__.py" for place in places] + [places[-1].with_suffix(".py")]
    return [file for file in files if file.is_file()]

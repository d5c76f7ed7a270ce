"""Which modules of the package a piece of code imports, found by reading it: what its results can depend on."""

import ast
import functools
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def imported_modules(sources: Iterable[str]) -> list[Path]:
    """The files of all modules of the package that these texts of Python import, and that those import in turn.

    Imports inside functions count, and the packages that a module lies in; modules that are imported by a name made at
    run time do not. A text that is no Python, such as a cell with magic commands, may import anything: all modules.
    """
    waiting: set[Path] = set()
    for source in sources:
        try:
            waiting |= _modules(source)
        except SyntaxError:
            return sorted(PACKAGE.rglob("*.py"))
    found: set[Path] = set()
    while waiting:
        module = waiting.pop()
        found.add(module)
        waiting |= _modules(module.read_text(encoding="utf-8")) - found
    return sorted(found)


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

"""The modules that code imports are found by reading it."""

import ast
import subprocess
import sys

import pytest

from singan_core.imports import PACKAGE, imported_modules, syntax


def names(*sources: str) -> set[str]:
    return {path.relative_to(PACKAGE).as_posix() for path in imported_modules(sources)}


def test_modules_are_found_with_those_that_they_import():
    found = names("from singan_core.pyramid import build_pyramid")
    assert {"__init__.py", "pyramid.py", "images.py", "errors.py"} <= found
    assert not found & {"report.py", "widgets.py", "applications/editing.py"}


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import singan_core.applications.zssr", "applications/zssr.py"),
        ("from singan_core.applications import zssr", "applications/zssr.py"),
        ("def later():\n    from singan_core.applications.zssr import back_projected", "applications/zssr.py"),
        ("import singan_core.applications.zssr as z, math", "applications/__init__.py"),
        ("from singan_core import quality", "quality.py"),
    ],
)
def test_every_way_of_importing_counts(source: str, module: str):
    assert module in names(source)
    assert module not in names("import math")


def test_what_lies_outside_of_the_package_does_not_count():
    assert names("import torch, math\nfrom pathlib import Path", "x = 1") == set()


def test_what_cannot_be_read_may_import_everything():
    assert names("%matplotlib inline") == {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}


@pytest.mark.parametrize("module", ["singan_core", "singan_core.applications", "singan_core.plots"])
def test_nothing_that_python_loads_is_missed(module: str):
    shown = "print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'singan_core'), sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", f"import sys, {module}; {shown}"], capture_output=True, text=True)
    assert set(loaded.stdout.split()) <= {str(path) for path in imported_modules([f"import {module}"])}
    assert len(loaded.stdout.split()) > 10


# -- what is code


COMMENTED = '''"""About: "a  # b"."""

# first
import math  # why


class Nothing:
    """Of no use."""

    x = """two

    lines  # no comment"""
    """What x is."""


def f(a: int) -> str:
    """Says a,

    and more."""
    return f"{a}#" + "\\n"  # the end
'''
PLAIN = '''import math
class Nothing:
    x = """two

    lines  # no comment"""
def f(a: int) -> str:
    return f"{a}#" + "\\n"'''
SPREAD = """import math
class Nothing:
    x = "two\\n\\n    lines  # no comment"
def f(
    a: int,
) -> str:
    return (
        f"{a}#"
        + "\\n"
    )"""


def test_comments_docstrings_and_layout_are_no_code():
    assert syntax(COMMENTED) == syntax(PLAIN) == syntax(SPREAD)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = None"),
        ("x = (1)", "x = (1,)"),
        ("x = 'a'", "x = b'a'"),
        ("x = 'a'", "x = f'a'"),
        ("x = '#'", "x = '# '"),
        ("x: int", "x: float"),
        ("f(a, b)", "f(b, a)"),
        ("f(a=1)", "f(b=1)"),
        ("a + b * c", "(a + b) * c"),
        ("if x:\n    f()\n    g()", "if x:\n    f()\ng()"),
        ("def f():\n    return 1", "def f():\n    return"),
        ("def f(a, /, b): f", "def f(a, b): f"),
        ("'all there is'", "'all'"),
    ],
)
def test_another_code_has_another_syntax(old, new):
    assert syntax(old) != syntax(new)


def test_what_is_no_python_stays():
    assert syntax("%timeit f(1)  # slow") == "%timeit f(1)  # slow"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_syntax_is_all_that_python_reads(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [each for each in body if not ast.unparse(each).startswith(('"', "'"))] or body
    assert syntax(path.read_text(encoding="utf-8")) == syntax(ast.unparse(tree))

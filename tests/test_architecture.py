"""The rules that keep the core easy to change: who imports whom, and what the core needs."""

import ast
import json
import re
import subprocess
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest

import singan_core

PACKAGE = Path(singan_core.__file__).parent
FIDELITY = PACKAGE.parent / "docs" / "fidelity.md"
CORE = {"torch", "numpy", "scikit-image", "matplotlib", "tqdm", "safetensors"}


def documented_order() -> list[str]:
    section = FIDELITY.read_text().split("## How the modules depend on each other")[1]
    block = re.search(r"((?:^    .+\n)+)", section, re.MULTILINE).group(1)
    return block.split()


def imports_of(module: str) -> set[str]:
    """Names of the package's modules that a module imports, those for type checkers alone left out."""
    tree = ast.parse(modules()[module].read_text())
    found = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            return
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("singan_core"):
            inside = node.module.removeprefix("singan_core").removeprefix(".")
            names = {f"{inside}.{alias.name}".removeprefix(".") for alias in node.names} & set(modules())
            found.update(names or {inside} - {""})
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def modules() -> dict[str, Path]:
    """The files of the modules by their names in the package: `images`, `applications.editing`; `applications`."""
    files = {path.relative_to(PACKAGE).with_suffix(""): path for path in PACKAGE.rglob("*.py")}
    names = {".".join(file.parts).removesuffix("__init__").removesuffix("."): path for file, path in files.items()}
    return {name: path for name, path in names.items() if name}


def test_every_module_has_its_place_in_the_documented_order():
    assert sorted(documented_order()) == sorted(modules())


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_run_downward(module):
    order = documented_order()
    above = {name for name in imports_of(module) if order.index(name) >= order.index(module)}
    assert not above, f"{module} imports {above}, which stand above it"


def test_imports_of_the_applications_are_seen():
    assert {"applications.editing", "applications.super_resolution"} <= imports_of("applications")
    assert {"model", "pyramid", "errors"} <= imports_of("applications.editing")


def in_a_fresh_interpreter(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def requirements(names: set[str]) -> set[str]:
    """These distributions with all that they require, extras left out; normalised names."""
    done: set[str] = set()
    waiting = {_normal(name) for name in names}
    while waiting:
        name = waiting.pop()
        done.add(name)
        try:
            lines = distribution(name).requires or []
        except ModuleNotFoundError:  # for another platform
            continue
        plain = [line for line in lines if "extra ==" not in line]
        waiting |= {_normal(re.match(r"[\w.-]+", line).group()) for line in plain} - done
    return done


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_core_imports_with_its_six_packages_and_what_they_bring():
    loaded = json.loads(in_a_fresh_interpreter("import sys, json, singan_core; print(json.dumps(sorted(sys.modules)))"))
    owners = packages_distributions()
    tops = {name.split(".")[0] for name in loaded} - {"singan_core"}
    found = {_normal(owner) for top in tops for owner in owners.get(top, [])}
    brought = requirements(CORE)
    strangers = {name for name in found if name not in brought}
    # setuptools' own start-up hook is no import of ours
    assert strangers <= {"setuptools", "singan-core"}, strangers


def test_the_core_adds_little_to_the_time_pytorch_takes_to_import():
    code = "import torch, time; before = time.process_time(); import singan_core; print(time.process_time() - before)"
    assert float(in_a_fresh_interpreter(code)) < 2.5

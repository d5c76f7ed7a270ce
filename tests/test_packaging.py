"""pyproject.toml, constraints.txt, environment.yml, the Makefile and CITATION.cff say the same thing."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import singan_core

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
OLDEST_PYTHON = PROJECT["requires-python"].removeprefix(">=")
# Packages whose name in an import statement, or in conda, is not their name for pip.
IMPORTED_AS = {"skimage": "scikit-image", "PIL": "pillow", "yaml": "pyyaml"}
CONDA_NAMES = {"pytorch": "torch"}


def declared(*extras: str) -> dict[str, Requirement]:
    """The requirements of the core and of the named extras, by canonical name."""
    lines = PROJECT["dependencies"] + [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


def conda_requirements() -> dict[str, Requirement]:
    """The conda packages of environment.yml, by the canonical name that pip knows them by."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    requirements = [Requirement(line) for line in environment["dependencies"] if isinstance(line, str)]
    return {canonicalize_name(CONDA_NAMES.get(found.name, found.name)): found for found in requirements}


def pins() -> dict[str, str]:
    """The versions of constraints.txt by canonical name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def make(*arguments: str, folder: Path = ROOT) -> str:
    """The output of make, as if it were called from a terminal and not from a test that make itself started."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def third_party_imports(folder: Path) -> set[str]:
    """Canonical names of the packages that the modules of a folder import from outside the project."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.split(".")[0])
    third_party = names - sys.stdlib_module_names - {folder.name}
    return {canonicalize_name(IMPORTED_AS.get(name, name)) for name in third_party}


def test_conda_environment_has_the_ranges_of_pyproject():
    conda = conda_requirements()
    python, _ = conda.pop("python"), conda.pop("pip")
    expected = {name: requirement.specifier for name, requirement in declared("course", "dev").items()}
    assert {name: requirement.specifier for name, requirement in conda.items()} == expected
    assert str(python.specifier) == PROJECT["requires-python"]


def test_every_declared_package_is_pinned_inside_its_range():
    versions = pins()
    for name, requirement in declared("course", "dev", "browser").items():
        assert name in versions, f"{name} is missing in constraints.txt: run `make lock`"
        assert versions[name] in requirement.specifier, f"{name}=={versions[name]} is outside {requirement.specifier}"


def test_pins_are_exact_and_free_of_local_builds():
    """A local build such as 2.13.0+cpu exists on some machines only; the plain version matches it everywhere."""
    assert all(re.fullmatch(r"\d+(\.\w+)*", version) for version in pins().values())


def test_set_up_installs_torch_first_and_everything_at_the_pinned_versions():
    # `-n` prints the commands without running them, `-W` acts as if pyproject.toml had just changed.
    printed = make("-n", "-W", "pyproject.toml", ".venv/.installed")
    installs = [line for line in printed.splitlines() if "pip install" in line]
    assert len(installs) == 2
    assert installs[0].endswith(f"-c constraints.txt torch=={pins()['torch']}")
    assert installs[1].endswith("-c constraints.txt -e '.[course,dev]'")


def set_up(folder: Path) -> list[str]:
    """Run the set-up in a folder where Python is a stand-in that only notes its arguments; gives these."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    stand_in = folder / "stand-in"
    stand_in.write_text(
        f'#!/bin/sh\necho "$@" >> {folder}/calls\n'
        f'case "$*" in "-m venv .venv") mkdir -p .venv/bin && cp {stand_in} .venv/bin/python;; esac\n'
    )
    stand_in.chmod(0o755)
    make(".venv/.installed", f"PYTHON={stand_in}", folder=folder)
    return (folder / "calls").read_text().splitlines()


@pytest.mark.parametrize("unfinished", [False, True])
def test_an_environment_that_somebody_made_is_kept_and_an_unfinished_one_made_anew(tmp_path, unfinished):
    mine = tmp_path / ".venv" / "mine"
    (mine.parent / "bin").mkdir(parents=True)
    mine.touch()
    python = mine.parent / "bin" / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    python.chmod(0o755)
    if unfinished:
        (tmp_path / ".venv" / ".unfinished").touch()
    calls = set_up(tmp_path)
    assert mine.exists() is not unfinished
    assert ("-m venv .venv" in calls) is unfinished
    assert sum("pip install" in call for call in calls) == 2
    assert (tmp_path / ".venv" / ".installed").exists() and not (tmp_path / ".venv" / ".unfinished").exists()


def test_versions_are_found_on_the_oldest_supported_python():
    assert f"--python-version {OLDEST_PYTHON} " in make("-n", "lock")


def test_make_alone_lists_every_command():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split()
    listed = dict(re.findall(r"^make (\S+) +(\S.*)$", make(), re.MULTILINE))
    assert sorted(listed) == sorted(commands)


def test_continuous_integration_runs_the_pythons_that_the_package_names():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    named = [line.rsplit(" ", 1)[1] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    assert workflow["jobs"]["tests"]["strategy"]["matrix"]["python-version"] == named
    assert named[0] == OLDEST_PYTHON


def test_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == singan_core.__version__


def test_version_and_license_stand_in_one_place_each():
    assert "version" in PROJECT["dynamic"] and "version" not in PROJECT
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == PROJECT["license"]


def test_every_package_that_the_core_imports_is_declared():
    """Also those that another package happens to bring. nbgrader is for `student`, which only runs in a checkout."""
    assert third_party_imports(ROOT / "singan_core") <= set(declared("course")) | {"nbgrader"}
    assert "nbgrader" in declared("dev")

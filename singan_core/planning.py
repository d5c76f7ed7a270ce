"""The plan of a batch: notebooks x seeds x pictures as runs, and which of them are due.

A run is due unless its executed copy stands for what running it again would give. `reproduce` has the due ones done.
"""

import contextlib
import difflib
import json
import math
import re
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from singan_core.arguments import checked_seed
from singan_core.claims import load_claims
from singan_core.errors import SinGANError
from singan_core.files import write_text
from singan_core.images import OWN, data_folder, is_hidden, sample_names
from singan_core.imports import imported_modules, syntax
from singan_core.notebooks import (
    CHECKOUT,
    Notebook,
    check_declared,
    code_cells,
    declared_parameters,
    read_notebook,
    read_outcome,
)
from singan_core.plots import profile_folder
from singan_core.store import shipped_file
from singan_core.trace import digest, digest_of

LARGEST_SEED = 2**30 - 1
"""Notebooks train with seeds up to 4 * seed + 3, and `TrainConfig` takes none above 2**32 - 1."""


@dataclass(frozen=True)
class Run:
    """One notebook with one set of parameters: a task of the batch.

    variant: empty for the notebook's own seed and picture, else their label, as `peaks-seed1`. folder: where figures
    go. edition: of the code that the results come from. fingerprint: of all that the executed copy depends on, pictures
    and pyramids apart. cells: how many there are to execute. seconds: the time of the last run, None for none.
    """

    path: Path
    parameters: dict[str, Any]
    variant: str
    folder: Path
    edition: str
    fingerprint: str
    cells: int
    seconds: float | None

    @property
    def label(self) -> str:
        return f"{self.path.stem} {self.variant}".strip()

    @property
    def executed(self) -> Path:
        """The executed copy."""
        return self.folder / "notebooks" / self.path.name

    def up_to_date(self, retraining_since: float | None = None) -> bool:
        """Whether what the last run has left is what running it again would give.

        So it is when the run had no error, its figures, results and page are there as it wrote them, and the notebook,
        its parameters and claims, the code, its pictures and which pyramids are shipped are as they were.
        retraining_since: seconds since 1970; then what counts is that the run was made later, with its own trainings.
        """
        try:
            outcome = read_outcome(self.executed)
        except SinGANError:
            return False
        if outcome.error is not None or outcome.fingerprint != self.fingerprint:
            return False
        if any(digest(self.executed.parent / name) != found for name, found in outcome.files.items()):
            return False
        if retraining_since is not None:
            finished = datetime.fromisoformat(outcome.finished).timestamp()
            return finished >= retraining_since and outcome.retrained == ("retrain" in self.parameters)
        return all(
            (shipped_file(key, note["discriminators"]) is not None) == note["shipped"]
            for key, note in outcome.pyramids.items()
        )


def plan(
    paths: Sequence[Path],
    profile: str,
    folder: Path,
    *,
    seeds: Sequence[int] = (),
    images: Sequence[str] = (),
    retrain: bool = False,
) -> list[Run]:
    """The runs of notebooks x seeds x pictures, those with the notebooks' own seed and picture first.

    A notebook takes of the parameters what it declares: one that trains nothing has no `retrain`. Raises SinGANError
    for pictures that are not bundled, a seed that is none, a misspelt parameter, and one that no notebook declares.
    """
    for name in images:
        check_picture(name)
    seeds = [checked_seed(seed) for seed in seeds]
    for seed in seeds:
        if seed > LARGEST_SEED:
            raise SinGANError(f"A seed is a whole number from 0 to {LARGEST_SEED}, got {seed}.")
    for path in paths:
        if any(path.stem == other.stem and path != other for other in paths):
            raise SinGANError(f"Two notebooks are called {path.stem}: run them with different output folders.")
    wanted = {name for name, asked in (("retrain", retrain), ("seed", seeds), ("image_name", images)) if asked}
    sources = [read_notebook(path) for path in paths]
    declared = [declared_parameters(source) for source in sources]
    for path, source, names in zip(paths, sources, declared, strict=True):
        nowhere = {name for name in wanted if not any(name in others for others in declared)}
        misspelt = {name for name in wanted if name not in names and difflib.get_close_matches(name, names)}
        check_declared(path, source, sorted({"profile"} | nowhere | misspelt))
    runs = []
    for path, source, names in zip(paths, sources, declared, strict=True):
        version = edition(source)
        for image in dict.fromkeys(images) if images and "image_name" in names else [None]:
            for seed in dict.fromkeys(seeds) if seeds and "seed" in names else [None]:
                asked = {"image_name": image, "seed": seed}
                asked = {name: value for name, value in asked.items() if value is not None and value != names[name]}
                label = "-".join(f"seed{value}" if name == "seed" else value for name, value in asked.items())
                parameters = {"profile": profile} | asked
                place = folder / label
                runs.append(
                    Run(
                        path,
                        parameters | ({"retrain": True} if retrain and "retrain" in names else {}),
                        label,
                        place,
                        version,
                        fingerprint(path.stem, source, parameters),
                        1 + len(code_cells(source)),  # and the one with the parameters
                        last_seconds(place / "notebooks" / path.name),
                    )
                )
    return sorted(runs, key=lambda run: bool(run.variant))


def check_picture(name: str) -> None:
    """SinGANError for a name that no bundled picture has, or that cannot be part of the names of results."""
    own = f"Copy a picture of your own to {data_folder() / OWN}, under a name of lower-case letters, digits, _ and -"
    if name not in sample_names():
        close = difflib.get_close_matches(name, sample_names(), n=1)
        if set("./\\") & set(name):
            hint = f"{own}, and give that name without the suffix."
        elif not close:
            hint = f"there are {', '.join(sample_names())}."
        else:
            hint = f"did you mean {close[0]!r}?" if _fits(close[0]) else f"rename {close[0]!r}. {own}."
        raise SinGANError(f"There is no bundled picture {name!r}: {hint}")
    if not _fits(name):
        raise SinGANError(f"The picture {name!r} cannot be run by this name. {own}: rename it.")
    if is_hidden(name):
        raise SinGANError(f"Your picture {name!r} has the name of a bundled one, which would be taken: rename it.")


def _fits(name: str) -> bool:
    return re.fullmatch(r"[a-z0-9_-]+", name) is not None


def find_notebooks(names: Iterable[str | Path] | str | Path | None = None) -> list[Path]:
    """Notebooks by path, number or beginning of the name, one or several, in the given order; by default the series.

    Raises SinGANError that lists what there is.
    """
    series = sorted((CHECKOUT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    found = list(series) if names is None else []
    for name in [names] if isinstance(names, str | Path) else names or []:
        if not str(name):
            raise SinGANError("The name of a notebook is empty; leave the option out to run all of them.")
        if Path(name).suffix == ".ipynb":
            matches = [Path(name).resolve()] if Path(name).is_file() else []
        else:
            beginning = str(name).zfill(2) if str(name).isdigit() else str(name)
            matches = [path for path in series if path.stem.startswith(beginning)]
        if not matches:
            known = [path.stem for path in series]
            close = [stem for stem in known if str(name).lower() in stem] or difflib.get_close_matches(
                str(name), [*known, *(stem[3:] for stem in known)], n=1
            )
            hint = f"did you mean {close[0]}?" if close else f"give a path or one of: {', '.join(known) or 'none'}."
            raise SinGANError(f"There is no notebook {str(name)!r}: {hint}")
        found += [path for path in matches if path not in found]
    if not found:
        raise SinGANError(f"There are no notebooks in {CHECKOUT / 'notebooks'}: run this from a checkout.")
    return found


def results_folder(profile: str, output: str | Path | None = None) -> Path:
    """Where results of a profile go: <output>/<profile>, by default beside the figures (`plots.profile_folder`)."""
    return (Path(output) / profile if output else profile_folder(profile)).resolve()


def last_seconds(executed: Path) -> float | None:
    """The time of the run that left this copy, None where there is none."""
    try:
        return max(read_outcome(executed).seconds, 1.0)
    except SinGANError:
        return None


@contextlib.contextmanager
def retraining(folder: Path, runs: Iterable[Run]) -> Iterator[float]:
    """Gives the time, in seconds since 1970, when the retraining of these runs began.

    A file in the folder keeps it until the context ends without an exception, so that a retraining that was interrupted
    goes on when the same runs are asked for again.
    """
    asked = digest_of(" ".join(sorted(run.label for run in runs)).encode())
    mark = folder / f".retraining-{asked}"
    try:
        begun = float(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        begun = math.inf
    if not 0 <= begun <= time.time():
        begun = time.time()
        write_text(mark, f"{begun}\n")
    yield begun
    mark.unlink(missing_ok=True)


NO_SOURCE = ("claims.py", "progress.py", "widgets.py")
"""Modules that no measured value comes from: they judge, tell and show what others compute."""


CHECK = "check"
"""The id of the cell that tells students whether their solution is right. No result comes from what it makes."""


def edition(notebook: Notebook) -> str:
    """A hash of the code that a notebook's results come from: its cells' and that of the modules that they import.

    Rules and verdicts, progress bars, widgets, checks of exercises, layout, comments, docstrings and all that is no
    code do not count.
    """
    cells = [cell["source"] for cell in code_cells(notebook) if cell.get("id") != CHECK]
    return digest_of_code(cells, leaving_out=NO_SOURCE)


def digest_of_code(cells: Sequence[str], leaving_out: Collection[str] = ()) -> str:
    """A hash of the code of cells and of the modules that they import, see `imported_modules`."""
    modules = [path.read_text(encoding="utf-8") for path in imported_modules(cells, leaving_out)]
    return digest_of("\0".join(map(syntax, [*cells, *modules])).encode())


def fingerprint(name: str, notebook: Notebook, parameters: dict[str, Any]) -> str:
    """A hash of a notebook's cells, its code and claims, a run's parameters, PyTorch's version, the kind of device.

    Not of `retrain`: what was trained again is what training gives.
    """
    cells = [(cell["cell_type"], cell["source"]) for cell in notebook["cells"]]
    code = digest_of_code([cell["source"] for cell in code_cells(notebook)])
    claims = [asdict(claim) for claim in load_claims().values() if claim.notebook == name]
    machine = [str(torch.__version__), torch.cuda.is_available()]
    parts = [cells, code, claims, parameters, machine]
    return digest_of(json.dumps(parts, sort_keys=True).encode())

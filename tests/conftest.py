"""Settings for every test: hypothesis without deadlines, and no influence from or on the user's files."""

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import settings

from singan_core import Progress, SinGAN, SinGANError, TrainConfig, train
from singan_core.progress import Callback
from tests.settings import without_range

with contextlib.suppress(ModuleNotFoundError, SinGANError):  # without all packages of `course` CUDA tests still run
    from tests.series import cluster, series, sources  # noqa: F401, fixtures

# A deadline in milliseconds fails on a busy machine, not on a wrong result. Continuous integration tries the same
# examples every time, so that a red run belongs to the change under test; elsewhere each run tries new ones.
settings.register_profile("singan", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("singan")

LONGEST = ("test_reproduce", "test_resume", "test_schedule", "test_benchmarks", "test_model", "test_training")
"""Files that take longest, in this order."""


def pytest_configure() -> None:
    """Name what a new setting lacks, before every module that makes a TrainConfig ends with a KeyError."""
    if names := without_range():
        tables = "_RANGES or _CHOICES of singan_core/config.py"
        raise pytest.UsageError(f"{', '.join(names)}: every setting needs its line in {tables}.")


SHARED = {"cluster", "series", "closed_gate"}
"""Fixtures that start clusters or kernels: what takes them is a system test."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell system tests by their fixtures, before -m chooses, and begin with the longest files.

    Each file is one process's work, and a late one would leave the others idle.
    """
    for item in items:
        if SHARED.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.system)
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True, scope="session")
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leave the profile and the data to their defaults, and send runs and figures to folders of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SINGAN_PROFILE", raising=False)
        patch.delenv("SINGAN_DATA", raising=False)
        patch.setenv("SINGAN_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.setenv("SINGAN_FIGURES", str(tmp_path_factory.mktemp("figures")))
        yield


@pytest.fixture(scope="session")
def picture() -> torch.Tensor:
    """A small smooth random picture, (1, 3, 36, 48) in [-1, 1]."""
    coarse = torch.rand(1, 3, 7, 9, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    return torch.nn.functional.interpolate(coarse, (36, 48), mode="bilinear")


@pytest.fixture(scope="session")
def tiny() -> TrainConfig:
    """Settings that train in about a second: four levels of a few iterations."""
    return TrainConfig.for_profile("smoke", min_size=21, kernels=4, max_kernels=8, double_kernels_every=2, iterations=3)


@pytest.fixture(scope="session")
def model(picture: torch.Tensor, tiny: TrainConfig) -> SinGAN:
    """A trained pyramid of `picture`; tests must not change it."""
    return train(picture, tiny, progress=False, device="cpu")


@pytest.fixture(scope="session")
def stop_at() -> Callable[..., Callback]:
    """stop_at(level, seen): a callback that interrupts a training at `level` and notes the levels it saw in `seen`."""

    def at(level: int, seen: list[int] | None = None) -> Callback:
        def stop(progress: Progress) -> None:
            if seen is not None:
                seen.append(progress.level)
            if progress.level == level:
                raise KeyboardInterrupt

        return stop

    return at

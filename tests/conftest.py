"""Settings for every test: hypothesis without deadlines, and no influence from or on the user's own runs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A deadline in milliseconds fails on a busy machine, not on a wrong result. Continuous integration tries the same
# examples every time, so that a red run belongs to the change under test; elsewhere each run tries new ones.
settings.register_profile("singan", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("singan")


@pytest.fixture(autouse=True, scope="session")
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Unset the profile and send runs to a folder of the tests' own; returns that folder."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SINGAN_PROFILE", raising=False)
        patch.setenv("SINGAN_RUNS", str(runs))
        yield runs

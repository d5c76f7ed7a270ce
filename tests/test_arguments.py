"""Numbers and paths that users give: what counts as one."""

from pathlib import Path

import numpy as np
import pytest

from singan_core import SinGANError
from singan_core.arguments import check_count, check_kind, check_size, checked_seed, is_number, is_whole, to_path


@pytest.mark.parametrize("value", [0, -3, 10**20, np.int64(3), np.uint8(3)])
def test_whole_numbers_of_python_and_numpy_are_whole(value):
    assert is_whole(value) and is_number(value)


@pytest.mark.parametrize("value", [1.5, 3.0, np.float32(3), float("inf"), float("nan")])
def test_other_numbers_are_numbers_that_are_not_whole(value):
    assert is_number(value) and not is_whole(value)


@pytest.mark.parametrize("value", [True, np.bool_(True), "3", None, 1j, np.array([3]), [3]])
def test_what_is_no_number_is_neither(value):
    assert not is_number(value) and not is_whole(value)


@pytest.mark.parametrize("value", [7, np.int64(7), np.uint8(7)])
def test_a_seed_is_an_int(value):
    assert checked_seed(value) == 7 and type(checked_seed(value)) is int


@pytest.mark.parametrize("value", [-1, 1.0, True, "1", None])
def test_what_is_no_seed_is_refused(value):
    with pytest.raises(SinGANError, match="seed must be a whole number from 0 on"):
        checked_seed(value)


@pytest.mark.parametrize("value", [1, 10_000, np.int64(3)])
def test_numbers_of_pictures_pass(value):
    check_count("n", value)


@pytest.mark.parametrize("value", [0, -1, 10_001, 2.0, True, "3", None])
def test_what_is_no_number_of_pictures_is_refused_by_its_name(value):
    with pytest.raises(SinGANError, match=r"^frames must be a whole number of pictures from 1 to 10000, got "):
        check_count("frames", value)


def test_sizes_are_pairs_of_whole_numbers():
    for size in ((1, 2), [3, np.int64(4)]):
        check_size(size)
    for size in (5, (5,), (1, 2, 3), (0, 3), (2.0, 3), "23", None):
        with pytest.raises(SinGANError, match=r"size must be \(height, width\)"):
            check_size(size)


def test_what_is_of_another_kind_is_named():
    check_kind(True, int, "A number")
    with pytest.raises(SinGANError, match=r"^A text is wanted here, got int\.$"):
        check_kind(3, str, "A text")


def test_a_path_may_begin_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert to_path("~/x") == to_path(Path("~/x")) == Path("/somewhere/x")
    assert to_path("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")


@pytest.mark.parametrize("value", [None, 3, ["x"]])
def test_what_is_no_path_is_refused(value):
    with pytest.raises(SinGANError, match="A path must be"):
        to_path(value)

"""Files are whole or absent, and sealed."""

import errno
import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from singan_core.errors import SinGANError
from singan_core.files import read_tensors, replacing, write_tensors, write_text

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3), "empty": torch.zeros(0, 2)}


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    path = tmp_path_factory.mktemp("sealed") / "file.safetensors"
    write_tensors(path, TENSORS, {"alpha": 10.0, "sizes": [[1, 2]]})
    return path


def test_tensors_and_settings_come_back(sealed):
    tensors, settings = read_tensors(sealed)
    assert settings == {"alpha": 10.0, "sizes": [[1, 2]]}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor) and tensors[name].dtype == tensor.dtype


@given(data=st.data())
def test_one_changed_byte_anywhere_is_noticed(sealed, tmp_path_factory, data):
    content = bytearray(sealed.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("altered") / "file.safetensors"
    path.write_bytes(content)
    try:
        tensors, settings = read_tensors(path)
    except SinGANError as error:
        assert str(path) in str(error)
    else:  # a byte of padding or of JSON whitespace: nothing that was stored changed
        assert settings == {"alpha": 10.0, "sizes": [[1, 2]]}
        assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())


@given(data=st.data())
def test_a_truncated_file_is_refused(sealed, tmp_path_factory, data):
    content = sealed.read_bytes()
    path = tmp_path_factory.mktemp("short") / "file.safetensors"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(SinGANError, match=r"file\.safetensors"):
        read_tensors(path)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(SinGANError, match="nothing"):
        read_tensors(tmp_path / "nothing.safetensors")


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    path = tmp_path / ("x" * 250 + ".txt")
    write_text(path, "text")
    assert path.read_text() == "text"


def test_a_full_disk_is_one_clear_error(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SinGANError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_flushed_through_a_descriptor_that_may_write(tmp_path, monkeypatch):
    """Windows flushes no other."""
    may_write = []

    def probing(descriptor):
        may_write.append(os.write(descriptor, b"") == 0)

    monkeypatch.setattr(os, "fsync", probing)
    write_text(tmp_path / "file.txt", "text")
    assert may_write == [True]


def test_tensors_that_were_read_stay_as_they_are_when_the_file_changes(tmp_path):
    path, values = tmp_path / "file.safetensors", torch.arange(5000.0)
    write_tensors(path, {"values": values}, {})
    read, _ = read_tensors(path)
    with open(path, "rb+") as file:  # in place, as copying over it does
        file.write(bytes(path.stat().st_size))
    assert torch.equal(read["values"], values)


def test_a_place_that_cannot_hold_files_is_one_clear_error(tmp_path):
    (tmp_path / "occupied").write_text("a file, not a folder")
    with pytest.raises(SinGANError, match="Cannot write"):
        write_text(tmp_path / "occupied" / "file.txt", "text")


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    write_text(tmp_path / "ours.txt", "text")
    (tmp_path / "plain.txt").write_text("text")
    assert (tmp_path / "ours.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode

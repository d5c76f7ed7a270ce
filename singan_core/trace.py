"""What a notebook reads, writes and trains, noted while it runs: for the batch, which then knows if it is up to date.

SINGAN_TRACE names a file that gets a line of JSON for each note; without it nothing is noted.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Trace:
    """The notes of a run.

    pyramids: the runs of the store that it asked for, by key: whether the pyramid (or picture that was slow to make)
    was `shipped`, and whether it needed the `discriminators`. read: pictures by their path, with the digest of what was
    read. written: figures and results.
    """

    pyramids: dict[str, dict[str, bool]]
    read: dict[Path, str]
    written: frozenset[Path]


def note_pyramid(key: str, *, shipped: bool, discriminators: bool) -> None:
    """Note that a pyramid, or a picture that is slow to make, was asked for."""
    _note({"key": key, "shipped": shipped, "discriminators": discriminators})


def note_read(path: Path) -> None:
    """Note that the results depend on a file."""
    if os.environ.get("SINGAN_TRACE"):
        _note({"read": os.path.abspath(path), "digest": digest(path)})


def note_written(path: Path) -> None:
    """Note that a file is one of the results."""
    _note({"written": os.path.abspath(path)})


def _note(entry: dict[str, str | bool | None]) -> None:
    if place := os.environ.get("SINGAN_TRACE"):
        with open(place, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def read_trace(path: Path) -> Trace:
    """The notes in a file; none where there is no file, as nothing was noted then."""
    pyramids: dict[str, dict[str, bool]] = {}
    read: dict[Path, str] = {}
    written: set[Path] = set()
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        match json.loads(line):
            case {"key": key, "shipped": shipped, "discriminators": needed}:
                before = pyramids.get(key, {}).get("discriminators", False)
                pyramids[key] = {"shipped": shipped, "discriminators": needed or before}
            case {"read": name, "digest": found}:
                read[Path(name)] = found
            case {"written": name}:
                written.add(Path(name))
    return Trace(dict(sorted(pyramids.items())), read, frozenset(written))


def digest(path: Path) -> str | None:
    """A hash of a file's content, None where it cannot be read."""
    try:
        return digest_of(path.read_bytes())
    except OSError:
        return None


def digest_of(content: bytes) -> str:
    """The same hash of content at hand."""
    return hashlib.sha256(content).hexdigest()[:16]

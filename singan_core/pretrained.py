"""The pyramids and slow pictures that are shipped in data/pretrained, so that the notebooks open with results.

`python -m singan_core.pretrained`, in a checkout, finds out which of them the notebooks need at profile laptop, has
the missing ones made, and writes them small, with a manifest of where each one comes from. It can be interrupted
and started again at any time.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from singan_core import quality
from singan_core.claims import current_commit
from singan_core.errors import SinGANError
from singan_core.files import replacing, write_tensors, write_text
from singan_core.images import data_folder, load_image, sample_image, sample_names
from singan_core.model import SinGAN, pack, pick_device, unpack
from singan_core.notebooks import PUBLISHED_PROFILE, Outcome
from singan_core.reproduce import reproduce
from singan_core.store import PICTURE, load_run, shipped_file, store_folder
from singan_core.training import training_images

MAX_BYTES = 1_000_000
"""Largest file that is shipped."""
MANIFEST = "manifest.json"
SAMPLES = 8
"""Samples with which a lightened pyramid is compared, and measured."""
GRAY_LEVEL = 2 / 255

Entry = dict[str, Any]


def ship(notebooks: Iterable[str] | None = None, *, progress: bool = True) -> list[Entry]:
    """Ship what the notebooks need at profile laptop; gives the manifest's entries of what was added.

    notebooks: see `planning.find_notebooks`; with all of them (the default), what none of them needs is removed. The
    notebooks that are not up to date are run, which trains what is missing. Raises SinGANError when a notebook fails or
    a pyramid or picture does not fit into MAX_BYTES.
    """
    commit = current_commit()  # before files are added, which would make the checkout dirty
    outcomes = reproduce(notebooks, PUBLISHED_PROFILE, progress=progress)
    if failed := [outcome for outcome in outcomes if outcome.error]:
        raise SinGANError(f"{failed[0].name} failed with {failed[0].error}: correct it, then start this again.")
    folder = data_folder() / "pretrained"
    entries = {entry["key"]: entry for entry in read_manifest(folder)}
    added, needed = [], needs(outcomes)
    for key, need in needed.items():
        # a file without an entry was left by a shipping that was interrupted
        if key not in entries or shipped_file(key, need["discriminators"]) is None:
            run = store_folder() / key
            if os.path.exists(run / PICTURE):
                entry = ship_picture(run, folder, commit=commit)
            else:
                entry = ship_run(run, folder, discriminators=need["discriminators"], commit=commit)
            entries[key] = entry | {"notebooks": need["notebooks"]}
            added.append(entries[key])
        else:
            entries[key]["notebooks"] = sorted({*need["notebooks"], *entries[key]["notebooks"]})
    if notebooks is None:
        for key in entries.keys() - needed.keys():
            for suffix in (".safetensors", ".png"):
                (folder / f"{key}{suffix}").unlink(missing_ok=True)
            del entries[key]
        for key, need in needed.items():
            entries[key]["notebooks"] = need["notebooks"]
    write_text(folder / MANIFEST, json.dumps(sorted(entries.values(), key=_place), indent=1) + "\n")
    return added


def needs(outcomes: Iterable[Outcome]) -> dict[str, dict[str, Any]]:
    """What was asked for in these runs: key to the names of the notebooks, and whether discriminators were needed."""
    found: dict[str, dict[str, Any]] = {}
    for outcome in outcomes:
        for key, note in outcome.pyramids.items():
            need = found.setdefault(key, {"notebooks": [], "discriminators": False})
            need["notebooks"].append(outcome.name)
            need["discriminators"] |= note["discriminators"]
    return found


def ship_run(run: Path, folder: Path, *, discriminators: bool, commit: str | None) -> Entry:
    """Write the pyramid of a finished run to folder/<key>.safetensors, lightened; gives its entry of the manifest.

    Losses, which nothing is drawn from, are in single precision, in half where the file would be too large, and left
    out where it still would be.

    commit: the version of the code to name, see `claims.current_commit`.

    Raises SinGANError when there is no such run, or its file would be larger than MAX_BYTES.
    """
    model = load_run(run, "cpu")
    tensors, settings = pack(model)
    tensors = lightened(model, tensors, settings, discriminators)
    path = folder / f"{run.name}.safetensors"
    losses = {name: value for name, value in tensors.items() if name.endswith(".history")}
    others = {name: value for name, value in tensors.items() if name not in losses}
    for kept in (losses, {name: value.half() for name, value in losses.items()}, {}):
        write_tensors(path, others | kept, settings)
        size = path.stat().st_size
        if size <= MAX_BYTES:
            break
    if size > MAX_BYTES:
        path.unlink()
        raise SinGANError(f"The pyramid {run.name} takes {size} bytes, at most {MAX_BYTES} are shipped.")
    trained = json.loads((run / "run.json").read_text(encoding="utf-8"))
    image = load_image(run / "image.png")
    light = SinGAN.load(path, "cpu")
    return {
        "key": run.name,
        "image": image_name(image),
        "image_size": list(image.shape[-2:]),
        "targets": trained.get("targets", []),  # what was trained before there were targets has none
        "profile": PUBLISHED_PROFILE,
        "settings": model.config.changes(),
        "commit": commit,
        "device": trained["device"],
        "torch": trained["torch"],
        "seconds": round(model.seconds, 1),
        "levels": len(model.levels),
        "discriminators": discriminators,
        "measured": measured(light, training_images(image, model.config, pick_device("cpu"))[1][-1]),
        "bytes": size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def ship_picture(run: Path, folder: Path, *, commit: str | None) -> Entry:
    """Copy the picture of a finished run to folder/<key>.png; gives its entry of the manifest.

    commit: the version of the code to name, see `claims.current_commit`.

    Raises SinGANError when its file is larger than MAX_BYTES.
    """
    made = json.loads((run / "run.json").read_text(encoding="utf-8"))
    image, size = load_image(run / "image.png"), (run / PICTURE).stat().st_size
    if size > MAX_BYTES:
        raise SinGANError(f"The picture {run.name} takes {size} bytes, at most {MAX_BYTES} are shipped.")
    path = folder / f"{run.name}.png"
    with replacing(path) as unfinished:
        shutil.copyfile(run / PICTURE, unfinished)
    return {
        "key": run.name,
        "image": image_name(image),
        "image_size": list(image.shape[-2:]),
        "profile": PUBLISHED_PROFILE,
        "commit": commit,
        **made,
        "bytes": size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def lightened(model: SinGAN, tensors: dict[str, Tensor], settings: dict, discriminators: bool) -> dict[str, Tensor]:
    """The tensors of a pyramid with kernels in half precision, as far as samples stay the same to a gray level.

    An error of a coarse level grows on its way up. So the coarsest levels stay in single precision, as few of them as
    keep every value of SAMPLES samples within 1/255 of the range. Discriminators, which draw nothing, are in half
    precision everywhere.
    """
    kept = {name: value for name, value in tensors.items() if discriminators or ".discriminator." not in name}
    samples = model.sample(SAMPLES, seed=0)
    for exact in range(len(model.levels) + 1):
        light = {name: _light(name, value, exact) for name, value in kept.items()}
        drawn = unpack(light, settings, samples.device).sample(SAMPLES, seed=0)
        if (drawn - samples).abs().max() < GRAY_LEVEL:
            return light
    raise SinGANError("Samples change although all levels are in single precision: train with float32 or mixed.")


def _light(name: str, tensor: Tensor, exact: int) -> Tensor:
    level, part = name.split(".")[0], name.split(".")[1:2]
    if part == ["history"]:
        return tensor.float()
    convolution = tensor.ndim == 4 and name.endswith(".weight")
    return tensor.half() if convolution and (part == ["discriminator"] or int(level) >= exact) else tensor


def measured(model: SinGAN, real: Tensor) -> dict[str, float | str]:
    """Quality of a pyramid against the photograph at the trained size, (1, 3, H, W)."""
    found = quality.measure(model, real, samples=SAMPLES)._asdict()
    return {"samples": SAMPLES} | {
        name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()
    }


def image_name(image: Tensor) -> str | None:
    """What the bundled picture (1, 3, H, W) is called; None for a picture that a notebook made."""
    return next((name for name in sample_names() if torch.equal(sample_image(name), image)), None)


def read_manifest(folder: Path) -> list[Entry]:
    """The entries of the manifest in a folder; none where there is no manifest yet."""
    path = folder / MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if os.path.exists(path) else []


def _place(entry: Entry) -> tuple[str, str]:
    return entry["notebooks"][0], entry["key"]


def main() -> int:
    """The command; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m singan_core.pretrained", description=__doc__.split("\n\n")[1])
    parser.add_argument("--notebooks", nargs="+", help="numbers or beginnings of names (default: all)")
    arguments = parser.parse_args()
    try:
        added = ship(arguments.notebooks)
    except SinGANError as error:
        print("error:", error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Start it again: trainings resume.", file=sys.stderr)
        return 130
    for entry in added:
        print(f"{entry['key']}  {entry['image'] or 'made in ' + entry['notebooks'][0]}  {entry['bytes'] / 1e3:.0f} kB")
    total = sum(entry["bytes"] for entry in read_manifest(data_folder() / "pretrained"))
    print(f"{len(added)} added, {total / 1e6:.1f} MB in all. `make notebooks` runs the notebooks with them.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

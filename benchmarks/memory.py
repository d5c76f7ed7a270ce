"""Peak memory of a whole training: the plain reference against the package, each in a process of its own.

    python -m benchmarks.memory --settings paper laptop

A training with a few iterations at every level takes as much at its peak as one with thousands. On the CPU the
resident memory beyond that of the started process is counted, on CUDA the memory of tensors and what PyTorch's
allocator reserved for them.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks import common, isolated
from benchmarks.levels import matrix_resize, train_on_reference, warm_up
from singan_core import TrainConfig, sample_image, train
from singan_core.graphs import GraphedIterations
from singan_core.model import pick_device

ITERATIONS = 3
"""Of a training on the CPU; on CUDA as many as record all graphs."""
QUICK = {"settings": ["smoke"], "image": "bricks"}


def peak(method: str, image: str, settings: dict[str, Any], device: str) -> dict[str, float]:
    """Peak of a training by "reference" or "ours", to be called in a process of its own."""
    picture, config, where = sample_image(image), TrainConfig.from_dict(settings), pick_device(device)

    def by_reference() -> None:
        with matrix_resize():
            train_on_reference(picture, config, where)

    def by_ours() -> None:
        train(picture, config, progress=False, device=where)

    warm_up(where)
    return isolated.peak_memory({"reference": by_reference, "ours": by_ours}[method], where)[1]


def peaks(profile: str, image: str, precisions: Sequence[str], device: str) -> dict[str, dict[str, float]]:
    """Peak memory by method: the reference, and the package in each precision."""
    config = TrainConfig.for_profile(profile)
    period = config.penalty_every // math.gcd(config.penalty_every, config.discriminator_steps)
    config = replace(config, iterations=ITERATIONS if device == "cpu" else period * (GraphedIterations.ORDINARY + 2))
    methods = [("reference", "reference", "float32"), *((f"ours, {name}", "ours", name) for name in precisions)]
    return {
        label: isolated.isolated(
            peak, method=method, image=image, settings=config.to_dict() | {"precision": precision}, device=device
        )
        for label, method, precision in methods
    }


def rows(found: dict[str, dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """A row per setting and method."""
    return [
        {
            "settings": profile,
            "method": name,
            "peak (MiB)": peak["peak_mib"],
            **({"reserved (MiB)": peak["reserved_mib"]} if "reserved_mib" in peak else {}),
            "share of the reference (%)": 100 * peak["peak_mib"] / methods["reference"]["peak_mib"],
        }
        for profile, methods in found.items()
        for name, peak in methods.items()
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = common.options(__doc__)
    parser.add_argument("--settings", nargs="+", default=["paper", "laptop"], help="profiles (default: paper laptop)")
    parser.add_argument("--image", default="mountains", help="a bundled picture")
    parser.add_argument("--precisions", nargs="+", default=common.PRECISIONS)
    arguments = common.parsed(parser, argv, QUICK)

    where = common.machine(arguments.device)
    found = {
        profile: peaks(profile, arguments.image, arguments.precisions, str(arguments.device))
        for profile in arguments.settings
    }
    document = {"image": arguments.image, "machine": where, "settings": found}
    counted = "memory of tensors" if arguments.device.type == "cuda" else "resident memory beyond the started process"
    text = f"""# Memory of a training

Peak of {counted}, over a training with few iterations at every level, picture `{arguments.image}`.

{common.markdown(rows(found))}

{common.described(where)}
"""
    common.write(arguments.results, "memory", document, text)


if __name__ == "__main__":
    main()

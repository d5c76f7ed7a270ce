"""Time of a sample: the authors' loop, one picture after the other, against `SinGAN.sample` with several at once.

    python -m benchmarks.sampling --image mountains --counts 1 8 32

The networks are untrained, of the sizes and widths of a pyramid at each profile; trained ones take as long. The
authors' loop is written with the functions of the reference, without gradients, once with its own resize and once with
the package's, and draws with the weights of the same pyramid.
"""

import argparse
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import common
from benchmarks.common import Ratio, ratio
from benchmarks.levels import copy_weights, matrix_resize, untrained
from singan_core import SinGAN, TrainConfig, sample_image
from tests import reference

QUICK = {"profiles": ["smoke"], "image": "bricks", "counts": [1, 3], "repeats": 2}

FAIR = "reference, fast resize"
SLOW = "reference"

GRAY_LEVEL = 2 / 255


class Different(Exception):
    """Pictures that must be equal are not."""


def reference_networks(model: SinGAN) -> list[nn.Module]:
    """The generators of a pyramid as networks of the reference."""
    networks = []
    for index, level in enumerate(model.levels):
        plain = reference.network(model.config.kernels_at(index), 3).to(model.z_star)
        copy_weights(level.generator, plain)
        networks.append(plain.eval())
    return networks


@torch.no_grad()
def draw_by_reference(model: SinGAN, networks: list[nn.Module], noise: Callable[[tuple[int, ...]], Tensor]) -> Tensor:
    """One picture as the authors' code draws it, level by level; noise(shape) gives a level's noise."""
    previous = None
    for index, net in enumerate(networks):
        height, width = model.shape.sizes[index]
        z = model.levels[index].amplitude * noise((1, 3 if index else 1, height, width)).expand(1, 3, -1, -1)
        if previous is None:
            previous = torch.zeros_like(z)
        else:
            previous = reference.crop(reference.imresize(previous, 1 / model.shape.factor), z)
        previous = reference.generate(net, reference.zero_pad(z), reference.zero_pad(previous))
    return previous.clamp(-1, 1)


def largest_difference(model: SinGAN, count: int, seed: int = 0) -> float:
    """The most that a pixel of `count` pictures drawn together differs from the same pictures drawn in smaller sets.

    Raises Different beyond one gray level of 255: that is more than rounding.
    """
    together = model.sample(count, seed=seed)
    smaller = {n: model.sample(n, seed=seed) for n in (1, (count + 1) // 2)}
    worst = max((together[:n] - pictures).abs().max().item() for n, pictures in smaller.items())
    if worst > GRAY_LEVEL:
        raise Different(f"Pictures drawn {count} at once differ from those drawn in smaller sets by {worst:.3g}.")
    return worst


def actions(model: SinGAN, counts: Sequence[int]) -> dict[str, tuple[Callable[[], Any], int]]:
    """What is timed, by name: a call, and how many pictures it draws."""
    networks = reference_networks(model)

    def by_reference() -> Tensor:
        return draw_by_reference(model, networks, lambda shape: torch.randn(shape, device=model.device))

    def by_reference_fast() -> Tensor:
        with matrix_resize():
            return by_reference()

    ours = {f"ours, n = {n}": (lambda n=n: model.sample(n), n) for n in counts}
    return {SLOW: (by_reference, 1), FAIR: (by_reference_fast, 1), **ours}


def per_sample(model: SinGAN, counts: Sequence[int], repeats: int) -> dict[str, list[float]]:
    """Seconds for a sample of each method, repeat by repeat."""
    calls = actions(model, counts)
    times = common.interleaved({name: call for name, (call, _) in calls.items()}, repeats, model.device)
    return {name: [taken / calls[name][1] for taken in times[name]] for name in times}


def speedups(times: dict[str, list[float]], base: str) -> dict[str, Ratio]:
    """How many times as fast as the method `base` each method is."""
    return {name: ratio(times[base], values) for name, values in times.items()}


def rows(times: dict[str, list[float]]) -> list[dict[str, Any]]:
    """A row per method."""
    to_slow, to_fair = speedups(times, SLOW), speedups(times, FAIR)
    return [
        {
            "method": name,
            "per sample (ms)": 1000 * median(values),
            "samples per second": 1 / median(values),
            "times as fast as the reference": str(to_slow[name]),
            "... with the fast resize": str(to_fair[name]),
        }
        for name, values in times.items()
    ]


def measure(profile: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The times at the sizes and widths of one profile."""
    model = untrained(sample_image(arguments.image), TrainConfig.for_profile(profile), arguments.device)
    difference = largest_difference(model, max(2, min(8, max(arguments.counts))))
    times = per_sample(model, arguments.counts, arguments.repeats)
    return {
        "size": model.size,
        "levels": len(model.levels),
        "seconds_per_sample": times,
        "speedup": {base: {n: v._asdict() for n, v in speedups(times, base).items()} for base in (SLOW, FAIR)},
        "largest_difference": difference,
    }


def section(profile: str, found: dict[str, Any]) -> str:
    """The result at one profile as Markdown."""
    return f"""## Profile `{profile}`: {found["size"][1]}x{found["size"][0]} px, {found["levels"]} levels

{common.markdown(rows(found["seconds_per_sample"]))}

Pictures drawn together and in smaller sets, same seed: the largest difference of a pixel is
{found["largest_difference"]:.1e} (the range is 2)."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = common.options(__doc__)
    parser.add_argument("--profiles", nargs="+", default=["paper", "laptop"])
    parser.add_argument("--image", default="mountains", help="a bundled picture")
    parser.add_argument("--counts", nargs="+", type=int, default=[1, 8, 32], help="pictures drawn at once")
    parser.add_argument("--repeats", type=int, default=7)
    common.add_one_thread(parser)
    arguments = common.parsed(parser, argv, QUICK)

    where = common.machine(arguments.device)
    found = {profile: measure(profile, arguments) for profile in arguments.profiles}
    measured = common.kind_of_time(arguments.device)
    document = {"image": arguments.image, "machine": where, "time": measured, "profiles": found}
    sections = "\n\n".join(section(profile, result) for profile, result in found.items())
    text = f"""# Sampling speed

Untrained pyramids; medians of {arguments.repeats} repeats. Times are {measured}.

{sections}

{common.described(where)}
"""
    common.write(arguments.results, "sampling", document, text)


if __name__ == "__main__":
    main()

"""Where the time of an iteration goes: floating-point operations, what the machine could do, and shares by kind.

Operations are counted at PyTorch's dispatcher with the formulas of `torch.utils.flop_counter`: convolutions and matrix
products, forward, backward and double backward. Its own `FlopCounterMode` follows modules through hooks, which
`autograd.grad` of the gradient penalty does not allow.
"""

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks import common
from benchmarks.levels import Climb
from singan_core import TrainConfig

DTYPES = {"float32": torch.float32, "mixed": torch.bfloat16}

EXPLANATION = """Operations: of convolutions, counted as if all were direct ones, and of matrix products, while an
iteration runs. Machine's peak: the best of several products of square matrices and of several wide convolutions.
Convolution's peak: the best of several direct forward passes of one hidden layer at this size. Both are measured in
this run and in the method's precision, float32 on CUDA with TF32 if the convolutions have it. In the shares below, the
double backward has no line of its own: it consists of convolutions, forward ones and, in large maps, backward ones.
Matrix products are resizing and, in large maps on a CPU, convolutions to few channels."""

GROUPS = {
    "convolution backward": ("convolution_backward", "dgrad", "wgrad", "backward_data", "backward_weights"),
    "convolution forward": ("convolution", "conv2d", "fprop", "gemm", "winograd"),
    "matrix products": ("::mm", "::bmm", "::addmm"),
    "batch norm": ("batch_norm", "batchnorm", "bn_", "welford", "native_norm"),
    "activation": ("leaky_relu", "leakyrelu", "tanh"),
    "optimizer": ("adam", "optimizer", "multi_tensor_apply"),
}
"""Parts of the names of operators and CUDA kernels, in lower case; the first group that matches counts."""


class OperationCounter(TorchDispatchMode):
    """Counts the floating-point operations of everything that runs inside it, in `total`: of direct convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __enter__(self) -> "OperationCounter":
        self.direct = torch.backends.nnpack.flags(enabled=False)
        self.direct.__enter__()
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self.direct.__exit__(*exception)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if formula := flop_registry.get(func._overloadpacket):
            self.total += formula(*args, **kwargs, out_val=out)
        return out


def operations(image: Tensor, config: TrainConfig) -> float:
    """Floating-point operations of an iteration at the finest level, counted on the CPU: the device does not matter."""
    climb = Climb(image, config, torch.device("cpu")).to_finest()
    with OperationCounter() as counter:
        climb.cycle()
    return counter.total / climb.period


# -- what the machine can do


def best_rate(action: Callable[[], Any], work: float, device: torch.device, repeats: int = 5) -> float:
    """Operations per second of the fastest repeat; each lasts at least a few milliseconds."""
    once = min(common.seconds(action, device) for _ in range(3))
    count = max(1, min(200, int(0.005 / max(once, 1e-9))))

    def several() -> None:
        for _ in range(count):
            action()

    return count * work / min(common.seconds(several, device) for _ in range(repeats))


def matrix_peak(side: int, dtype: torch.dtype, device: torch.device) -> float:
    """Operations per second of a product of two matrices of side x side."""
    tf32 = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        a, b = (_random(side, side, dtype=dtype, device=device) for _ in range(2))
        return best_rate(lambda: a @ b, 2 * side**3, device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = tf32


@torch.no_grad()
def convolution_peak(kernels: int, size: tuple[int, int], dtype: torch.dtype, device: torch.device) -> float:
    """Operations per second of a 3x3 convolution, kernels to kernels, in the faster of the two memory layouts."""
    height, width = size
    work = 2 * 9 * kernels**2 * (height - 2) * (width - 2)
    rates = []
    for layout in (torch.contiguous_format, torch.channels_last):
        image = _random(1, kernels, height, width, dtype=dtype, device=device).contiguous(memory_format=layout)
        weight = _random(kernels, kernels, 3, 3, dtype=dtype, device=device).contiguous(memory_format=layout)
        rates.append(best_rate(lambda x=image, w=weight: F.conv2d(x, w), work, device))
    return max(rates)


def _random(*shape: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Random values: a GPU draws less power with constant ones, and then runs faster than it can in a training."""
    return torch.rand(shape, generator=torch.Generator(device).manual_seed(0), device=device).to(dtype)


def peaks(kernels: int, size: tuple[int, int], side: int, dtype: torch.dtype, device: torch.device) -> dict[str, float]:
    """Operations per second of a matrix product, of a convolution as wide as side / 4, and of one of this level.

    The wide convolution counts for the machine's peak too: on some processors PyTorch's library for convolutions is
    twice as fast as that for matrix products.
    """
    product = matrix_peak(side, dtype, device)
    wide = convolution_peak(max(1, side // 4), (66, 66), dtype, device)
    return {
        "matrix_product": product,
        "machine_peak": max(product, wide),
        "convolution_peak": convolution_peak(kernels, size, dtype, device),
    }


def utilisation(
    image: Tensor,
    configs: dict[str, TrainConfig],
    times: dict[str, list[float]],
    side: int | None,
    device: torch.device,
) -> dict[str, dict[str, float]]:
    """Of each of the package's methods at the finest level: operations, rate, and the machine's two peaks."""
    side = side or (8192 if device.type == "cuda" else 2048)
    first = next(iter(configs.values()))
    climb = Climb(image, first, torch.device("cpu"))
    kernels, size = first.kernels_at(len(climb.shape) - 1), climb.shape.sizes[-1]
    found_peaks = {
        name: peaks(kernels, size, side, DTYPES[name], device) for name in {c.precision for c in configs.values()}
    }
    counted: dict[TrainConfig, float] = {}
    found = {}
    for name, config in configs.items():
        steps = replace(config, precision="float32")  # the same operations in any precision
        if steps not in counted:
            counted[steps] = operations(image, steps)
        rate = counted[steps] / median(times[name])
        found[name] = {"operations": counted[steps], "rate": rate, **found_peaks[config.precision]}
    return found


def utilisation_rows(found: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """A row per method."""
    return [
        {
            "method": name,
            "GFLOP per iteration": f["operations"] / 1e9,
            "GFLOP/s": f["rate"] / 1e9,
            "machine's peak (GFLOP/s)": f["machine_peak"] / 1e9,
            "share of it (%)": 100 * f["rate"] / f["machine_peak"],
            "convolution's peak (GFLOP/s)": f["convolution_peak"] / 1e9,
            "share of that (%)": 100 * f["rate"] / f["convolution_peak"],
        }
        for name, f in found.items()
    ]


# -- shares


def profile(climb: Climb, device: torch.device) -> dict[str, float]:
    """Share of each kind of work in the time of a period of iterations at the level in training."""
    climb.warm_up()
    cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with torch.profiler.profile(activities=activities) as run:
        climb.cycle()
        common.synchronise(device)
    spent = dict.fromkeys((*GROUPS, "other"), 0.0)
    for event in run.key_averages():
        # on CUDA the kernels count, and not the operators, which a captured graph does not have; ranges with a name
        # that somebody gave them hold kernels that are counted already
        on_device = event.device_type != torch.autograd.DeviceType.CPU
        if on_device == cuda and not getattr(event, "is_user_annotation", False):
            spent[group_of(event.key)] += event.self_device_time_total if cuda else event.self_cpu_time_total
    total = sum(spent.values()) or 1.0  # a profiler that saw nothing
    return {group: value / total for group, value in spent.items()}


def group_of(name: str) -> str:
    """The kind of work of an operator or a CUDA kernel."""
    name = name.lower()
    return next((group for group, parts in GROUPS.items() if any(part in name for part in parts)), "other")


def profile_rows(shares: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """A row per kind of work, in percent of the time."""
    return [
        {"share of the time (%)": group} | {name: 100 * share[group] for name, share in shares.items()}
        for group in (*GROUPS, "other")
    ]

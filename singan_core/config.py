"""Every setting of a training in one frozen dataclass, and the three profiles that fill it."""

import difflib
import math
import os
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch

from singan_core.arguments import is_number
from singan_core.errors import SinGANError


@dataclass(frozen=True)
class TrainConfig:
    """How a pyramid is trained. The defaults are the authors' (profile `paper`).

    A new field must have a default that leaves earlier trainings as they were: the run store's key counts only the
    fields that differ from their defaults. Values out of range raise SinGANError.
    """

    min_size: int = 25
    """Shorter side of the coarsest level, pixels."""
    max_size: int = 250
    """Longer side of the finest level, pixels; smaller photographs are not enlarged."""
    scale_factor: float = 0.75
    """Wished size ratio of neighbouring levels; adjusted so that the coarsest level lands on min_size."""

    layers: int = 5
    """3x3 convolutions per network; the receptive field is 2 * layers + 1 pixels."""
    kernels: int = 32
    """Width of the hidden layers at the coarsest level."""
    max_kernels: int = 128
    """Upper limit of the width."""
    double_kernels_every: int = 4
    """Levels after which the width doubles; 0 keeps it constant."""
    residual: bool = True
    """Add the upsampled previous image to each generator's output (equation 3)."""

    noise_amplitude: float = 0.1
    """Noise of a level in units of the RMSE between its image and the upsampled reconstruction from below."""
    noise_padding: bool = False
    """Draw noise on the padded grid too, instead of padding it with zeros (the authors' setting for animation)."""

    quantised_level: int = 0
    """Level from 1 on that is trained anew in an otherwise trained pyramid, on inputs in few colours; 0: none."""
    quantised_colours: int = 5
    """Number of these colours, found by k-means in the level's image."""

    alpha: float = 10.0
    """Weight of the reconstruction loss (equation 4)."""
    penalty_weight: float = 0.1
    """Weight of the gradient penalty."""
    penalty_every: int = 1
    """Discriminator steps from one gradient penalty to the next; its weight is multiplied by the same number."""
    iterations: int = 2000
    """Iterations of the coarsest level, and of every other one unless they decay."""
    iteration_decay: float = 0.0
    """Share of `iterations` that each level trains less than the one below; a tenth always remains."""
    discriminator_steps: int = 3
    """Discriminator steps per iteration."""
    generator_steps: int = 3
    """Generator steps per iteration."""
    learning_rate: float = 5e-4
    """Adam's learning rate of both networks (betas 0.5 and 0.999)."""
    decay_at: float = 0.8
    """Share of a level's iterations after which the learning rate is divided by ten."""

    texture_weight: float = 0.0
    """Weight of the texture loss (`texture.TextureLoss`) in the generator's loss; needs whole images, crop=0."""
    texture_features: str = "random-filters-multiscale"
    """Features of the texture loss: vgg16, whose weights must be at hand, or random-filters-multiscale."""

    crop: int = 0
    """Levels of more than crop * crop pixels are trained on random windows with that many; 0: all on whole images."""

    precision: str = "float32"
    """Of the training. float32, in which PyTorch takes TF32 for convolutions on a GPU; mixed: convolutions in bfloat16
    where the device is fast at it (`fast_bfloat16`), all else in float32; float64, to compare implementations beyond
    rounding."""
    seed: int = 0
    """Seed of everything random in the training."""

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _checked(field.name, field.type, getattr(self, field.name)))
        if self.max_size < self.min_size:
            raise SinGANError(f"max_size={self.max_size} is below min_size={self.min_size}: the pyramid has no level.")
        if self.max_kernels < self.kernels:
            raise SinGANError(f"max_kernels={self.max_kernels} is below kernels={self.kernels}: raise it.")
        if self.min_size < 2 * self.layers + 1:
            raise SinGANError(
                f"min_size={self.min_size} is below the receptive field of {self.layers} layers, "
                f"{2 * self.layers + 1} px: raise min_size or use fewer layers."
            )
        if 0 < self.crop < 4 * (2 * self.layers + 1):
            raise SinGANError(
                f"crop={self.crop} leaves windows of few patches: it must be at least four receptive fields of "
                f"{self.layers} layers, {4 * (2 * self.layers + 1)} px, or 0."
            )
        if self.crop and self.texture_weight:
            raise SinGANError(
                "The texture loss compares statistics of whole images and not those of windows: "
                "set crop=0 or texture_weight=0."
            )

    @classmethod
    def for_profile(cls, profile: str | None = None, **overrides: Any) -> "TrainConfig":
        """The settings of a profile (see `resolve_profile`), some of them replaced: for_profile("smoke", alpha=1)."""
        return cls.from_dict(PROFILES[resolve_profile(profile)] | overrides)

    @classmethod
    def for_size(cls, size: int, *, rule: str = "code", base: "TrainConfig | None" = None) -> "TrainConfig":
        """Settings for a finest level of another longer side, in pixels, by a rule of the report High-Res-SinGAN.

        base: settings that suit their own max_size; default the authors', for 250 px. Both rules let the coarsest side
        and the receptive field grow in proportion to the size, so that a patch of level 0 covers the same share of it,
        and keep the width constant over the levels. `code`, what the report's authors wrote: kernels in proportion,
        rounded down to a multiple of 8, and 8 at least. `report`, what they say: kernels squared where the size
        doubles, which makes them kernels ** (size / max_size); the coarsest side, on which the report is silent, is
        that of the code.

        >>> at_500 = TrainConfig.for_size(500)
        >>> at_500.min_size, at_500.layers, at_500.kernels
        (50, 10, 64)

        Raises SinGANError for another rule, and for a size at which the rule leaves fewer than two layers, or asks for
        more layers or kernels than can be set.
        """
        base, most = base or cls(), int(_RANGES["kernels"][1])
        size = _checked("max_size", int, size)
        ratio = size / base.max_size
        min_size = round(base.min_size * ratio)
        layers = ((2 * base.layers + 1) * min_size - base.min_size) // (2 * base.min_size)
        if rule == "code":
            kernels = max(8, 8 * (base.kernels * size // (8 * base.max_size)))
        elif rule == "report":
            kernels = round(base.kernels ** min(ratio, math.log(2 * most) / math.log(max(2, base.kernels))))
        else:
            raise SinGANError(f"There is no rule {rule!r}: choose code or report.")
        if layers < _RANGES["layers"][0]:
            raise SinGANError(f"At {size} px the rule leaves too few layers: it is made for larger pictures.")
        if layers > _RANGES["layers"][1]:
            raise SinGANError(f"At {size} px the rule asks for {layers} layers, too many: take a smaller size.")
        if kernels > most:
            way_out = "a narrower base" if rule == "code" else "rule='code' or a narrower base"
            raise SinGANError(f"At {size} px the rule asks for more than {most} kernels: take {way_out}.")
        own = {"min_size": min_size, "max_size": size, "layers": layers, "kernels": kernels, "double_kernels_every": 0}
        return replace(base, **own, max_kernels=max(base.max_kernels, kernels))

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "TrainConfig":
        """Settings by name; those not given keep their defaults. Unknown names raise SinGANError."""
        if not isinstance(settings, dict):
            raise SinGANError(f"Settings are a dictionary, name to value, got {type(settings).__name__}.")
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"the settings are {', '.join(known)}."
                raise SinGANError(f"There is no setting {name!r}: {hint}")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """All settings by name, ready for JSON."""
        return asdict(self)

    def changes(self) -> dict[str, Any]:
        """The settings that differ from the defaults, by name: what tells one training from another."""
        default = TrainConfig()
        return {name: value for name, value in self.to_dict().items() if value != getattr(default, name)}

    def unquantised(self) -> "TrainConfig":
        """The settings of the pyramid in which `quantised_level` is trained anew."""
        plain = TrainConfig()
        return replace(self, quantised_level=plain.quantised_level, quantised_colours=plain.quantised_colours)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of weights and images."""
        return torch.float64 if self.precision == "float64" else torch.float32

    def iterations_at(self, level: int) -> int:
        """Iterations of one level: `iterations` at the coarsest, less by a constant number from level to level.

        T - floor(level * T * decay), as High-Res-SinGAN's epoch decay, which has no lower limit; here it is T / 10.
        """
        decayed = self.iterations - math.floor(level * self.iterations * self.iteration_decay)
        return max(decayed, math.ceil(self.iterations / 10))

    def kernels_at(self, level: int) -> int:
        """Width of the hidden layers of one level: doubled every `double_kernels_every` levels, at most max_kernels."""
        doublings = level // self.double_kernels_every if self.double_kernels_every else 0
        return min(self.kernels * 2**doublings, self.max_kernels)


# name: (lowest, highest) of the values that make sense; the bounds are generous, they catch slips and not taste
_RANGES: dict[str, tuple[float, float]] = {
    "min_size": (5, 2**14),
    "max_size": (5, 2**14),
    "scale_factor": (0.1, 0.95),
    "layers": (2, 50),
    "kernels": (1, 1024),
    "max_kernels": (1, 1024),
    "double_kernels_every": (0, 100),
    "noise_amplitude": (0.0, 100.0),
    "quantised_level": (0, 1000),
    "quantised_colours": (2, 256),
    "alpha": (0.0, 1e6),
    "penalty_weight": (0.0, 1e6),
    "penalty_every": (1, 1000),
    "iterations": (1, 10**6),
    "iteration_decay": (0.0, 1.0),
    "discriminator_steps": (1, 100),
    "generator_steps": (1, 100),
    "learning_rate": (1e-8, 1.0),
    "decay_at": (0.0, 1.0),
    "texture_weight": (0.0, 1e6),
    "crop": (0, 2**14),
    "seed": (0, 2**32 - 1),
}


_CHOICES: dict[str, tuple[str, ...]] = {
    "texture_features": ("random-filters-multiscale", "vgg16"),
    "precision": ("float32", "mixed", "float64"),
}


def _checked(name: str, kind: type, value: Any) -> Any:
    """The value as the field's type, or SinGANError: no strings for numbers, no fractions for counts, no NaN."""
    if kind is bool:
        if not isinstance(value, bool):
            raise SinGANError(f"{name} must be True or False, got {value!r}.")
        return value
    if kind is str:
        if value not in _CHOICES[name]:
            raise SinGANError(f"{name} must be one of {', '.join(_CHOICES[name])}, got {value!r}.")
        return value
    low, high = _RANGES[name]
    number = is_number(value) and abs(value) < math.inf
    if not number or (kind is int and value != int(value)) or not low <= value <= high:
        wanted = f"a whole number from {low} to {high}" if kind is int else f"a number from {low:g} to {high:g}"
        raise SinGANError(f"{name} must be {wanted}, got {value!r}.")
    return kind(value)


PROFILES: dict[str, dict[str, Any]] = {
    # seconds, for tests: the pictures are not meant to be looked at
    "smoke": {
        "min_size": 15,
        "max_size": 48,
        "kernels": 8,
        "iterations": 8,
        "discriminator_steps": 1,
        "generator_steps": 1,
    },
    # minutes on two cores: many light iterations instead of few heavy ones
    "laptop": {
        "max_size": 128,
        "double_kernels_every": 0,
        "iterations": 800,
        "discriminator_steps": 1,
        "generator_steps": 1,
        "penalty_every": 4,
        "precision": "mixed",
    },
    # the authors' settings
    "paper": {},
}


def resolve_profile(profile: str | None = None) -> str:
    """The profile's name: the argument, else the environment variable SINGAN_PROFILE, else by the machine.

    The machine's is `paper` with CUDA and `laptop` without. Raises SinGANError for an unknown name.
    """
    chosen = profile or os.environ.get("SINGAN_PROFILE") or ("paper" if torch.cuda.is_available() else "laptop")
    if not isinstance(chosen, str) or chosen not in PROFILES:
        close = difflib.get_close_matches(str(chosen), PROFILES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(PROFILES)}."
        raise SinGANError(f"There is no profile {chosen!r}: {hint}")
    return chosen

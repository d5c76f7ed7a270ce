"""Settings of a training as the tests vary them, for the tests about settings."""

from singan_core.config import _CHOICES, TrainConfig


def other_value(config: TrainConfig, name: str) -> object:
    """A value for a setting that is not the config's, and that fits the others."""
    value = getattr(config, name)
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):  # the last, for where bfloat16 is slow the precision mixed is float32
        return next(choice for choice in reversed(_CHOICES[name]) if choice != value)
    if name == "crop":
        return 4 * (2 * config.layers + 1)
    return value + 1 if isinstance(value, int) else value / 2 or 0.5

"""Settings of a training as the tests vary them, for the tests about settings."""

from dataclasses import fields

from singan_core.config import _CHOICES, _RANGES, TrainConfig


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


def without_range() -> list[str]:
    """The settings that have neither a range nor choices, but for those that are True or False."""
    checked = [field.name for field in fields(TrainConfig) if field.type is not bool]
    return [name for name in checked if name not in _RANGES | _CHOICES]

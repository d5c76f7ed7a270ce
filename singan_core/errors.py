"""The one exception of the project: every failure that a user can cause ends in it."""


class SinGANError(Exception):
    """Something a user can put right; the message says what is wrong and what to do about it."""

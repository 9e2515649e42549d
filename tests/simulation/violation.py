"""What the simulation finds."""

from __future__ import annotations


class ViolationError(AssertionError):
    """The product did what its rules forbid."""


def demand(holds: bool, what: str) -> None:
    if not holds:
        raise ViolationError(what)

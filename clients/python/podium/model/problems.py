"""Collects everything that is wrong with an input, up to a bound, so that a user sees it all at once."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from podium.errors import FieldViolation

MAX_PROBLEMS = 100
"""How many problems are kept; the others are only counted."""

_SHOWN_CHARACTERS = 60
_SHOWN_NAMES = 20
_COMPARED_NAMES = 500


class Problems:
    """A list of violations that stops growing at `MAX_PROBLEMS`."""

    def __init__(self) -> None:
        self.found: list[FieldViolation] = []
        self.count = 0

    def add(self, field: str, description: str) -> None:
        """Note that `field` is wrong, and why."""
        self.count += 1
        if len(self.found) < MAX_PROBLEMS:
            self.found.append(FieldViolation(field, description))

    @property
    def full(self) -> bool:
        """Whether further problems are only counted."""
        return len(self.found) >= MAX_PROBLEMS

    def summary(self) -> str:
        """Return "1 problem", "3 problems" or, past the bound, "250 problems, of which the first 100 are listed"."""
        if self.count > len(self.found):
            return f"{self.count:,} problems, of which the first {len(self.found)} are listed"
        return "1 problem" if self.count == 1 else f"{self.count} problems"


def quoted(text: object) -> str:
    """Return `text` as it would be written in Python, cut where it is long."""
    if isinstance(text, int) and text.bit_length() > 512:
        return f"an integer of {text.bit_length():,} bits"
    whole = repr(text)
    if len(whole) <= _SHOWN_CHARACTERS:
        return whole
    return f"{whole[:_SHOWN_CHARACTERS]}... ({len(whole):,} characters)"


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return a sentence, after a space, that offers the known name nearest to `name`, or the known ones.

    Nothing is said where there are too many to compare.
    """
    if not known:
        return " There is none to choose from."
    if len(known) > _COMPARED_NAMES:
        return ""
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    if close:
        return f" Did you mean {quoted(close[0])}?"
    shown = ", ".join(names[:_SHOWN_NAMES])
    return f" Known: {shown}{', ...' if len(names) > _SHOWN_NAMES else ''}."

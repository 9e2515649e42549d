"""Figures: repeated measurements, their median and spread, and the bar they are held against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie, interpolated between neighbours."""
    if not values:
        raise ValueError("There is no quantile of nothing.")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    return below + (above - below) * (place - math.floor(place))


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure's median has to reach (">=") or stay within ("<=")."""

    sense: Literal[">=", "<="]
    value: float

    def met(self, median: float) -> bool:
        return median >= self.value if self.sense == ">=" else median <= self.value

    def __str__(self) -> str:
        return f"{self.sense} {self.value:,g}"


def at_least(value: float) -> Bar:
    return Bar(">=", value)


def at_most(value: float) -> Bar:
    return Bar("<=", value)


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing measured: a value per repeat."""

    unit: str
    values: tuple[float, ...]
    bar: Bar | None = None

    @property
    def median(self) -> float:
        return quantile(self.values, 0.5)

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "q1": quantile(self.values, 0.25),
            "q3": quantile(self.values, 0.75),
            "n": len(self.values),
        }
        if self.bar is not None:
            told |= {"bar": str(self.bar), "met": self.bar.met(self.median)}
        return told


def figure(unit: str, values: Sequence[float] | float, bar: Bar | None = None) -> Figure:
    """Return a figure of some values, or of a single one."""
    return Figure(unit, (float(values),) if isinstance(values, int | float) else tuple(map(float, values)), bar)

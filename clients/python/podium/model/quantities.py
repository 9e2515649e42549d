"""Lengths of time and amounts of memory as people write them."""

from __future__ import annotations

import math
import re
from datetime import timedelta

MAX_SECONDS = 315_576_000_000
"""The longest `google.protobuf.Duration`: 10,000 years."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")

_MEMORY_UNITS = {"B": 1} | {
    prefix + suffix: base**power
    for suffix, base in (("iB", 1024), ("B", 1000))
    for power, prefix in enumerate("KMGT", start=1)
}
_MEMORY = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]?i?B)")


def is_duration(seconds: float, *, zero: bool) -> bool:
    """Tell whether `seconds` is a finite length of time that the wire can carry; `zero` says whether 0 is one."""
    return math.isfinite(seconds) and seconds <= MAX_SECONDS and (seconds > 0 or (zero and seconds == 0))


def seconds(value: float | timedelta | str) -> float:
    """Return a length of time in seconds, to the nanosecond.

    Args:
        value: Seconds, a timedelta, or text such as "30s", "5m", "1h30m" or "250ms" (ms, s, m, h, d).

    Raises:
        ValueError: `value` is none of these, or is below 0.
    """
    amount = _parsed(value)
    if not is_duration(amount, zero=True):
        raise ValueError(f"{value!r} is no length of time from 0 to {MAX_SECONDS:,} seconds.")
    return round(amount, 9)


def _parsed(value: object) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f'{value!r} is no length of time: write seconds, a timedelta, or text such as "30s" or "1h30m".')


def memory_bytes(value: int | str) -> int:
    """Return an amount of memory in bytes.

    Args:
        value: Bytes, or text such as "512MiB" or "1.5GB" (B, KiB, MiB, GiB, TiB; KB, MB, GB, TB count in thousands).

    Raises:
        ValueError: `value` is neither, or is below 0.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _MEMORY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'{value!r} is no amount of memory: write bytes, or text such as "512MiB" or "2GiB".')
    unit: int = _MEMORY_UNITS[match[2]]
    return round(float(match[1]) * unit)

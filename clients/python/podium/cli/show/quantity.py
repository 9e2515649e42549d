"""Times, durations, bytes and cores as people read them."""

from __future__ import annotations

from datetime import datetime

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def moment(value: datetime | None) -> str:
    """Return an aware time in the local zone to the second; empty for None."""
    return value.astimezone().strftime("%Y-%m-%d %H:%M:%S") if value else ""


def duration(seconds: float) -> str:
    """Return seconds with at most two units and about three digits: "12ms", "3.4s", "2m05s", "1h04m", "3d02h"."""
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 24 else f"{hours // 24}d{hours % 24:02}h"


def between(start: datetime | None, end: datetime | None, now: datetime) -> str:
    """Return the time from `start` to `end`, or to `now` before the end; empty before the start."""
    return duration(((end or now) - start).total_seconds()) if start else ""


def size(count: int) -> str:
    """Return a number of bytes in binary units: "512 B", "3.5 GiB"."""
    power = min((max(count, 1).bit_length() - 1) // 10, len(_UNITS) - 1)
    return f"{count / 1024**power:.1f} {_UNITS[power]}" if power else f"{count} B"


def cores(millis: int) -> str:
    """Return thousandths of a core as cores: "0.5", "4"."""
    return f"{millis / 1000:g}"

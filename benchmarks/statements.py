"""Which statements reach the database, seen by looking often: good for a cluster that should send next to none."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

from benchmarks.costs import Meter

LOOK_EVERY = 0.2
LEASE = re.compile(r"\bleadership\b", re.IGNORECASE)


async def seen(meter: Meter, seconds: float) -> Counter[tuple[str, str]]:
    """Return the statements that began within some seconds from now, by connection and text, but for the meter's own.

    Of statements that follow each other on one connection within `LOOK_EVERY`, only the last is seen.
    """
    clock = asyncio.get_running_loop().time
    known = set(_latest(meter))
    found: Counter[tuple[str, str]] = Counter()
    end = clock() + seconds
    while clock() < end:
        await asyncio.sleep(LOOK_EVERY)
        latest = set(_latest(meter))
        found.update((name, " ".join(text.split())) for name, text, _ in latest - known)
        known |= latest
    return found


def _latest(meter: Meter) -> list[tuple[str, str, object]]:
    rows = meter.query(
        "SELECT application_name, query, query_start FROM pg_stat_activity WHERE backend_type = 'client backend'"
        " AND pid <> pg_backend_pid() AND query_start IS NOT NULL"
    )
    return [(str(name), str(text), at) for name, text, at in rows]


def but_the_lease(found: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """Leave out what keeps the ownership of the shard."""
    return Counter({key: count for key, count in found.items() if not LEASE.search(key[1])})

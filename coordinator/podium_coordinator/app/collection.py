"""Keeps Python's cyclic garbage collector from stopping the loop.

It looks through all containers there are, the more often the faster they are made. A definition of 100,000 tasks is
hundreds of thousands of them, which stay: each look would stop the shard loop for a tenth of a second and find nothing.
So while a definition is compiled nothing is looked through, and what is there afterwards is set apart for good. It is
still freed when its last reference goes; only a cycle that was garbage at that instant would stay.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

YOUNG: Final = 20_000
"""Containers made, less those freed, after which the young ones are looked through: a turn's worth and more."""

_lock = Lock()
_building = 0


def begin() -> None:
    """Set apart what the start of the process has made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)


@contextmanager
def building() -> Iterator[None]:
    """Make something large that stays; from any thread."""
    global _building  # noqa: PLW0603 - the collector is the process's, too
    with _lock:
        _building += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _building -= 1
            gc.freeze()
            if not _building:
                gc.enable()

"""Work that is due from time to time: blob collection, leftover logs; later, schedules.

The scheduler keeps its jobs in memory: what is due is decided by rows, so that nothing depends on it having run.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from podium_coordinator.structured_logs import Event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = structlog.stdlib.get_logger("podium.housekeeping")


class Housekeeping:
    """Runs jobs at intervals on the event loop. A job that is late runs once, and never beside itself."""

    def __init__(self) -> None:
        # The scheduler's own default forgets a job that is a second late.
        defaults = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        self._scheduler = AsyncIOScheduler(job_defaults=defaults, timezone="UTC")

    def every(self, seconds: float, name: str, job: Callable[[], Any]) -> None:
        """Run `job`, a function or a coroutine function, each `seconds`, give or take a twentieth; not at once."""
        trigger = IntervalTrigger(seconds=seconds, jitter=seconds / 20, timezone="UTC")
        self._scheduler.add_job(_guarded(name, job), trigger, id=name, name=name)

    def start(self) -> None:
        """Begin; the event loop is running."""
        self._scheduler.start()

    def stop(self) -> None:
        """Run nothing more; a job under way is cancelled."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)


def _guarded(name: str, job: Callable[[], Any]) -> Callable[[], Awaitable[None]]:
    """Return the job with its failures logged; it is tried again when it is due again."""

    async def run() -> None:
        try:
            done = job()
            if inspect.isawaitable(done):
                await done
        except Exception:  # noqa: BLE001 - one job's fault must not end the others; it is logged
            _log.exception(Event.JOB_BROKE, job=name)

    return run

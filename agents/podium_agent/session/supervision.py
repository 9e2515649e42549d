"""Background tasks that are never lost sight of: a fault in one ends the process, and the spawner starts another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Coroutine

log = structlog.get_logger(__name__)


class Supervisor:
    """Keeps references to tasks; the first unexpected fault is what `failed` raises."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start work in the background."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def failed(self) -> None:
        """Wait for a fault and raise it."""
        await self._fault

    async def close(self) -> None:
        """Cancel what still runs, and wait for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self._fault.done():
            log.error("background_task_failed", task=task.get_name(), exc_info=error)
            self._fault.set_exception(error)

"""The calls under way: who they are, how they are told to end, and when the last one is gone.

`grpc.aio.Server.stop` returns before the handlers' `finally` blocks have run, so the handlers are counted here.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Calls:
    """Handlers that are executing now. Belongs to one event loop."""

    def __init__(self) -> None:
        self._methods: dict[asyncio.Task[Any], str] = {}
        self._interrupted: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def entered(self, method: str) -> Iterator[asyncio.Task[Any]]:
        """Count the current task as a handler of `method` until the block ends."""
        task = asyncio.current_task()
        if task is None:
            message = "A handler runs outside of a task."
            raise RuntimeError(message)
        self._methods[task] = method
        self._idle.clear()
        try:
            yield task
        finally:
            del self._methods[task]
            self._interrupted.discard(task)
            if not self._methods:
                self._idle.set()

    def interrupt(self, chosen: Callable[[str], bool]) -> int:
        """End the calls of the chosen methods with "stopping"; return how many were told."""
        tasks = [task for task, method in self._methods.items() if chosen(method) and task not in self._interrupted]
        for task in tasks:
            self._interrupted.add(task)
            task.cancel()
        return len(tasks)

    def was_interrupted(self, task: asyncio.Task[Any]) -> bool:
        """Whether `interrupt` cancelled the task, and not gRPC."""
        return task in self._interrupted

    def methods(self) -> list[str]:
        """Return the methods of the calls under way, one entry per call."""
        return sorted(self._methods.values())

    async def wait_idle(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until no handler is left; tell whether that came true."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

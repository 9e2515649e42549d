"""The one background thread whose event loop serves all synchronous clients of the process.

gRPC's asyncio face wants a single event loop per process, so the clients share one. The thread starts with the first
call and is a daemon; a process made by fork starts its own.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from podium.errors import ClientClosedError

T = TypeVar("T")

_STOP_SECONDS = 5.0
_MOST_DEAF_SECONDS = 1.0
"""Python notices a signal that comes at the very moment a wait begins only when the wait ends: so waits are short."""
_END = object()


class _Call(Generic[T]):
    """A coroutine on its way through the loop. `ended` is set when nothing of it runs any more."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self.outcome: Future[T] = Future()
        self.ended = threading.Event()
        self._work = work

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._work)
        self._task.add_done_callback(self._finish)

    def cancel(self) -> None:
        self._task.cancel()

    def _finish(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.outcome.cancel()
        elif error := task.exception():
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())
        self.ended.set()


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._stopped = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="podium-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread and return its result; an interrupted caller cancels it.

        Raises:
            ClientClosedError: The loop has ended with the process, or the caller is the loop itself: either would wait
                for ever.
        """
        if self._stopped or threading.current_thread() is self._thread:
            work.close()
            raise ClientClosedError(
                "The clients' event loop has ended, or calls itself; use AsyncClient inside a loop."
            )
        call = _Call(work)
        self._loop.call_soon_threadsafe(call.begin)
        try:
            while not call.ended.wait(_MOST_DEAF_SECONDS):
                pass
            return call.outcome.result()
        except BaseException:
            self._loop.call_soon_threadsafe(call.cancel)
            call.ended.wait(_STOP_SECONDS)
            raise

    def iterate(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        """Yield the items of an asynchronous generator; leaving the loop closes it."""
        try:
            while (item := self.run(_next(items))) is not _END:
                yield item  # type: ignore[misc]  # all but the end mark is an item
        finally:
            if not self._stopped:
                self.run(_close(items))

    def stop(self) -> None:
        """Stop the loop, for good."""
        self._stopped = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)


async def _close(items: AsyncGenerator[T, None]) -> None:
    await items.aclose()


async def _next(items: AsyncGenerator[T, None]) -> T | object:
    return await anext(items, _END)


_shared: LoopThread | None = None
_guard = threading.Lock()


def shared() -> LoopThread:
    """Return the process's loop thread, started if need be."""
    global _shared  # noqa: PLW0603 - there is one per process
    with _guard:
        if _shared is None:
            _shared = LoopThread()
            atexit.register(_shared.stop)
        return _shared


def _forget() -> None:
    """In a forked child: the parent's thread is not there."""
    global _shared, _guard  # noqa: PLW0603 - there is one per process
    _shared = None
    _guard = threading.Lock()


os.register_at_fork(after_in_child=_forget)

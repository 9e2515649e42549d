"""An asyncio event loop of one process, without I/O and without time of its own.

The timeline says when it runs. A frozen one does not run while time goes on, so that all its timers are late when it
thaws; a dead one never runs again.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from tests.simulation.timeline import Timeline

T = TypeVar("T")
Work = Coroutine[Any, Any, T] | Generator[Any, None, T]
MOST_TURNS_OF_BURIAL = 1_000


class NodeLoop(asyncio.BaseEventLoop):
    """The parts of an event loop that code without I/O asks for."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline
        self._ready: deque[asyncio.Handle] = deque()
        self._planned = False
        self._frozen = False
        self._dead = self._buried = False
        self._tasks: set[asyncio.Task[Any]] = set()

    # What asyncio asks for.

    def time(self) -> float:
        return self._timeline.now

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        """Never debug: it would look at the machine's clock."""

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self._buried

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Say nothing: what product code raised is told to the oracle by its log."""

    def call_soon(  # type: ignore[override]  # the stub's variadic form says no more
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._enqueue(handle)
        return handle

    def call_later(  # type: ignore[override]  # see above
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._timeline.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # see above
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self._dead:
            self._timeline.at(when, lambda: self._enqueue(handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Leave it: it is passed over when it is due."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Work[T], **options: Any) -> asyncio.Task[T]:
        task: asyncio.Task[T] = asyncio.Task(coro, loop=self, **options)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def run_in_executor(  # type: ignore[override]  # see above
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Do it here and now."""
        del executor
        future: asyncio.Future[T] = self.create_future()
        future.set_result(func(*args))
        return future

    # What the world does to it.

    def freeze(self) -> None:
        self._frozen = True

    def thaw(self) -> None:
        self._frozen = False
        if self._ready:
            self._plan()

    def die(self) -> None:
        """Never run again; `bury` ends what is left of its tasks when the world is over."""
        self._dead = True

    def bury(self) -> None:
        """Cancel all tasks and let them end, so that none is collected half way. Nobody listens any more."""
        self._dead = True
        for task in list(self._tasks):
            task.cancel()
        for _ in range(MOST_TURNS_OF_BURIAL):
            if not self._ready:
                break
            self._run_ready()
        self._buried = True

    def _enqueue(self, handle: asyncio.Handle) -> None:
        if not handle.cancelled():
            self._ready.append(handle)
            self._plan()

    def _plan(self) -> None:
        if not (self._planned or self._frozen or self._dead):
            self._planned = True
            self._timeline.after(0.0, self._turn)

    def _turn(self) -> None:
        self._planned = False
        if self._frozen or self._dead:
            return
        self._run_ready()
        if self._ready:
            self._plan()

    def _run_ready(self) -> None:
        """Run what is ready now, as one iteration of any event loop does."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            for _ in range(len(self._ready)):
                if self._ready:
                    handle = self._ready.popleft()
                    if not handle.cancelled():
                        handle._run()
        finally:
            events._set_running_loop(before)

"""One attempt as the session knows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podium_agent.domain.admission import Demand
from podium_agent.domain.attempt import QUEUED, Life

if TYPE_CHECKING:
    import asyncio

    from podium.v1 import session_pb2
    from podium_agent.frames import Header


@dataclass(slots=True)
class Result:
    """What a worker (or the session for it) said at an attempt's end: the header, the output, the inline log."""

    header: Header
    output: bytes = b""
    log: bytes = b""


@dataclass(slots=True)
class Attempt:
    """An attempt and all that is known of it. Times are seconds since the Unix epoch.

    `holding` is what survives the session in the worker's journal: the attempt's name, what it holds, when it began
    and when it must end. `assignment` is there until a worker has the order.
    """

    token: str
    reference: session_pb2.AttemptReference
    holding: Header
    life: Life = QUEUED
    assignment: session_pb2.Assignment | None = None
    worker: str = ""
    started_at: float | None = None
    preparing: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    notice: asyncio.TimerHandle | None = None
    result: Result | None = None
    report: session_pb2.AttemptFinished | None = None
    pinned: list[str] = field(default_factory=list)

    @property
    def demand(self) -> Demand:
        """What it holds while it executes."""
        return Demand(self.holding["cpu_millis"], self.holding["memory_bytes"])

    def stop_timers(self) -> None:
        """Let no timer of its speak again."""
        for handle in (self.timer, self.notice):
            if handle is not None:
                handle.cancel()
        self.timer = self.notice = None

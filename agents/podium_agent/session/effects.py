"""Performs what `domain.attempt` says must be done. Everything here returns at once; what takes time becomes an event.

A result is journaled before it is told: by the worker, or here for ends the session declares. It is told again on every
stream until the coordinator acknowledges it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from podium.outcomes import MAX_MESSAGE_BYTES, cut
from podium.v1 import session_pb2
from podium_agent import frames
from podium_agent.domain.attempt import EXECUTING, Effect, Event, State
from podium_agent.rpc import messages
from podium_agent.session import endings
from podium_agent.session.preparation import PreparationError
from podium_agent.session.settlement import UnsettledError

if TYPE_CHECKING:
    from podium_agent.domain.admission import Admission
    from podium_agent.frames import Header
    from podium_agent.session.attempts import Attempt, Attempts
    from podium_agent.session.endings import Endings
    from podium_agent.session.health import DiskHealth
    from podium_agent.session.logs import LogShipper
    from podium_agent.session.outbox import Outbox
    from podium_agent.session.pool import Pool
    from podium_agent.session.preparation import Preparer
    from podium_agent.session.settlement import Settler
    from podium_agent.session.supervision import Supervisor
    from podium_agent.store.journal import Journal, JournalWriter

STARTED_AFTER = 0.05
"""Seconds an attempt must execute before its start is told apart from its end."""


class Stage(Protocol):
    """Where the events go that effects bring about."""

    def happened(self, attempt: Attempt, event: Event) -> None:
        """Apply an event, and begin what fits now."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the session is made of; `grace` in seconds."""

    attempts: Attempts
    admission: Admission
    outbox: Outbox
    pool: Pool
    preparer: Preparer
    settler: Settler
    endings: Endings
    logs: LogShipper
    journal: Journal
    writer: JournalWriter
    health: DiskHealth
    supervisor: Supervisor
    grace: float


class Effects:
    """One method for each effect."""

    def __init__(self, parts: Parts, stage: Stage) -> None:
        self._parts = parts
        self._stage = stage
        self._begun: deque[tuple[float, Attempt]] = deque()
        self._begun_timer: asyncio.TimerHandle | None = None
        self._perform = {
            Effect.PREPARE: self._prepare,
            Effect.EXECUTE: self._execute,
            Effect.RELEASE: self._release,
            Effect.RETURN: self._return,
            Effect.END_WORKER: self._end_worker,
            Effect.SETTLE: self._settle,
            Effect.REPORT_RESULT: self._report,
            Effect.REPORT_CANCELLED: self._report_cancelled,
            Effect.REPORT_TIMED_OUT: self._report_timed_out,
            Effect.REPORT_DEATH: self._report_death,
            Effect.FORGET: self._forget,
            Effect.DISCARD: self._discard,
        }

    def perform(self, attempt: Attempt, effects: tuple[Effect, ...]) -> None:
        """Do what is to be done, in order."""
        for effect in effects:
            self._perform[effect](attempt)

    def cannot_prepare(self, attempt: Attempt, kind: str, message: str) -> None:
        """Bring about that an attempt cannot be given what it needs."""
        attempt.preparing = None
        if attempt.state is State.PREPARING:
            failure = {"kind": kind, "message": cut(message, MAX_MESSAGE_BYTES)}
            attempt.result = self._parts.endings.plain(attempt, "failed", failure)
            self._stage.happened(attempt, Event.UNPREPARABLE)

    def watch_timeout(self, attempt: Attempt) -> None:
        """Bring about the attempt's timeout, if it has one."""
        limit = attempt.holding["run_timeout"]
        if limit is not None and attempt.started_at is not None:
            left = max(attempt.started_at + limit - time.time(), 0.0)
            attempt.timer = asyncio.get_running_loop().call_later(left, self._stage.happened, attempt, Event.TIMED_OUT)

    # Before an attempt executes

    def _prepare(self, attempt: Attempt) -> None:
        assert attempt.assignment is not None  # noqa: S101 - an attempt has it until it executes
        if self._parts.preparer.ready(attempt.assignment):
            self._ask_for_worker(attempt)
        else:
            attempt.preparing = self._parts.supervisor.spawn(self._fetch(attempt), f"prepare {attempt.token}")

    async def _fetch(self, attempt: Attempt) -> None:
        assert attempt.assignment is not None  # noqa: S101 - an attempt has it until it executes
        try:
            await self._parts.preparer.prepare(attempt, attempt.assignment)
        except PreparationError as error:
            self.cannot_prepare(attempt, error.kind, str(error))
        else:
            attempt.preparing = None
            self._ask_for_worker(attempt)

    def _ask_for_worker(self, attempt: Attempt) -> None:
        if attempt.state is State.PREPARING and attempt.assignment is not None:
            python = attempt.assignment.HasField("python")
            self._parts.pool.request(attempt.token, attempt.assignment.bundle if python else "")

    def _return(self, attempt: Attempt) -> None:
        self._parts.outbox.give_back(attempt.reference)

    # While it executes

    def _execute(self, attempt: Attempt) -> None:
        assert attempt.assignment is not None  # noqa: S101 - an attempt has it until it executes
        attempt.started_at = attempt.holding["started_at"] = time.time()
        header, body = self._parts.preparer.order(attempt, attempt.assignment)
        self._parts.pool.send(attempt.worker, header, body)
        attempt.assignment = None
        self._begun.append((asyncio.get_running_loop().time() + STARTED_AFTER, attempt))
        self._watch_begun()
        self.watch_timeout(attempt)

    def _watch_begun(self) -> None:
        if self._begun and self._begun_timer is None:
            self._begun_timer = asyncio.get_running_loop().call_at(self._begun[0][0], self._tell_begun)

    def _tell_begun(self) -> None:
        """Tell of attempts that have executed for a while; those that have ended since need no more words."""
        self._begun_timer = None
        now = asyncio.get_running_loop().time()
        while self._begun and self._begun[0][0] <= now:
            _, attempt = self._begun.popleft()
            if attempt.state in EXECUTING and attempt.started_at is not None:
                started = messages.timestamp(attempt.started_at)
                self._parts.outbox.start(session_pb2.AttemptStarted(attempt=attempt.reference, start_time=started))
        self._watch_begun()

    def _end_worker(self, attempt: Attempt) -> None:
        attempt.stop_timer()
        self._parts.pool.end(attempt.worker, self._parts.grace)

    def _release(self, attempt: Attempt) -> None:
        attempt.stop_timer()
        self._parts.admission.release(attempt.token)
        if attempt.preparing is not None:
            attempt.preparing.cancel()
        if attempt.pinned:
            self._parts.preparer.blobs.let_go(attempt.pinned)
            attempt.pinned = []
        if attempt.worker:
            self._parts.pool.free(attempt.worker)
        else:
            self._parts.pool.withdraw(attempt.token)

    # When it has ended

    def _settle(self, attempt: Attempt) -> None:
        if self._parts.settler.needed(attempt):
            self._parts.supervisor.spawn(self._upload(attempt), f"settle {attempt.token}")
        else:
            self._stage.happened(attempt, Event.SETTLED)

    async def _upload(self, attempt: Attempt) -> None:
        try:
            await self._parts.settler.settle(attempt)
        except UnsettledError as error:
            failure = {"kind": error.kind, "message": cut(str(error), MAX_MESSAGE_BYTES)}
            attempt.result = await self._parts.endings.gathered(attempt, "failed", failure)
        self._stage.happened(attempt, Event.SETTLED)

    def _report_cancelled(self, attempt: Attempt) -> None:
        self._declare(attempt, "cancelled", endings.cancelled())

    def _report_timed_out(self, attempt: Attempt) -> None:
        self._declare(attempt, "timed_out", endings.timed_out(attempt.holding["run_timeout"]))

    def _report_death(self, attempt: Attempt) -> None:
        self._declare(attempt, "failed", endings.death(attempt.exit_code))

    def _declare(self, attempt: Attempt, state: str, failure: Header) -> None:
        if attempt.started_at is None:
            attempt.result = self._parts.endings.plain(attempt, state, failure)
            self._report(attempt)
        else:
            self._parts.supervisor.spawn(self._gather(attempt, state, failure), f"gather {attempt.token}")

    async def _gather(self, attempt: Attempt, state: str, failure: Header) -> None:
        result = attempt.result = await self._parts.endings.gathered(attempt, state, failure)
        writer = self._parts.writer
        try:
            writer.rotate_if_full()
            writer.finish(frames.pack(result.header, result.log))
            self._parts.journal.owe(writer.file, attempt.token)
        except OSError as error:
            self._parts.health.write_failed(str(error))
        self._parts.pool.buried(attempt.worker)
        self._report(attempt)

    def _report(self, attempt: Attempt) -> None:
        """Tell an attempt's end. Its log goes its own way."""
        if attempt.result is None or attempt.state is not State.REPORTED:
            return
        attempt.report = messages.finished(attempt.reference, attempt.result)
        if attempt.result.log:
            self._parts.logs.drop(attempt.reference, self._parts.endings.log_path(attempt))
        elif attempt.result.header["log_bytes"]:
            self._parts.logs.ended(attempt.reference, self._parts.endings.log_path(attempt))
        attempt.result = attempt.assignment = None
        self._parts.outbox.finish(attempt.report)

    def _forget(self, attempt: Attempt) -> None:
        self._parts.attempts.forget(attempt)

    def _discard(self, attempt: Attempt) -> None:
        self._parts.attempts.forget(attempt)
        self._parts.pool.buried(attempt.worker)
        self._parts.settler.discard(attempt)
        self._parts.logs.drop(attempt.reference, self._parts.endings.log_path(attempt))

"""Performs what `domain.attempt` says must be done. Everything here returns at once; what takes time becomes an event.

An end is journaled before it is told: by the worker, or here for ends the session declares. It is told on every stream
until the coordinator has committed it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from podium.outcomes import MAX_MESSAGE_BYTES, cut
from podium_agent import records
from podium_agent.domain.attempt import Effect, Event, State
from podium_agent.session import endings
from podium_agent.session.preparation import PreparationError
from podium_agent.session.settlement import UnsettledError

if TYPE_CHECKING:
    from podium_agent.domain.admission import Admission
    from podium_agent.frames import Header
    from podium_agent.records import End
    from podium_agent.session.attempts import Attempt, Attempts
    from podium_agent.session.endings import Endings
    from podium_agent.session.health import DiskHealth
    from podium_agent.session.logs import LogShipper
    from podium_agent.session.orders import Orders
    from podium_agent.session.outbox import Outbox
    from podium_agent.session.pool import Pool
    from podium_agent.session.preparation import Preparer
    from podium_agent.session.settlement import Settler
    from podium_agent.session.supervision import Supervisor
    from podium_agent.store.journal import Journal, JournalWriter


class Stage(Protocol):
    """Where the events go that effects bring about."""

    def happened(self, attempt: Attempt, event: Event) -> None:
        """Apply an event, and begin what fits now."""

    def timed_out(self, attempt: Attempt) -> None:
        """An attempt may have executed for too long."""

    def dealt(self) -> None:
        """A worker has something new to execute."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the session is made of; `grace` in seconds."""

    attempts: Attempts
    orders: Orders
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
        self._perform = {
            Effect.PREPARE: self._prepare,
            Effect.EXECUTE: self._execute,
            Effect.QUEUE_AGAIN: self._queue_again,
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
            attempt.end = self._parts.endings.plain(attempt, "failed", failure)
            self._stage.happened(attempt, Event.UNPREPARABLE)

    def watch_timeout(self, attempt: Attempt, seconds: float) -> None:
        """Bring about the attempt's timeout."""
        attempt.timer = asyncio.get_running_loop().call_later(max(seconds, 0.0), self._stage.timed_out, attempt)

    # Before an attempt executes

    def _prepare(self, attempt: Attempt) -> None:
        if self._parts.preparer.ready(attempt):
            self._parts.pool.request(attempt)
        else:
            attempt.preparing = self._parts.supervisor.spawn(self._fetch(attempt), f"prepare {attempt.token.hex()}")

    async def _fetch(self, attempt: Attempt) -> None:
        try:
            await self._parts.preparer.prepare(attempt)
        except PreparationError as error:
            self.cannot_prepare(attempt, error.kind, str(error))
            return
        attempt.preparing = None
        if attempt.state is State.PREPARING:
            self._parts.pool.request(attempt)
            self._parts.pool.flush()

    def _return(self, attempt: Attempt) -> None:
        self._parts.outbox.give_back(attempt.reference)

    # While it executes

    def _execute(self, attempt: Attempt) -> None:
        lane = attempt.lane
        assert lane is not None  # noqa: S101 - who deals an attempt says where to
        if not lane.dealt:
            lane.since = asyncio.get_running_loop().time()
        lane.deal(attempt, self._parts.preparer.own_inputs(attempt) if attempt.inputs else b"")
        if attempt.order.run_timeout is not None:
            self.watch_timeout(attempt, attempt.order.run_timeout)
        self._stage.dealt()

    def _queue_again(self, attempt: Attempt) -> None:
        attempt.stop_timer()
        self._leave_lane(attempt)
        attempt.lane = None
        self._parts.admission.put_back(attempt.token, attempt.order.demand)

    def _end_worker(self, attempt: Attempt) -> None:
        attempt.stop_timer()
        if attempt.lane is not None:
            self._parts.pool.end(attempt.lane, self._parts.grace)

    def _release(self, attempt: Attempt) -> None:
        attempt.stop_timer()
        if attempt.preparing is not None:
            attempt.preparing.cancel()
        if attempt.pinned:
            self._parts.preparer.blobs.let_go(attempt.pinned)
            attempt.pinned = None
        if attempt.lane is not None:
            attempt.lane.served += 1
            self._leave_lane(attempt)
        else:
            self._parts.admission.leave(attempt.token)
            self._parts.pool.withdraw(attempt)

    def _leave_lane(self, attempt: Attempt) -> None:
        lane = attempt.lane
        if lane is None:
            return
        lane.remove(attempt)
        if not lane.dealt:
            self._parts.admission.release(lane.name)
            self._parts.pool.free(lane)

    # When it has ended

    def _settle(self, attempt: Attempt) -> None:
        if self._parts.settler.needed(attempt):
            self._parts.supervisor.spawn(self._upload(attempt), f"settle {attempt.token.hex()}")
        else:
            self._stage.happened(attempt, Event.SETTLED)

    async def _upload(self, attempt: Attempt) -> None:
        try:
            await self._parts.settler.settle(attempt)
        except UnsettledError as error:
            failure = {"kind": error.kind, "message": cut(str(error), MAX_MESSAGE_BYTES)}
            attempt.end = await self._parts.endings.gathered(attempt, "failed", failure)
        self._stage.happened(attempt, Event.SETTLED)

    def _report_cancelled(self, attempt: Attempt) -> None:
        self._declare(attempt, "cancelled", endings.cancelled())

    def _report_timed_out(self, attempt: Attempt) -> None:
        self._declare(attempt, "timed_out", endings.timed_out(attempt.order.run_timeout or 0.0))

    def _report_death(self, attempt: Attempt) -> None:
        self._declare(attempt, "failed", endings.death(attempt.exit_code))

    def _declare(self, attempt: Attempt, state: str, failure: Header) -> None:
        if attempt.lane is None:
            attempt.end = self._parts.endings.plain(attempt, state, failure)
            self._report(attempt)
        else:
            self._parts.supervisor.spawn(self._gather(attempt, state, failure), f"gather {attempt.token.hex()}")

    async def _gather(self, attempt: Attempt, state: str, failure: Header) -> None:
        end = attempt.end = await self._parts.endings.gathered(attempt, state, failure)
        try:
            self._keep(attempt, end)
        except OSError as error:
            self._parts.health.write_failed(str(error))
        self._bury(attempt)
        self._report(attempt)

    def _keep(self, attempt: Attempt, end: End) -> None:
        writer = self._parts.writer
        if writer.full:
            writer.rotate()
        facts = records.FACTS(attempt.order.facts).encode()
        order = records.pack_order(attempt.order.number, facts)
        writer.append(order + records.pack_end(attempt.name, end.started, end.facts, end.output, end.log))
        self._parts.journal.owe(writer.file, [attempt.token])

    def _bury(self, attempt: Attempt) -> None:
        lane = attempt.lane
        if lane is not None and self._parts.pool.lane(lane.name) is None:
            self._parts.pool.buried(lane.name)
            self._parts.journal.writer_gone(lane.name)

    def _report(self, attempt: Attempt) -> None:
        """Tell an attempt's end. Its log goes its own way."""
        end = attempt.end
        if end is None or attempt.state is not State.REPORTED:
            return
        if end.log:
            if not isinstance(end, records.Success) or attempt.lane is None or self._parts.logs.follows(attempt.token):
                self._parts.logs.drop(attempt.reference, self._parts.endings.log_path(attempt))
        elif end.log_bytes if isinstance(end, records.Success) else end.facts["log_bytes"]:
            self._parts.logs.ended(attempt.reference, self._parts.endings.log_path(attempt))
        self._parts.outbox.finish(attempt)

    def _forget(self, attempt: Attempt) -> None:
        self._parts.attempts.forget(attempt)

    def _discard(self, attempt: Attempt) -> None:
        attempt.end = None
        self._parts.attempts.forget(attempt)
        self._bury(attempt)
        self._parts.settler.discard(attempt)
        self._parts.logs.drop(attempt.reference, self._parts.endings.log_path(attempt))

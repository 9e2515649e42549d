"""The conductor: applies what happens to attempts, and performs what follows.

Theory of operation
-------------------
All events (what the coordinator, workers and the spawner say, timers, finished background work) reach attempts through
`_apply`, which asks the pure table of `domain.attempt` what becomes of the attempt and performs the effects it names.
Nothing here waits: what takes time (fetching, uploading, gathering a dead worker's log) runs in background tasks that
come back as events. An event for an attempt that has moved on meanwhile changes nothing; the table says so.

A result is journaled before it is told: by the worker, or here for ends the session declares. It is told again on every
connection until the coordinator acknowledges it. While too many results wait for that, nothing new begins.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from podium.outcomes import MAX_MESSAGE_BYTES, cut
from podium.v1 import session_pb2
from podium_agent.domain.admission import Verdict
from podium_agent.domain.attempt import PREPARING, QUEUED, REPORTED, RUNNING, SETTLING, Effect, Event, State, step
from podium_agent.rpc import messages
from podium_agent.session import endings
from podium_agent.session.attempts import Attempt, Result
from podium_agent.session.preparation import PreparationError
from podium_agent.session.settlement import UploadRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podium_agent.domain.admission import Admission
    from podium_agent.frames import Header
    from podium_agent.session.endings import Endings
    from podium_agent.session.health import DiskHealth
    from podium_agent.session.logs import LogShipper
    from podium_agent.session.outbox import Outbox
    from podium_agent.session.pool import Pool
    from podium_agent.session.preparation import Preparer
    from podium_agent.session.settlement import Settler
    from podium_agent.session.supervision import Supervisor
    from podium_agent.store.journal import Journal, JournalWriter

log = structlog.get_logger(__name__)

STARTED_AFTER = 0.05
"""Seconds an attempt must execute before its start is told apart from its end."""

MOST_UNACKNOWLEDGED = 5_000


@dataclass(frozen=True, slots=True)
class Parts:
    """What the conductor conducts; `grace` in seconds."""

    admission: Admission
    outbox: Outbox
    pool: Pool
    preparer: Preparer
    settler: Settler
    endings: Endings
    logs: LogShipper
    journal: Journal
    writer: JournalWriter
    supervisor: Supervisor
    grace: float


class Conductor:
    """See the module's theory of operation."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._attempts: dict[str, Attempt] = {}
        self._reported = 0
        self._freed = asyncio.Event()
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
            Effect.REPORT_UNPREPARABLE: self._report,
            Effect.FORGET: self._forget,
            Effect.DISCARD: self._discard,
        }
        self.health: DiskHealth | None = None

    # What the coordinator says

    def heard(self, response: session_pb2.ConnectResponse) -> None:
        """Apply a message of the coordinator's."""
        if response.acknowledged:
            self._acknowledge(response.acknowledged)
        for reference in response.stale:
            self._order(reference, Event.STALE)
        for reference in response.cancels:
            self._order(reference, Event.CANCELLED)
        for reference in response.take_backs:
            self._order(reference, Event.TAKEN_BACK)
        for assignment in response.assignments:
            self._assigned(assignment)
        self.begin()

    def _acknowledge(self, references: Iterable[session_pb2.AttemptReference]) -> None:
        tokens = [reference.token.hex() for reference in references]
        self._note_acknowledged(tokens)
        for token in tokens:
            attempt = self._attempts.get(token)
            if attempt is not None and attempt.life == REPORTED:
                self._apply(attempt, Event.ACKNOWLEDGED)

    def _note_acknowledged(self, tokens: list[str]) -> None:
        try:
            self._parts.journal.acknowledge(tokens)
        except OSError as error:
            self._unhealthy(str(error))

    def _order(self, reference: session_pb2.AttemptReference, event: Event) -> None:
        attempt = self._attempts.get(reference.token.hex())
        if attempt is not None:
            self._apply(attempt, event)

    def _assigned(self, assignment: session_pb2.Assignment) -> None:
        reference = assignment.attempt
        token = reference.token.hex()
        if token in self._attempts:
            return
        attempt = Attempt(token, reference, messages.holding(assignment), assignment=assignment)
        verdict = self._parts.admission.offer(token, attempt.demand)
        if verdict is Verdict.QUEUED:
            self._attempts[token] = attempt
            self._parts.outbox.accept(reference)
        else:
            log.info("assignment_returned", task=assignment.task_key, why=verdict.value)
            self._parts.outbox.give_back(reference)

    # What the link asks

    def held(self) -> list[session_pb2.HeldAttempt]:
        """Return what is held, for the hello of a new stream, and line up the reports to repeat on it."""
        outbox = self._parts.outbox
        outbox.restart()
        for attempt in self._attempts.values():
            if attempt.report is not None:
                outbox.finish(attempt.report)
        return [
            session_pb2.HeldAttempt(
                attempt=attempt.reference,
                start_time=None if attempt.started_at is None else messages.timestamp(attempt.started_at),
            )
            for attempt in self._attempts.values()
        ]

    # What the pool and workers say

    def granted(self, token: str, worker: str) -> None:
        """An attempt has its worker."""
        attempt = self._attempts[token]
        attempt.worker = worker
        self._apply(attempt, Event.PREPARED)

    def no_worker(self, token: str) -> None:
        """No worker can be started."""
        self._cannot_prepare(self._attempts[token], "internal", "The agent cannot start worker processes; see its log.")

    def finished(self, worker: str, header: Header, body: bytes) -> None:
        """A worker has executed an attempt."""
        token = header["token"]
        if "unkept" in header:
            self._unhealthy(header["unkept"])
        else:
            self._parts.journal.owe(header["journal"], token)
        attempt = self._attempts.get(token)
        if attempt is None:
            self._note_acknowledged([token])
            self._parts.pool.free(worker)
        elif attempt.life.state in {State.RUNNING, State.ENDING}:
            attempt.result = result_of(header, body)
            self._apply(attempt, Event.ENDED)
        self.begin()

    def refused(self, header: Header) -> None:
        """A worker could not begin an attempt."""
        self._unhealthy(header["reason"])
        attempt = self._attempts.get(header["token"])
        if attempt is not None:
            self._apply(attempt, Event.REFUSED)
        self.begin()

    def log_grew(self, token: str, size: int) -> None:
        """An attempt's log has grown."""
        attempt = self._attempts.get(token)
        if attempt is not None and attempt.life == RUNNING:
            self._parts.logs.grew(attempt.reference, self._parts.endings.log_path(attempt), size)

    def worker_gone(self, token: str, code: int) -> None:
        """The worker of an attempt and all its processes are gone."""
        attempt = self._attempts.get(token)
        if attempt is not None:
            attempt.holding["exit_code"] = code
            self._apply(attempt, Event.WORKER_GONE)
        self.begin()

    # What earlier sessions left

    def adopt_running(self, holding: Header, worker: str) -> None:
        """Take over an attempt that a worker executes."""
        attempt = Attempt(
            holding["token"],
            messages.reference(holding),
            holding,
            life=RUNNING,
            worker=worker,
            started_at=holding["started_at"],
        )
        self._attempts[attempt.token] = attempt
        self._parts.admission.hold(attempt.token, attempt.demand)
        self._watch_timeout(attempt)

    def adopt_finished(self, header: Header, body: bytes) -> None:
        """Take over a result that is not acknowledged."""
        attempt = Attempt(header["token"], messages.reference(header), header, life=SETTLING)
        attempt.started_at = header.get("started_at")
        attempt.result = result_of(header, body)
        self._attempts[attempt.token] = attempt
        self._settle(attempt)

    def knows(self, token: str) -> bool:
        """Whether the attempt is held."""
        return token in self._attempts

    # Ending work

    def give_back_unstarted(self) -> None:
        """Return every attempt that has not begun."""
        for attempt in list(self._attempts.values()):
            if attempt.life in {QUEUED, PREPARING}:
                self._apply(attempt, Event.TAKEN_BACK)

    async def wait_until_executed(self) -> None:
        """Return when nothing executes or is being uploaded."""
        while any(attempt.life != REPORTED for attempt in self._attempts.values()):
            self._freed.clear()
            await self._freed.wait()

    async def wait_until_acknowledged(self) -> None:
        """Return when nothing is held."""
        while self._attempts:
            self._freed.clear()
            await self._freed.wait()

    # The table, and its effects

    def _apply(self, attempt: Attempt, event: Event) -> None:
        before = attempt.life
        attempt.life, effects = step(before, event)
        self._reported += (attempt.life == REPORTED) - (before == REPORTED)
        for effect in effects:
            self._perform[effect](attempt)

    def begin(self) -> None:
        """Begin whatever fits now."""
        room = MOST_UNACKNOWLEDGED - self._reported
        for token in self._parts.admission.begin(room):
            self._apply(self._attempts[token], Event.ADMITTED)

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
            self._cannot_prepare(attempt, error.kind, str(error))
        else:
            attempt.preparing = None
            self._ask_for_worker(attempt)

    def _ask_for_worker(self, attempt: Attempt) -> None:
        if attempt.life == PREPARING and attempt.assignment is not None:
            python = attempt.assignment.HasField("python")
            self._parts.pool.request(attempt.token, attempt.assignment.bundle if python else "")

    def _cannot_prepare(self, attempt: Attempt, kind: str, message: str) -> None:
        attempt.preparing = None
        if attempt.life != PREPARING:
            return
        failure = {"kind": kind, "message": cut(message, MAX_MESSAGE_BYTES)}
        attempt.result = self._parts.endings.plain(attempt, "failed", failure)
        self._apply(attempt, Event.UNPREPARABLE)
        self.begin()

    def _execute(self, attempt: Attempt) -> None:
        assert attempt.assignment is not None  # noqa: S101 - an attempt has it until it executes
        attempt.started_at = attempt.holding["started_at"] = time.time()
        header, body = self._parts.preparer.order(attempt, attempt.assignment)
        self._parts.pool.send(attempt.worker, header, body)
        attempt.assignment = None
        attempt.notice = asyncio.get_running_loop().call_later(STARTED_AFTER, self._tell_started, attempt)
        self._watch_timeout(attempt)

    def _tell_started(self, attempt: Attempt) -> None:
        started = session_pb2.AttemptStarted(
            attempt=attempt.reference, start_time=messages.timestamp(attempt.started_at or time.time())
        )
        self._parts.outbox.start(started)

    def _watch_timeout(self, attempt: Attempt) -> None:
        limit = attempt.holding["run_timeout"]
        if limit is not None and attempt.started_at is not None:
            left = max(attempt.started_at + limit - time.time(), 0.0)
            attempt.timer = asyncio.get_running_loop().call_later(left, self._apply, attempt, Event.TIMED_OUT)

    def _release(self, attempt: Attempt) -> None:
        attempt.stop_timers()
        self._parts.admission.release(attempt.token)
        self._parts.pool.withdraw(attempt.token)
        if attempt.preparing is not None:
            attempt.preparing.cancel()
        if attempt.pinned:
            self._parts.preparer.blobs.let_go(attempt.pinned)
            attempt.pinned = []
        if attempt.worker:
            self._parts.pool.free(attempt.worker)

    def _return(self, attempt: Attempt) -> None:
        self._parts.outbox.give_back(attempt.reference)

    def _end_worker(self, attempt: Attempt) -> None:
        attempt.stop_timers()
        self._parts.pool.end(attempt.worker, self._parts.grace)

    def _settle(self, attempt: Attempt) -> None:
        if self._parts.settler.needed(attempt):
            self._parts.supervisor.spawn(self._upload(attempt), f"settle {attempt.token}")
        else:
            self._apply(attempt, Event.SETTLED)

    async def _upload(self, attempt: Attempt) -> None:
        try:
            await self._parts.settler.settle(attempt)
        except UploadRefusedError as error:
            failure = {
                "kind": "user_error",
                "message": cut(f"The task's files cannot be stored: {error}", MAX_MESSAGE_BYTES),
            }
            attempt.result = await self._parts.endings.gathered(attempt, "failed", failure)
        self._apply(attempt, Event.SETTLED)

    def _report_cancelled(self, attempt: Attempt) -> None:
        self._declare(attempt, "cancelled", endings.cancelled())

    def _report_timed_out(self, attempt: Attempt) -> None:
        self._declare(attempt, "timed_out", endings.timed_out(attempt.holding["run_timeout"]))

    def _report_death(self, attempt: Attempt) -> None:
        self._declare(attempt, "failed", endings.death(attempt.holding["exit_code"]))

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
            writer.finish(result.header, result.log)
            self._parts.journal.owe(writer.file, attempt.token)
        except OSError as error:
            self._unhealthy(str(error))
        self._report(attempt)

    def _report(self, attempt: Attempt) -> None:
        """Tell an attempt's end. Its log goes its own way."""
        if attempt.result is None or attempt.life != REPORTED:
            return
        attempt.report = messages.finished(attempt.reference, attempt.result)
        path = self._parts.endings.log_path(attempt)
        if attempt.result.log:
            self._parts.logs.drop(attempt.reference, path)
        elif attempt.result.header["log_bytes"]:
            self._parts.logs.ended(attempt.reference, path)
        attempt.result = attempt.assignment = None
        self._parts.outbox.finish(attempt.report)
        self._freed.set()

    def _forget(self, attempt: Attempt) -> None:
        del self._attempts[attempt.token]
        self._freed.set()

    def _discard(self, attempt: Attempt) -> None:
        self._forget(attempt)
        self._note_acknowledged([attempt.token])
        self._parts.settler.discard(attempt)
        self._parts.logs.drop(attempt.reference, self._parts.endings.log_path(attempt))

    def _unhealthy(self, reason: str) -> None:
        if self.health is not None:
            self.health.write_failed(reason)


def result_of(header: Header, body: bytes) -> Result:
    """Return what a worker's frame or a journal's record says."""
    middle = len(body) - header["log_inline"]
    return Result(header, body[:middle], body[middle:])

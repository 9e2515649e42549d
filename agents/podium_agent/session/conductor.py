"""The conductor: what the coordinator, workers and the spawner say becomes events of attempts.

Theory of operation
-------------------
Every event reaches its attempt through `happened`, which asks the pure table of `domain.attempt` what becomes of the
attempt and has `session.effects` do what the table names. Nothing waits here: what takes time (fetching, uploading,
gathering a dead worker's log) runs in background tasks that come back as events. An event for an attempt that has moved
on meanwhile changes nothing; the table says so. While too many results wait for their acknowledgement, nothing new
begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from podium.v1 import session_pb2
from podium_agent.domain.admission import Verdict
from podium_agent.domain.attempt import EXECUTING, Effect, Event, State, step
from podium_agent.rpc import messages
from podium_agent.session.attempts import Attempt, Result
from podium_agent.session.effects import Effects, Parts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podium_agent.frames import Header

log = structlog.get_logger(__name__)

MOST_UNACKNOWLEDGED = 5_000


class Conductor:
    """See the module's theory of operation."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._attempts = parts.attempts
        self._effects = Effects(parts, self)

    def happened(self, attempt: Attempt, event: Event) -> None:
        """Apply an event, and begin what fits now."""
        self._apply(attempt, event)
        self.begin()

    def begin(self) -> None:
        """Begin whatever fits now."""
        room = MOST_UNACKNOWLEDGED - self._attempts.reported
        for token in self._parts.admission.begin(room):
            attempt = self._attempts.get(token)
            if attempt is not None:
                self._apply(attempt, Event.ADMITTED)

    def _apply(self, attempt: Attempt, event: Event) -> None:
        before = attempt.state
        attempt.state, effects = step(before, event)
        self._attempts.moved(before, attempt.state)
        self._effects.perform(attempt, effects)

    # What the coordinator says, and what the link asks

    def heard(self, response: session_pb2.ConnectResponse) -> None:
        """Apply a message of the coordinator's."""
        if response.acknowledged:
            self._acknowledge(response.acknowledged)
        if response.stale:
            self._disown(response.stale)
        for reference in response.cancels:
            self._order(reference, Event.CANCELLED)
        for reference in response.take_backs:
            self._order(reference, Event.TAKEN_BACK)
        for assignment in response.assignments:
            self._assigned(assignment)
        self.begin()

    def held(self) -> list[session_pb2.HeldAttempt]:
        """Return what is held, for the hello of a new stream, and line up the reports to repeat on it."""
        outbox = self._parts.outbox
        outbox.restart()
        held = []
        for attempt in self._attempts:
            if attempt.report is not None:
                outbox.finish(attempt.report)
            started = None if attempt.started_at is None else messages.timestamp(attempt.started_at)
            held.append(session_pb2.HeldAttempt(attempt=attempt.reference, start_time=started))
        return held

    def _acknowledge(self, references: Iterable[session_pb2.AttemptReference]) -> None:
        tokens = [reference.token.hex() for reference in references]
        self._note_acknowledged(tokens)
        for token in tokens:
            attempt = self._attempts.get(token)
            if attempt is not None and attempt.state is State.REPORTED:
                self._apply(attempt, Event.ACKNOWLEDGED)

    def _disown(self, references: Iterable[session_pb2.AttemptReference]) -> None:
        for reference in references:
            self._order(reference, Event.STALE)
        self._note_acknowledged([reference.token.hex() for reference in references])

    def _note_acknowledged(self, tokens: list[str]) -> None:
        try:
            self._parts.journal.acknowledge(tokens)
        except OSError as error:
            self._parts.health.write_failed(str(error))

    def _order(self, reference: session_pb2.AttemptReference, event: Event) -> None:
        attempt = self._attempts.get(reference.token.hex())
        if attempt is not None:
            self._apply(attempt, event)

    def _assigned(self, assignment: session_pb2.Assignment) -> None:
        reference = assignment.attempt
        token = reference.token.hex()
        if self._attempts.get(token) is not None:
            return
        attempt = Attempt(token, reference, messages.holding(assignment), assignment=assignment)
        verdict = self._parts.admission.offer(token, attempt.demand)
        if verdict is Verdict.QUEUED:
            self._attempts.add(attempt)
            self._parts.outbox.accept(reference)
        else:
            log.info("assignment_returned", task=assignment.task_key, why=verdict.value)
            self._parts.outbox.give_back(reference)

    def give_back_unstarted(self) -> None:
        """Return every attempt that has not begun."""
        for attempt in self._attempts.unstarted():
            self._apply(attempt, Event.TAKEN_BACK)

    # What the pool and workers say

    def granted(self, token: str, worker: str) -> None:
        """An attempt has its worker."""
        attempt = self._attempts.get(token)
        if attempt is not None:
            attempt.worker = worker
            self._apply(attempt, Event.PREPARED)

    def no_worker(self, token: str) -> None:
        """No worker can be started."""
        attempt = self._attempts.get(token)
        if attempt is not None:
            told = "The agent cannot start worker processes; its log says why."
            self._effects.cannot_prepare(attempt, "internal", told)

    def finished(self, worker: str, header: Header, body: bytes) -> None:
        """A worker has executed an attempt."""
        token = header["token"]
        if "unkept" in header:
            self._parts.health.write_failed(header["unkept"])
        else:
            self._parts.journal.owe(header["journal"], token)
        attempt = self._attempts.get(token)
        if attempt is None:
            self._note_acknowledged([token])
            self._parts.pool.free(worker)
        elif attempt.state in EXECUTING:
            attempt.result = result_of(header, body)
            self._apply(attempt, Event.ENDED)
        self.begin()

    def refused(self, header: Header) -> None:
        """A worker could not begin an attempt."""
        self._parts.health.write_failed(header["reason"])
        attempt = self._attempts.get(header["token"])
        if attempt is not None:
            self.happened(attempt, Event.REFUSED)

    def log_grew(self, token: str, size: int) -> None:
        """An attempt's log has grown."""
        attempt = self._attempts.get(token)
        if attempt is not None and attempt.state in EXECUTING:
            self._parts.logs.grew(attempt.reference, self._parts.endings.log_path(attempt), size)

    def worker_gone(self, token: str, code: int) -> None:
        """The worker of an attempt and all its processes are gone; `code` is minus a signal's number, or its exit's."""
        attempt = self._attempts.get(token)
        if attempt is not None:
            attempt.exit_code = code
            self.happened(attempt, Event.WORKER_GONE)

    # What earlier sessions left

    def adopt_running(self, holding: Header, worker: str) -> None:
        """Take over an attempt that a worker executes."""
        attempt = Attempt(holding["token"], messages.reference(holding), holding, State.RUNNING, worker=worker)
        attempt.started_at = holding["started_at"]
        self._attempts.add(attempt)
        self._parts.admission.hold(attempt.token, attempt.demand)
        self._effects.watch_timeout(attempt)

    def adopt_finished(self, header: Header, body: bytes) -> None:
        """Take over a result that is not acknowledged."""
        attempt = Attempt(header["token"], messages.reference(header), header, State.SETTLING)
        attempt.started_at = header.get("started_at")
        attempt.result = result_of(header, body)
        self._attempts.add(attempt)
        self._effects.perform(attempt, (Effect.SETTLE,))

    def knows(self, token: str) -> bool:
        """Whether the attempt is held."""
        return self._attempts.get(token) is not None


def result_of(header: Header, body: bytes) -> Result:
    """Return what a worker's frame or a journal's record says."""
    middle = len(body) - header["log_inline"]
    return Result(header, body[:middle], body[middle:])

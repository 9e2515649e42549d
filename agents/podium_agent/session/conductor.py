"""The conductor: what the coordinator, workers and the spawner say becomes events of attempts.

Theory of operation
-------------------
Every event reaches its attempt through `_apply`, which asks the pure table of `domain.attempt` what becomes of the
attempt and has `session.effects` do what the table names. Nothing waits here: what takes time (fetching, uploading,
gathering a dead worker's log) runs in background tasks that come back as events. An event for an attempt that has moved
on meanwhile changes nothing; the table says so. While too many ends wait to be committed, nothing new begins.

Whoever wants something of an attempt that was dealt to a worker (take it back, cancel it, time it out) must first know
whether the worker executes it. The session can tell without the worker: what has not been taken is recalled, and the
journal says what has been finished. When two attempts are left, the worker is between them, for some microseconds.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from podium_agent import records
from podium_agent.domain.admission import Verdict
from podium_agent.domain.attempt import EXECUTING, Effect, Event, State, step
from podium_agent.records import Success
from podium_agent.rpc import messages
from podium_agent.session import orders
from podium_agent.session.attempts import Attempt
from podium_agent.session.dealing import Dealer
from podium_agent.session.effects import Effects, Parts
from podium_agent.session.lanes import Phase
from podium_agent.session.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podium.v1 import session_pb2
    from podium_agent.frames import Header
    from podium_agent.records import End
    from podium_agent.session.lanes import Lane
    from podium_agent.store.journal import Found

log = structlog.get_logger(__name__)

BETWEEN_TWO = 0.002
"""Seconds after which to ask again what a worker executes that was between two attempts."""


class Conductor:
    """See the module's theory of operation."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._attempts = parts.attempts
        self._effects = Effects(parts, self)
        self._dealer = Dealer(parts, self._apply)
        self._watch = Watch(parts.pool, parts.outbox, self)

    def happened(self, attempt: Attempt, event: Event) -> None:
        """Apply an event, and begin what fits now."""
        self._apply(attempt, event)
        self.begin()

    def dealt(self) -> None:
        """Watch what a worker has been dealt."""
        self._watch.arm()

    def begin(self) -> None:
        """Begin whatever fits now."""
        self._dealer.deal()

    def _apply(self, attempt: Attempt, event: Event) -> None:
        before = attempt.state
        after, effects = step(before, event)
        attempt.state = after
        self._attempts.moved(before, after)
        self._effects.perform(attempt, effects)

    # What the coordinator says, and what the link asks

    def heard(self, response: session_pb2.ConnectResponse) -> None:
        """Apply a message of the coordinator's."""
        if response.committed:
            self._committed(response.committed)
        if response.stale:
            self._disown(response.stale)
        for reference in response.cancels:
            self._order(reference, Event.CANCELLED)
        for reference in response.take_backs:
            self._order(reference, Event.TAKEN_BACK)
        for told in response.assignments:
            self._assigned(told)
        self.begin()

    def held(self) -> list[session_pb2.HeldAttempt]:
        """Return what is held, for the hello of a new stream, and line up the ends to tell on it."""
        outbox = self._parts.outbox
        outbox.restart()
        for attempt in self._attempts:
            if attempt.state is State.REPORTED and attempt.end is not None:
                outbox.finish(attempt)
        return [messages.held(attempt) for attempt in self._attempts]

    def _committed(self, sequence: int) -> None:
        attempts = [attempt for attempt in self._parts.outbox.committed(sequence) if attempt.state is State.REPORTED]
        self._note_acknowledged([attempt.token for attempt in attempts])
        for attempt in attempts:
            self._apply(attempt, Event.ACKNOWLEDGED)

    def _disown(self, references: Iterable[session_pb2.AttemptReference]) -> None:
        for reference in references:
            self._order(reference, Event.STALE)
        self._note_acknowledged([reference.token for reference in references])

    def _note_acknowledged(self, tokens: list[bytes]) -> None:
        try:
            self._parts.journal.acknowledge(tokens)
        except OSError as error:
            self._parts.health.write_failed(str(error))

    def _order(self, reference: session_pb2.AttemptReference, event: Event) -> None:
        attempt = self._attempts.get(reference.token)
        if attempt is not None:
            self._demand(attempt, event)

    def _assigned(self, told: session_pb2.Assignments) -> None:
        admission, outbox = self._parts.admission, self._parts.outbox
        outbox.soon()
        for attempt in messages.attempts(told, self._parts.orders):
            if self._attempts.get(attempt.token) is not None:
                continue
            verdict = admission.offer(attempt.token, attempt.order.demand)
            if verdict is Verdict.QUEUED:
                self._attempts.add(attempt)
            else:
                log.info("assignment_returned", task=attempt.key, why=verdict.value)
                outbox.give_back(attempt.reference)

    def give_back_unstarted(self) -> None:
        """Return every attempt that has not begun."""
        for lane in self._parts.pool.busy():
            self.recall(lane)
        for attempt in self._attempts.unstarted():
            self._apply(attempt, Event.TAKEN_BACK)

    # What becomes of attempts that were dealt

    def recall(self, lane: Lane) -> None:
        """Queue again, before all others and in their order, what the worker has not taken."""
        for attempt in reversed(lane.recall()):
            if attempt.state is State.DEALT:
                self._apply(attempt, Event.RECALLED)

    def read_on(self, lane: Lane) -> None:
        """Take up what a worker has written down and not told."""
        for found in self._parts.journal.news(lane.name):
            if not isinstance(found.record, records.Start):
                self._parts.journal.owe(found.name, self._ended([found.record]))
            elif (attempt := self._attempts.get(found.record.token)) is not None:
                attempt.started = found.record.started
            else:
                self.adopt_running(found, lane)

    def timed_out(self, attempt: Attempt) -> None:
        """End an attempt that has executed for too long, if it has."""
        attempt.timer = None
        self._demand(attempt, Event.TIMED_OUT)
        self.begin()

    def _demand(self, attempt: Attempt, event: Event) -> None:
        """Apply what is demanded from outside, once it is known whether the attempt executes."""
        lane = attempt.lane
        if attempt.state is State.DEALT and lane is not None:
            self.recall(lane)
            if attempt.state is State.DEALT:
                self.read_on(lane)
            if attempt.state is State.DEALT and len(lane.dealt) > 1 and event is not Event.TAKEN_BACK:
                lane.closed = True
                asyncio.get_running_loop().call_later(BETWEEN_TWO, self._demand_again, attempt, event, lane)
                return
        if event is Event.TIMED_OUT and not self._is_overdue(attempt):
            return
        self._apply(attempt, event)

    def _demand_again(self, attempt: Attempt, event: Event, lane: Lane) -> None:
        lane.closed = False
        self._demand(attempt, event)
        self.begin()

    def _is_overdue(self, attempt: Attempt) -> bool:
        """Whether the attempt still executes and has for too long; sees to it that the question comes again if not."""
        limit = attempt.order.run_timeout
        if attempt.state is not State.DEALT or limit is None:
            return False
        began = attempt.started / 1e6 if attempt.started else time.time()
        left = began + limit - time.time()
        if left > 0:
            self._effects.watch_timeout(attempt, left)
        return left <= 0

    # What the pool and workers say

    def granted(self, attempt: Attempt, lane: Lane) -> None:
        """An attempt has its worker."""
        self._parts.admission.pass_on(attempt.token, lane.name)
        attempt.lane = lane
        self._apply(attempt, Event.DEALT)

    def no_worker(self, attempt: Attempt) -> None:
        """No worker can be started."""
        told = "The agent cannot start worker processes; its log says why."
        self._effects.cannot_prepare(attempt, "internal", told)

    def ends(self, lane: Lane, told: bytes) -> None:
        """A worker has executed attempts."""
        number, position = records.PLACE.unpack_from(told)
        journal = self._parts.journal
        journal.passed(lane.name, (number, position))
        kept = self._ended(record for record, _ in records.unpack(told, records.PLACE.size))
        if kept:
            journal.owe(f"{lane.name}.{number}", kept)
        lane.stuck = False
        lane.since = asyncio.get_running_loop().time()
        self.begin()

    def _ended(self, ends: Iterable[records.Record]) -> list[bytes]:
        """Take up ends; return the tokens of those that are in the journal and to be acknowledged some time."""
        kept = []
        for end in ends:
            attempt = self._attempts.get(end.token) if not isinstance(end, records.Order) else None
            if attempt is None or isinstance(end, records.Order | records.Start):
                continue
            if isinstance(end, Success) or "unkept" not in end.facts:
                kept.append(end.token)
            else:
                self._parts.health.write_failed(end.facts["unkept"])
            if attempt.state in EXECUTING:
                self._has_ended(attempt, end)
        return kept

    def _has_ended(self, attempt: Attempt, end: Success | End) -> None:
        attempt.end, attempt.started = end, end.started
        if isinstance(end, Success):
            attempt.order.usual.note(end.duration)
            self._apply(attempt, Event.ENDED)
        else:
            self._apply(attempt, Event.ENDED_WITH_FILES if self._parts.settler.needed(attempt) else Event.ENDED)

    def refused(self, header: Header) -> None:
        """A worker could not begin an attempt."""
        self._parts.health.write_failed(header["reason"])
        attempt = self._attempts.get(bytes.fromhex(header["token"]))
        if attempt is not None:
            self.happened(attempt, Event.REFUSED)

    def log_grew(self, token: bytes, size: int) -> None:
        """An attempt's log has grown."""
        attempt = self._attempts.get(token)
        if attempt is not None and attempt.state in EXECUTING:
            self._parts.logs.grew(attempt.reference, self._parts.endings.log_path(attempt), size)

    def connected(self, lane: Lane, recalled: list[Attempt]) -> None:
        """A worker has connected, maybe not for the first time; `recalled` is what it was dealt and did not take."""
        for attempt in reversed(recalled):
            if attempt.state is State.DEALT:
                self._apply(attempt, Event.RECALLED)
        self.read_on(lane)
        for attempt in reversed(list(lane.dealt.values())):
            if attempt.state is State.DEALT and not attempt.started:
                self._apply(attempt, Event.RECALLED)  # its ticket died with the connection before
        self._parts.pool.settled(lane)
        self.begin()

    def worker_gone(self, lane: Lane, code: int) -> bool:
        """Take up what a worker left that is gone with all its processes; return whether it left an attempt to bury.

        `code` is minus a signal's number, or its exit's. What it had not begun is queued again.
        """
        if lane.phase is Phase.BUSY:
            lane.phase = Phase.ENDING
        self.recall(lane)
        self.read_on(lane)
        left = list(lane.dealt.values())
        begun = [attempt for attempt in left if attempt.started or attempt.state is not State.DEALT]
        for attempt in reversed(left):
            attempt.exit_code = code
            self._apply(attempt, Event.WORKER_GONE if attempt in begun else Event.RECALLED)
        return bool(begun)

    # What earlier sessions left

    def adopt_running(self, found: Found, lane: Lane) -> None:
        """Take over an attempt that a worker executes."""
        attempt = adopted(found, State.DEALT)
        lane.hold(attempt)
        self._parts.admission.hold(lane.name, attempt.order.demand)
        self._attempts.add(attempt)
        limit = attempt.order.run_timeout
        if limit is not None:
            self._effects.watch_timeout(attempt, attempt.started / 1e6 + limit - time.time())
        self._watch.arm()

    def adopt_finished(self, found: Found) -> None:
        """Take over an end that is not acknowledged."""
        attempt = adopted(found, State.SETTLING)
        if not isinstance(found.record, records.Start):
            attempt.end = found.record
        self._attempts.add(attempt)
        self._effects.perform(attempt, (Effect.SETTLE,))

    def knows(self, token: bytes) -> bool:
        """Whether the attempt is held."""
        return self._attempts.get(token) is not None


def adopted(found: Found, state: State) -> Attempt:
    """Return the attempt that a record of an earlier session's is about."""
    record = found.record
    key = record.key if isinstance(record, records.Start) else ""
    order = orders.adopted(found.order)
    name = record.token, order, record.task, record.map_index, record.number
    return Attempt(*name, key, state=state, started=record.started)

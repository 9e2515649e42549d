"""An agent: the production domain of one (the life of an attempt, admission) in a model of its session.

It keeps what it is given, tells what became of it until it is heard, tries one coordinator after the other, and may
freeze, lose its session, or lose everything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from podium_agent.domain.admission import Admission, Demand, Verdict
from podium_agent.domain.attempt import EXECUTING, UNSTARTED, Effect, Event, State, step
from podium_coordinator.domain.lifecycle import Finish
from podium_coordinator.domain.records import Failure
from podium_coordinator.domain.states import AttemptState, FailureKind
from tests.simulation.chance import Chance
from tests.simulation.messages import Assigned, FromAgent, Greeting, ToAgent
from tests.simulation.network import Stream

if TYPE_CHECKING:
    from tests.simulation.world import World

HEARTBEAT = 3.0
PATIENCE = 9.0
WELCOME_PATIENCE = 10.0
FIRST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE_WITHOUT_OWNER = 0.1, 5.0, 0.5
GATHER = 0.002
QUEUE_LIMIT = 500
ALL_FAULTS = (
    FailureKind.USER_ERROR,
    FailureKind.EXIT_CODE,
    FailureKind.OUT_OF_MEMORY,
    FailureKind.REJECTED_INPUT,
    FailureKind.INTERNAL,
    FailureKind.PREEMPTED,
)

LOSSES = (FailureKind.INTERNAL, FailureKind.PREEMPTED)


@dataclass
class Attempt:
    """An attempt the agent holds."""

    order: Assigned
    state: State = State.QUEUED
    dealings: int = 0
    started_at: datetime | None = None
    ending: Finish | None = None
    report: Finish | None = None

    @property
    def token(self) -> bytes:
        return self.order.name.token

    @property
    def unbegun(self) -> bool:
        """Whether it waits, be it for a worker that has not taken it yet."""
        return self.state in UNSTARTED or (self.state is State.DEALT and self.started_at is None)

    @property
    def demand(self) -> Demand:
        return Demand(self.order.cpu_millis, self.order.memory_bytes)


class Agent:
    """See the module's title. A `life` ends with a crash, a `session` with its process or its stream."""

    def __init__(self, world: World, number: int, cpu: int, memory: int, labels: frozenset[tuple[str, str]]) -> None:
        self.number = number
        self.agent_id = world.chance.uuid()
        self.name = f"agent-{number}"
        self.attempts: dict[bytes, Attempt] = {}
        self.frozen = False
        self.up = True
        self.draining = False
        self._world = world
        self._capacity = Demand(cpu, memory)
        self._labels = labels
        self._admission = Admission(self._capacity, QUEUE_LIMIT)
        self._deferred: list[Callable[[], None]] = []
        self._life = 0
        self._connection = 0
        self._stream: Stream | None = None
        self._welcomed = False
        self._message = FromAgent()
        self._told: deque[tuple[int, list[Attempt]]] = deque()
        self._sequence = self._heard = 0
        self._planned = False
        self._heard_at = self._spoken_at = 0.0
        self._next = world.chance.below(world.coordinator_count)
        self._round_left = world.coordinator_count
        self._pause, self._longest = FIRST_PAUSE, LONGEST_PAUSE
        self._later(world.chance.between(0.0, 0.5), self._connect)

    @property
    def busy(self) -> bool:
        """Whether anything is held, or being told."""
        return bool(self.attempts)

    # Time, which stands still while it is frozen.

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        life = self._life
        self._world.timeline.after(delay, lambda: self._now(life, action))

    def _now(self, life: int, action: Callable[[], None]) -> None:
        if life != self._life:
            return
        if self.frozen:
            self._deferred.append(lambda: self._now(life, action))
        else:
            action()

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        deferred, self._deferred = self._deferred, []
        for action in deferred:
            action()

    # Lives.

    def crash(self, away: float) -> None:
        """Lose everything, and come back."""
        for token in self.attempts:
            self._world.judge.ledger.lost(token)
        self._life += 1
        self._planned = False
        self.attempts.clear()
        self._admission = Admission(self._capacity, QUEUE_LIMIT)
        self._restart(away)

    def restart_session(self, away: float) -> None:
        """Lose the session's process: what executes, and results in the journal, survive it; what waits does not."""
        self._admission = Admission(self._capacity, QUEUE_LIMIT)
        for token, attempt in list(self.attempts.items()):
            if attempt.unbegun:
                del self.attempts[token]
                self._world.judge.ledger.lost(token)
            elif attempt.state in EXECUTING:
                self._admission.hold(token, attempt.demand)
        self._restart(away)

    def drain(self) -> None:
        """Give back what has not begun, finish the rest, and leave."""
        self.draining = True
        self._admission.close()
        self._message.draining = True
        for attempt in list(self.attempts.values()):
            if attempt.unbegun:
                self._demand(attempt, Event.TAKEN_BACK)
        self._speak_soon()

    def reopen(self) -> None:
        """Work again."""
        if self.draining:
            self.draining = False
            self._admission.reopen()
            self._give_up_stream()
            self._connect_soon("")

    def _restart(self, away: float) -> None:
        if self._stream is not None:
            self._stream.break_off()
        self._stream = None
        self._welcomed = self.draining = False
        self._connection += 1
        self.up = False
        self._message = FromAgent()
        self._later(away, self._come_up)

    def _come_up(self) -> None:
        self.up = True
        self._connect()

    # The link.

    def _connect(self) -> None:
        if not self.up or self._stream is not None:
            return
        world = self._world
        self._connection += 1
        coordinator = world.coordinators[self._next]
        self._next = (self._next + 1) % world.coordinator_count
        self._round_left -= 1
        if coordinator is None:
            self._connect_soon("")
            return
        self._stream = world.network.open(self, coordinator, (self.number, coordinator.number))
        self._sequence, self._heard, self._welcomed = 1, 0, False
        self._message = FromAgent()
        self._told.clear()
        self._stream.send_up(FromAgent(1, 0, self._greeting(), draining=self.draining))
        self._message.finished = [
            (attempt.order.name, attempt.report, 0.0)
            for attempt in self.attempts.values()
            if attempt.report is not None
        ]
        connection = self._connection
        self._later(WELCOME_PATIENCE, lambda: self._give_up_unless(connection, self._welcomed))

    def _greeting(self) -> Greeting:
        held = tuple((attempt.order.name, attempt.started_at) for attempt in self.attempts.values())
        capacity = self._capacity
        return Greeting(self.agent_id, self.name, capacity.cpu_millis, capacity.memory_bytes, self._labels, held)

    def _connect_soon(self, reason: str) -> None:
        """Try the next address, after a pause when all have been tried."""
        if reason == "NO_OWNER":
            self._longest = LONGEST_PAUSE_WITHOUT_OWNER
        if self._round_left > 0:
            self._later(0.001, self._connect)
            return
        self._round_left = self._world.coordinator_count
        self._pause = min(self._pause, self._longest)
        self._later(self._pause * self._world.chance.between(0.5, 1.0), self._connect)
        self._pause, self._longest = self._pause * 2, LONGEST_PAUSE

    def _give_up_unless(self, connection: int, well: bool) -> None:
        if connection == self._connection and self._stream is not None and not well:
            self._give_up_stream()
            self._connect_soon("")

    def _give_up_stream(self) -> None:
        if self._stream is not None:
            self._stream.leave(agent=True, reason="")
            self._stream = None
            self._welcomed = False
            self._connection += 1

    def received(self, stream: Stream, message: object) -> None:
        self._now(self._life, lambda: self._receive(stream, message))

    def ended(self, stream: Stream, reason: str) -> None:
        self._now(self._life, lambda: self._lose_stream(stream, reason))

    def _lose_stream(self, stream: Stream, reason: str) -> None:
        if stream is self._stream:
            self._stream = None
            self._welcomed = False
            self._connection += 1
            self._connect_soon(reason)

    def _receive(self, stream: Stream, message: object) -> None:
        if stream is not self._stream or not isinstance(message, ToAgent):
            return
        if message.epoch is not None:
            self._world.note("is welcomed:", self.name, "by", stream.names[1], "under epoch", message.epoch)
            self._welcomed = True
            self._pause = FIRST_PAUSE
            self._beat(self._connection)
        self._heard, self._heard_at = message.sequence, self._world.timeline.now
        connection = self._connection
        self._later(PATIENCE, lambda: self._give_up_unless(connection, self._world.timeline.now < self._due))
        self._obey(message)
        self._speak_soon()

    @property
    def _due(self) -> float:
        """When silence is too long."""
        return self._heard_at + PATIENCE - 1e-6

    def _beat(self, connection: int) -> None:
        if connection != self._connection:
            return
        if self._world.timeline.now >= self._spoken_at + HEARTBEAT - 0.01:
            self._speak_soon()
        self._later(HEARTBEAT, lambda: self._beat(connection))

    def _speak_soon(self) -> None:
        if not self._planned:
            self._planned = True
            self._world.timeline.after(GATHER, lambda: self._now(self._life, self._speak))

    def _speak(self) -> None:
        self._planned = False
        if self._stream is None or not self._welcomed:
            return
        message, self._message = self._message, FromAgent(draining=self.draining)
        self._sequence += 1
        message.sequence, message.heard = self._sequence, self._heard
        if message.finished:
            held = [self.attempts.get(name.token) for name, _, _ in message.finished]
            self._told.append((self._sequence, [attempt for attempt in held if attempt is not None]))
        self._spoken_at = self._world.timeline.now
        self._stream.send_up(message)

    def forge(self, message: FromAgent) -> None:
        """Say something that is not so."""
        if self._stream is not None and self._welcomed:
            self._message.started += message.started
            self._message.finished += message.finished
            self._message.returned += message.returned
            self._speak_soon()

    # What the coordinator says.

    def _obey(self, message: ToAgent) -> None:
        while self._told and self._told[0][0] <= message.committed:
            for told in self._told.popleft()[1]:
                if self.attempts.get(told.token) is told and told.report is not None:
                    self._apply(told, Event.ACKNOWLEDGED)
        for event, names in (
            (Event.STALE, message.stale),
            (Event.CANCELLED, message.cancels),
            (Event.TAKEN_BACK, message.take_backs),
        ):
            for name in names:
                attempt = self.attempts.get(name.token)
                if attempt is not None and attempt.order.name == name:
                    self._demand(attempt, event)
        for order in message.assigned:
            self._take(order)
        self._begin()

    def _take(self, order: Assigned) -> None:
        token = order.name.token
        if token in self.attempts:
            return
        judge = self._world.judge
        fits = order.cpu_millis <= self._capacity.cpu_millis and order.memory_bytes <= self._capacity.memory_bytes
        judge.demand(fits and self._labels.issuperset(order.labels), "an agent got what it has no room or label for")
        attempt = Attempt(order)
        if self._admission.offer(token, attempt.demand) is Verdict.QUEUED:
            judge.ledger.received(token, self.agent_id)
            self.attempts[token] = attempt
        else:
            self._message.returned.append(order.name)

    # Attempts.

    def _begin(self) -> None:
        while (token := self._admission.first()) is not None and self._admission.fits(self.attempts[token].demand):
            self._admission.admit(token)
            self._apply(self.attempts[token], Event.ADMITTED)

    def _demand(self, attempt: Attempt, event: Event) -> None:
        """Apply what is demanded from outside; what a worker has not taken yet is recalled first."""
        if self.attempts.get(attempt.token) is attempt:
            if attempt.state is State.DEALT and attempt.unbegun:
                self._apply(attempt, Event.RECALLED)
            self._apply(attempt, event)
            self._begin()

    def _happened(self, attempt: Attempt, event: Event) -> None:
        """Apply an event to an attempt that is still held."""
        if self.attempts.get(attempt.token) is attempt:
            self._apply(attempt, event)
            self._begin()

    def _apply(self, attempt: Attempt, event: Event) -> None:
        attempt.state, effects = step(attempt.state, event)
        for effect in effects:
            self._perform(attempt, effect)

    def _soon(self, attempt: Attempt, event: Event, delay: float) -> None:
        self._later(delay, lambda: self._happened(attempt, event))

    def _perform(self, attempt: Attempt, effect: Effect) -> None:
        chance, name = self._world.chance, attempt.order.name
        match effect:
            case Effect.PREPARE:
                self._later(chance.pick([0.0, 0.0, 0.001, 0.02]), lambda: self._deal(attempt))
            case Effect.EXECUTE:
                attempt.dealings += 1
                dealing = attempt.dealings
                self._later(chance.pick([0.0, 0.0, 0.0, 0.001, 0.3]), lambda: self._taken(attempt, dealing))
            case Effect.QUEUE_AGAIN:
                self._admission.leave(attempt.token)
                self._admission.put_back(attempt.token, attempt.demand)
            case Effect.RELEASE:
                self._admission.leave(attempt.token)
            case Effect.RETURN:
                self._message.returned.append(name)
                self._speak_soon()
            case Effect.END_WORKER:
                self._soon(attempt, Event.WORKER_GONE, chance.between(0.001, 0.6))
            case Effect.SETTLE:
                self._soon(attempt, Event.SETTLED, chance.pick([0.0, 0.0, 0.0, 0.05]))
            case Effect.FORGET | Effect.DISCARD:
                del self.attempts[attempt.token]
                self._world.judge.ledger.lost(attempt.token)
            case _:
                self._report(attempt, _ending(attempt, effect))

    def _deal(self, attempt: Attempt) -> None:
        """A worker is found, if it is still wanted."""
        if attempt.state is State.PREPARING:
            self._happened(attempt, Event.DEALT)

    def _taken(self, attempt: Attempt, dealing: int) -> None:
        """The worker takes an attempt it was dealt, if it was not recalled."""
        held = self.attempts.get(attempt.token) is attempt
        if held and attempt.dealings == dealing and attempt.state is State.DEALT:
            self._execute(attempt)

    def _execute(self, attempt: Attempt) -> None:
        world = self._world
        holding = [held for held in self.attempts.values() if held.state in EXECUTING]
        executing = [held.demand for held in holding if held is attempt or not held.unbegun]
        cpu, memory = sum(need.cpu_millis for need in executing), sum(need.memory_bytes for need in executing)
        fits = cpu <= self._capacity.cpu_millis and memory <= self._capacity.memory_bytes
        world.judge.demand(fits, f"{self.name} executes {cpu} and {memory} at once")
        attempt.started_at = world.timeline.instant
        world.note(
            "begins at", self.name, attempt.order.name.run_id, attempt.order.name.task, attempt.order.name.number
        )
        world.judge.ledger.began(attempt.token, attempt.started_at)
        self._message.started.append((attempt.order.name, attempt.started_at))
        self._speak_soon()
        cursed = attempt.order.workflow in world.cursed
        attempt.ending = a_random_finish(attempt, world.chance, LOSSES if cursed else ALL_FAULTS, 4 if cursed else 12)
        seconds = world.duration(attempt.order)
        if attempt.order.workflow in world.deadly and world.chance.happens(0.8):
            self._later(seconds, lambda: self.crash(0.5))
        ended = world.chance.pick([Event.ENDED, Event.ENDED_WITH_FILES])
        event = Event.WORKER_GONE if world.chance.happens(0.03) else ended
        self._soon(attempt, event, seconds)
        if attempt.order.run_timeout is not None:
            self._soon(attempt, Event.TIMED_OUT, attempt.order.run_timeout)

    def _report(self, attempt: Attempt, finish: Finish) -> None:
        attempt.report = finish
        name = attempt.order.name
        self._world.note("ends at", self.name, name.run_id, name.task, name.number, finish.state.value)
        self._world.judge.ledger.ended(attempt.token, finish)
        seconds = (self._world.timeline.instant - attempt.started_at).total_seconds() if attempt.started_at else 0.0
        self._message.finished.append((name, finish, seconds))
        self._speak_soon()


def _ending(attempt: Attempt, effect: Effect) -> Finish:
    """Return what is told of an attempt's end."""
    at = attempt.started_at
    match effect:
        case Effect.REPORT_CANCELLED:
            return Finish(AttemptState.CANCELLED, at, failure=Failure(FailureKind.CANCELLED, "Stopped."))
        case Effect.REPORT_TIMED_OUT:
            return Finish(AttemptState.TIMED_OUT, at, failure=Failure(FailureKind.TIMEOUT_RUN, "Too long."))
        case Effect.REPORT_DEATH:
            return Finish(AttemptState.FAILED, at, failure=Failure(FailureKind.OUT_OF_MEMORY, "Its worker died."))
        case _:
            assert attempt.ending is not None
            return attempt.ending


def a_random_finish(attempt: Attempt, chance: Chance, faults: Sequence[FailureKind], good: int) -> Finish:
    """Return how an attempt will end by itself: in `good` of 20 cases well."""
    luck = chance.below(20) - good
    if luck < 0:
        return Finish(AttemptState.SUCCEEDED, attempt.started_at, output=attempt.token)
    if luck < 2:
        return Finish(AttemptState.SKIPPED, attempt.started_at)
    if luck < 3:
        return Finish(AttemptState.CANCELLED, attempt.started_at)
    return Finish(
        AttemptState.FAILED,
        attempt.started_at,
        failure=Failure(chance.pick(faults), "Bad luck."),
        no_retry=chance.happens(0.1),
        retry_after=chance.pick([None, None, None, 0.0, 3.0]),
    )

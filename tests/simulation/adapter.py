"""The one place that knows how the production code is held: what passes between it and an agent's stream, where it
gets time, tokens and rows from, and where it tells of its faults.

`installed` exchanges, while a world is played, the names through which `app/` reaches the clock, randomness, the
store's queries and its log. All else comes in as arguments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, tzinfo
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol
from uuid import UUID

from podium.errors import NoOwnerError, PodiumError
from podium_coordinator.app import owner, reports, shard, takeover, tasks
from podium_coordinator.app.board import Board
from podium_coordinator.app.events import (
    AgentHello,
    AgentSaid,
    AttemptName,
    Held,
    LinkClosed,
    Order,
    RetryDue,
    RunExpired,
    StartExpired,
)
from podium_coordinator.app.shard import Rhythm, Shard
from podium_coordinator.domain.fleet import Terms
from podium_coordinator.domain.run import LiveAttempt, Run
from podium_coordinator.domain.states import RunState, TaskRunState
from podium_coordinator.store.batch import Batch
from tests.simulation import queries
from tests.simulation.loop import NodeLoop
from tests.simulation.messages import Assigned, FromAgent, ToAgent
from tests.simulation.network import Stream
from tests.simulation.oracle.judge import Judge

RHYTHM = Rhythm(3.0, Terms(10.0, 30.0))


class Surroundings(Protocol):
    """What the production code gets instead of the machine."""

    judge: Judge

    def now(self) -> datetime: ...

    def random_bytes(self, count: int) -> bytes: ...

    def note(self, what: str) -> None: ...


@contextmanager
def installed(around: Surroundings) -> Iterator[None]:
    """Let the production code live in a world."""
    names: list[tuple[ModuleType, str, object]] = [
        (owner, "runs", queries.RUNS),
        (owner, "commands", queries.COMMANDS),
        (owner, "task_runs", queries.TASK_RUNS),
        (owner, "write_connection", _hint_connection),
        (takeover, "agents", queries.AGENTS),
        (takeover, "task_runs", queries.TASK_RUNS),
        (takeover, "datetime", _clock(around)),
        (takeover, "PAGE", 2),
        (takeover, "ATTEMPTS_PAGE", 3),
        (shard, "CHANGES_PER_TURN", 12),
        (shard, "datetime", _clock(around)),
        (shard, "os", SimpleNamespace(urandom=around.random_bytes)),
        *[(module, "log", Confession(around)) for module in (owner, reports, tasks)],
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in names]
    for module, name, value in names:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def _clock(around: Surroundings) -> type[datetime]:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            del tz
            return around.now()

    return Clock


async def _hint_connection(database: Any, name: str) -> queries.ModelConnection:
    """Open a connection for hints; the model's address of the database is the connection itself."""
    del name
    link: queries.ModelConnection = database
    return link


class Confession:
    """The production code's log: what it calls an error is a violation, since nothing in a world may break it."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    def info(self, event: str, **_: object) -> None:
        self._around.note(event)

    warning = info

    def error(self, event: str, **details: object) -> None:
        self._around.judge.fail(f"{event}: {details}")

    def exception(self, event: str, **_: object) -> None:
        import sys

        self._around.judge.fail(f"{event}: {sys.exc_info()[1]!r}")


class SimulatedOwner(owner.Owner):
    """An owner whose every turn is judged, and whose hints come from the model."""

    judge: Judge
    sessions: Mapping[int, Session]

    def _committed(self, batch: Batch) -> None:
        super()._committed(batch)
        if self._shard is not None:
            self.judge.turned(self._shard, self._shard.epoch, batch, told_to_stop)
            for session in self.sessions.values():
                link = session.link
                known = link.closed or not link.welcomed or self._shard.board.links.get(link.agent_id) is link
                self.judge.demand(known, "an agent in session is not heard: the session is not the one that counts")


# Sessions.


class Link:
    """What the shard loop says to one agent, gathered into messages: an `AgentLink`."""

    def __init__(self, stream: Stream, loop: NodeLoop, judge: Judge, owned: Shard, gone: Callable[[], None]) -> None:
        self._stream = stream
        self._loop = loop
        self._judge = judge
        self._shard = owned
        self._gone = gone
        self.agent_id = UUID(int=0)
        self.welcomed = False
        self.stopped: set[bytes] = set()
        self._outbox = ToAgent()
        self._orders: list[Order] = []
        self._sequence = self._committed = 0
        self._planned = False
        self.closed = False
        self._unheard: deque[tuple[int, list[LiveAttempt]]] = deque()
        self._ended: deque[tuple[int, list[AttemptName]]] = deque()

    def welcome(self, epoch: int) -> None:
        self._outbox.epoch = epoch
        self.welcomed = True
        self._speak_soon()

    def assign(self, orders: Sequence[Order]) -> None:
        for order in orders:
            self._judge.assigned(order.name.token, order.inputs, self._shard.board._window(order.live.run, order.index))
        self._orders += orders
        self._speak_soon()

    def committed(self, sequence: int) -> None:
        while self._ended and self._ended[0][0] <= sequence:
            for name in self._ended.popleft()[1]:
                self._judge.acknowledged(name, self.agent_id)
        self._committed = sequence
        self._speak_soon()

    def cancel(self, name: AttemptName) -> None:
        self._judge.cancelled(name.run_id)
        self.stopped.add(name.token)
        self._outbox.cancels.append(name)
        self._speak_soon()

    def take_back(self, name: AttemptName) -> None:
        self._judge.asked_back(name.token)
        self._outbox.take_backs.append(name)
        self._speak_soon()

    def stale(self, name: AttemptName) -> None:
        self._judge.stale(name, self.agent_id)
        self._outbox.stale.append(name)
        self._speak_soon()

    def beat(self) -> None:
        self._speak_soon()

    def close(self, error: PodiumError) -> None:
        if not self.closed:
            self.closed = True
            self._stream.leave(agent=False, reason=error.reason)
            self._loop.call_soon(self._gone)

    def delivered(self, heard: int) -> list[LiveAttempt]:
        """Return the attempts that the agent has heard of since it last told how far it has heard."""
        attempts: list[LiveAttempt] = []
        while self._unheard and self._unheard[0][0] <= heard:
            attempts += self._unheard.popleft()[1]
        return attempts

    def told_of_ends(self, sequence: int, names: list[AttemptName]) -> None:
        """Remember which ends the agent told in a message, until it may forget them."""
        self._ended.append((sequence, names))

    def _speak_soon(self) -> None:
        if not self._planned and not self.closed:
            self._planned = True
            self._loop.call_soon(self._speak)

    def _speak(self) -> None:
        self._planned = False
        if self.closed:
            return
        message, self._outbox = self._outbox, ToAgent()
        self._sequence += 1
        message.sequence, message.committed = self._sequence, self._committed
        if self._orders:
            orders, self._orders = self._orders, []
            message.assigned += map(_assigned, orders)
            self._unheard.append((self._sequence, [order.attempt for order in orders]))
        self._stream.send_down(message)


def _assigned(order: Order) -> Assigned:
    live = order.live
    task = live.run.task_of(order.index)
    needs = live.compiled.graph.scheduling_class(task)
    limit = live.compiled.graph.terms_for(task).run_timeout
    return Assigned(order.name, live.record.workflow, needs.cpu_millis, needs.memory_bytes, needs.agent_labels, limit)


class Session:
    """An agent's session at a coordinator: what arrives becomes events of the shard's loop."""

    def __init__(self, stream: Stream, loop: NodeLoop, judge: Judge, owned: Shard, gone: Callable[[], None]) -> None:
        self.link = Link(stream, loop, judge, owned, gone)
        self._shard = owned
        self._judge = judge
        self._agent_id: UUID | None = None

    def hear(self, message: FromAgent) -> None:
        """Hand the loop what an agent says; what the loop refuses ends the session."""
        try:
            if message.greeting is not None:
                self._agent_id = self.link.agent_id = message.greeting.agent_id
                self._shard.tell(self._hello(message))
            self._shard.tell(self._report(message))
            assert self._agent_id is not None
            self._judge.heard(self._shard.epoch, self._agent_id)
        except PodiumError as error:
            self.link.close(error)

    def leave(self) -> None:
        """The session is over."""
        if self._agent_id is not None:
            try:
                self._shard.tell(LinkClosed(self.link, self._agent_id))
            except NoOwnerError:
                return

    def _hello(self, message: FromAgent) -> AgentHello:
        greeting = message.greeting
        assert greeting is not None
        return AgentHello(
            link=self.link,
            agent_id=greeting.agent_id,
            name=greeting.name,
            host=b"",
            cpu_millis=greeting.cpu_millis,
            memory_bytes=greeting.memory_bytes,
            labels=greeting.labels,
            held=tuple(Held(name, started_at) for name, started_at in greeting.held),
        )

    def _report(self, message: FromAgent) -> AgentSaid:
        assert self._agent_id is not None
        if message.finished:
            self.link.told_of_ends(message.sequence, [name for name, _, _ in message.finished])
        return AgentSaid(
            link=self.link,
            agent_id=self._agent_id,
            sequence=message.sequence,
            delivered=self.link.delivered(message.heard),
            started=tuple(message.started),
            finished=tuple(message.finished),
            returned=tuple(message.returned),
            draining=message.draining,
        )


def ring_old_timers(owned: Shard, run: Run, index: int, number: int) -> None:
    """Tell a shard of timers that are void: of an attempt that is not the newest, or whose wait is over already.

    What is told is applied before all else that could make it true; nothing is told that something could come before.
    """
    if any(not isinstance(event, RetryDue | StartExpired | RunExpired) for event in owned._inbox):
        return
    newest = number == run.numbers[index]
    state, terms = run.state_of(index), run.graph.terms_for(run.task_of(index))
    if not newest or state is not TaskRunState.RETRYING:
        owned.tell(RetryDue(run.run_id, index, number))
    if terms.start_timeout is not None and not (newest and state in (TaskRunState.SCHEDULED, TaskRunState.RETRYING)):
        owned.tell(StartExpired(run.run_id, index, number))
    if run.graph.run_timeout is not None and run.state is RunState.CANCELLING:
        owned.tell(RunExpired(run.run_id))


def told_to_stop(board: Board, agent_id: UUID, token: bytes) -> bool:
    """Whether an agent has been told to stop an attempt in its present session, if it has one."""
    link = board.links.get(agent_id)
    return not isinstance(link, Link) or token in link.stopped

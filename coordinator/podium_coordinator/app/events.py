"""What reaches the shard loop from outside, and the link it answers agents through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from podium.errors import PodiumError
from podium_coordinator.app.live import LiveRun
from podium_coordinator.domain.fleet import Agent
from podium_coordinator.domain.lifecycle import Finish
from podium_coordinator.domain.run import Effects, LiveAttempt


class AttemptName(NamedTuple):
    """Names one attempt for good."""

    run_id: UUID
    task: int
    map_index: int
    number: int
    token: bytes


@dataclass(slots=True)
class Order:
    """An attempt to execute: everything an assignment is made of."""

    live: LiveRun
    index: int
    attempt: LiveAttempt
    inputs: tuple[tuple[str, bytes], ...]

    @property
    def name(self) -> AttemptName:
        """The attempt's name."""
        run, attempt = self.live.run, self.attempt
        task, map_index = run.task_of(self.index), run.map_index_of(self.index)
        return AttemptName(run.run_id, task, map_index, attempt.number, attempt.token)


class AgentLink(Protocol):
    """The way to an agent in session. All calls return at once; what they say leaves in order."""

    def welcome(self, epoch: int) -> None:
        """Accept the agent's hello."""

    def assign(self, orders: Sequence[Order]) -> None:
        """Order attempts."""

    def committed(self, sequence: int) -> None:
        """Let the agent forget the ends it told in its messages up to this one."""

    def cancel(self, name: AttemptName) -> None:
        """Stop an attempt; its end is reported."""

    def take_back(self, name: AttemptName) -> None:
        """Return an attempt if it has not started."""

    def stale(self, name: AttemptName) -> None:
        """Stop and forget an attempt."""

    def beat(self) -> None:
        """Give a sign of life."""

    def close(self, error: PodiumError) -> None:
        """End the session."""


@dataclass(frozen=True, slots=True)
class Held:
    """An attempt an agent holds; `started_at` None while it waits there."""

    name: AttemptName
    started_at: datetime | None


@dataclass(frozen=True, slots=True)
class AgentHello:
    """An agent begins a session. `host` is a serialized `podium.v1.HostFacts`."""

    link: AgentLink
    agent_id: UUID
    name: str
    host: bytes
    cpu_millis: int
    memory_bytes: int
    labels: frozenset[tuple[str, str]]
    held: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class AgentSaid:
    """An agent's message; with nothing in it, a heartbeat. `sequence` is its number in the session."""

    link: AgentLink
    agent_id: UUID
    sequence: int = 0
    delivered: Sequence[LiveAttempt] = ()
    """Attempts it is known to hold by now, or to have held."""
    started: Sequence[tuple[AttemptName, datetime]] = ()
    finished: Sequence[tuple[AttemptName, Finish, float]] = ()
    """Name, how, and the seconds it executed."""
    returned: Sequence[AttemptName] = ()
    draining: bool = False


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """An agent's session ended."""

    link: AgentLink
    agent_id: UUID


@dataclass(frozen=True, slots=True)
class RunArrived:
    """A run to take up: just submitted, or read back from its rows with what they leave to be done."""

    live: LiveRun
    effects: Effects


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """A user's command."""

    command_id: UUID
    run_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class RetryDue:
    """A task run's wait may be over."""

    run_id: UUID
    index: int
    number: int


@dataclass(frozen=True, slots=True)
class StartExpired:
    """A task run may have waited too long for capacity."""

    run_id: UUID
    index: int
    number: int


@dataclass(frozen=True, slots=True)
class RunExpired:
    """A run may have taken too long."""

    run_id: UUID


@dataclass(frozen=True, slots=True)
class Beat:
    """Time to give agents a sign of life."""


@dataclass(frozen=True, slots=True)
class ReviewDue:
    """An agent may have been silent for too long."""


@dataclass(frozen=True, slots=True)
class RebalanceDue:
    """Unstarted attempts may be better off elsewhere."""


Event = (
    AgentHello
    | AgentSaid
    | LinkClosed
    | RunArrived
    | CancelAsked
    | RetryDue
    | StartExpired
    | RunExpired
    | Beat
    | ReviewDue
    | RebalanceDue
)


@dataclass(slots=True)
class Replies:
    """What to tell agents, and those who watch them, once the batch is committed."""

    committed: dict[AgentLink, int] = field(default_factory=dict)
    """The last message of each agent that told of ends."""
    stale: list[tuple[AgentLink, AttemptName]] = field(default_factory=list)
    cancels: list[tuple[AgentLink, AttemptName]] = field(default_factory=list)
    welcomed: list[AgentLink] = field(default_factory=list)
    orders: dict[UUID, list[Order]] = field(default_factory=dict)
    """By agent."""
    moved: list[Agent] = field(default_factory=list)
    """Agents whose standing changed."""

"""What reaches the shard loop from outside, and the link it answers agents through."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from podium.errors import PodiumError
from podium_coordinator.app.live import LiveRun
from podium_coordinator.domain.fleet import Agent
from podium_coordinator.domain.lifecycle import Finish
from podium_coordinator.domain.run import Effects, LiveAttempt


@dataclass(frozen=True, slots=True)
class AttemptName:
    """Names one attempt for good."""

    run_id: UUID
    task: int
    map_index: int
    number: int
    token: UUID


@dataclass(frozen=True, slots=True)
class Order:
    """An attempt to execute: everything an assignment is made of."""

    name: AttemptName
    live: LiveRun
    index: int
    attempt: LiveAttempt
    inputs: tuple[tuple[str, bytes], ...]
    traceparent: str


class AgentLink(Protocol):
    """The way to an agent in session. All calls return at once; what they say leaves in order."""

    def welcome(self, epoch: int) -> None:
        """Accept the agent's hello."""

    def assign(self, order: Order) -> None:
        """Order an attempt."""

    def acknowledge(self, name: AttemptName) -> None:
        """Let the agent forget a finished attempt."""

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
    """An agent reports; with nothing in it, a heartbeat."""

    link: AgentLink
    agent_id: UUID
    accepted: tuple[AttemptName, ...] = ()
    started: tuple[tuple[AttemptName, datetime], ...] = ()
    finished: tuple[tuple[AttemptName, Finish, float], ...] = ()
    """Name, how, and the seconds it executed."""
    returned: tuple[AttemptName, ...] = ()
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

    acknowledged: list[tuple[AgentLink, AttemptName]] = field(default_factory=list)
    stale: list[tuple[AgentLink, AttemptName]] = field(default_factory=list)
    cancels: list[tuple[AgentLink, AttemptName]] = field(default_factory=list)
    welcomed: list[AgentLink] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    moved: list[Agent] = field(default_factory=list)
    """Agents whose standing changed."""

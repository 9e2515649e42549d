"""What agents and coordinators of the simulation send each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from podium_coordinator.app.events import AttemptName
from podium_coordinator.domain.lifecycle import Finish


@dataclass(frozen=True, slots=True)
class Assigned:
    """The order to execute an attempt."""

    name: AttemptName
    workflow: str
    cpu_millis: int
    memory_bytes: int
    labels: tuple[tuple[str, str], ...]
    run_timeout: float | None


@dataclass(slots=True)
class ToAgent:
    """What a coordinator says at once; `epoch` in a welcome only. `committed`: the ends told up to that message are."""

    sequence: int = 0
    committed: int = 0
    epoch: int | None = None
    assigned: list[Assigned] = field(default_factory=list)
    cancels: list[AttemptName] = field(default_factory=list)
    take_backs: list[AttemptName] = field(default_factory=list)
    stale: list[AttemptName] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Greeting:
    """Who an agent is and what it holds, with the start of what has begun."""

    agent_id: UUID
    name: str
    cpu_millis: int
    memory_bytes: int
    labels: frozenset[tuple[str, str]]
    held: tuple[tuple[AttemptName, datetime | None], ...]


@dataclass(slots=True)
class FromAgent:
    """What an agent says at once; the first message of a stream has a greeting."""

    sequence: int = 0
    heard: int = 0
    greeting: Greeting | None = None
    started: list[tuple[AttemptName, datetime]] = field(default_factory=list)
    finished: list[tuple[AttemptName, Finish, float]] = field(default_factory=list)
    returned: list[AttemptName] = field(default_factory=list)
    draining: bool = False

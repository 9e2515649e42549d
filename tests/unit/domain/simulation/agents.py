"""Model agents: they keep what they are given, tell what became of it until they are heard, and may lose everything."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, auto
from uuid import UUID

from podium_coordinator.domain.lifecycle import Finish, Speaker
from podium_coordinator.domain.records import Failure
from podium_coordinator.domain.states import AttemptState, FailureKind
from tests.unit.domain.simulation.chance import Chance

OWN_FAULTS = (FailureKind.USER_ERROR, FailureKind.EXIT_CODE, FailureKind.OUT_OF_MEMORY, FailureKind.REJECTED_INPUT)
ALL_FAULTS = (*OWN_FAULTS, FailureKind.INTERNAL, FailureKind.PREEMPTED)


@dataclass(frozen=True)
class Name:
    """Names one attempt for good."""

    run_id: UUID
    index: int
    number: int
    token: bytes


class Word(Enum):
    """What the coordinator tells an agent about an attempt."""

    EXECUTE = auto()
    STOP = auto()
    GIVE_BACK = auto()
    FORGET = auto()


class Said(Enum):
    """What an agent tells the coordinator about an attempt."""

    STARTED = auto()
    FINISHED = auto()
    RETURNED = auto()


@dataclass(frozen=True)
class Report:
    """An agent's message on its way."""

    agent_id: UUID
    said: Said
    name: Name
    at: datetime
    finish: Finish | None = None

    @property
    def speaker(self) -> Speaker:
        return Speaker(self.name.index, self.name.number, self.name.token, self.agent_id)


@dataclass
class Held:
    """An attempt at an agent: waiting, executing since `started_at`, or ended with a `finish` to be acknowledged."""

    name: Name
    started_at: datetime | None = None
    finish: Finish | None = None
    stopping: bool = False


@dataclass
class SimulatedAgent:
    """One agent. `inbox` holds what its present session brought; there is none while it is not `connected`."""

    agent_id: UUID
    cpu_millis: int
    memory_bytes: int
    labels: frozenset[tuple[str, str]]
    connected: bool = False
    held: dict[bytes, Held] = field(default_factory=dict)
    inbox: list[tuple[Word, Name]] = field(default_factory=list)
    outbox: list[Report] = field(default_factory=list)

    def cut_off(self) -> None:
        """End the session; what was under way to the agent is gone."""
        self.connected = False
        self.inbox.clear()

    def crash(self) -> None:
        """Lose everything."""
        self.cut_off()
        self.held.clear()

    def read(self, now: datetime) -> None:
        """Obey the oldest message of the inbox."""
        word, name = self.inbox.pop(0)
        held = self.held.get(name.token)
        if word is Word.EXECUTE:
            self.held.setdefault(name.token, Held(name))
        elif held is None or held.name != name:
            return
        elif word is Word.FORGET:
            del self.held[name.token]
        elif word is Word.STOP:
            held.stopping = True
        elif held.started_at is None and held.finish is None:
            self.give_back(held, now)

    def give_back(self, held: Held, now: datetime) -> None:
        del self.held[held.name.token]
        self.outbox.append(Report(self.agent_id, Said.RETURNED, held.name, now))

    def begin(self, held: Held, now: datetime) -> None:
        held.started_at = now
        self.outbox.append(Report(self.agent_id, Said.STARTED, held.name, now))

    def end(self, held: Held, finish: Finish, now: datetime) -> None:
        held.finish = replace(finish, started_at=held.started_at)
        self.outbox.append(Report(self.agent_id, Said.FINISHED, held.name, now, held.finish))

    def say_again(self, now: datetime) -> None:
        """Tell all that is not acknowledged once more, as after every connect."""
        for held in self.held.values():
            if held.finish is not None:
                self.outbox.append(Report(self.agent_id, Said.FINISHED, held.name, now, held.finish))

    def waiting(self) -> list[Held]:
        return [held for held in self.held.values() if held.started_at is None and held.finish is None]

    def executing(self) -> list[Held]:
        return [held for held in self.held.values() if held.started_at is not None and held.finish is None]

    def stopping(self) -> list[Held]:
        return [held for held in self.held.values() if held.stopping and held.finish is None]


def a_random_finish(held: Held, chance: Chance) -> Finish:
    """Return how an attempt ends: often well; rarely cancelled though nobody asked."""
    if held.stopping and chance.happens(0.7):
        return Finish(AttemptState.CANCELLED, failure=Failure(FailureKind.CANCELLED, "Stopped."))
    luck = chance.below(20)
    if luck < 10:
        return Finish(AttemptState.SUCCEEDED, output=b"1")
    if luck < 12:
        return Finish(AttemptState.SKIPPED)
    if luck < 13:
        return Finish(AttemptState.CANCELLED)
    if luck < 14:
        return Finish(AttemptState.TIMED_OUT)
    return Finish(
        AttemptState.FAILED,
        failure=Failure(chance.pick(ALL_FAULTS), "Bad luck."),
        no_retry=chance.happens(0.1),
        retry_after=chance.pick([None, None, None, 0.0, 3.0]),
    )

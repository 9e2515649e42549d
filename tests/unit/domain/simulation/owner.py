"""What a shard's owner keeps in memory, and the order in which it does things: decide, commit, speak."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from podium_coordinator.domain.fleet import Agent, Fleet, Terms
from podium_coordinator.domain.lifecycle import Speaker, assign, lose, report_returned, report_started
from podium_coordinator.domain.placement import ReadyQueue, place
from podium_coordinator.domain.reload import reload
from podium_coordinator.domain.run import Effects, LiveAttempt, Run
from podium_coordinator.domain.states import AttemptState, RunState
from tests.unit.domain.simulation.agents import Held, Name, SimulatedAgent, Word
from tests.unit.domain.simulation.chance import Chance
from tests.unit.domain.simulation.database import Database
from tests.unit.domain.simulation.ledger import demand

TERMS = Terms(disconnected_after=10.0, lost_after=30.0)
WINDOWS = (1.0, 1.0, 1.5, 3.0)


def window(_: Run, index: int) -> float:
    """How far ahead a task may be sent: some far, most not at all."""
    return WINDOWS[index % len(WINDOWS)]


def name_of(run: Run, index: int, attempt: LiveAttempt) -> Name:
    return Name(run.run_id, index, attempt.number, attempt.token)


@dataclass
class Owner:
    """One ownership of the shard, from its epoch to the end of its memory.

    `effects` is the batch that waits for its commit, `words` what is to be told to agents after it.
    """

    epoch: int
    fleet: Fleet = field(default_factory=lambda: Fleet(TERMS))
    queue: ReadyQueue = field(default_factory=ReadyQueue)
    runs: dict[UUID, Run] = field(default_factory=dict)
    effects: Effects = field(default_factory=Effects)
    words: list[tuple[UUID, Word, Name]] = field(default_factory=list)

    def read_back(self, database: Database, now: datetime, instant: float) -> None:
        """Rebuild everything from the rows."""
        for record in database.unfinished():
            graph = database.workflows[record.run_id].graph
            run = reload(database.stored(record.run_id), graph, now, self.effects)
            self.runs[record.run_id] = run
            for index, attempt in run.attempts.items():
                agent = self.fleet.expect(attempt.agent_id, "", instant)
                agent.seat.take(run.run_id, index, graph.scheduling_class(index))
        self.settle()

    def settle(self) -> None:
        """Book what the last step released and made ready."""
        for released in self.effects.released:
            self.fleet.agents[released.attempt.agent_id].seat.release(released.run_id, released.index)
        self.effects.released.clear()
        for run, index in self.effects.ready:
            self.queue.push(run, index)
        self.effects.ready.clear()

    def welcome(self, agent: SimulatedAgent, now: datetime, instant: float, chance: Chance) -> None:
        """Begin a session and reconcile: what it holds is kept, stopped or forgotten, what it lacks is gone."""
        known = self.fleet.expect(agent.agent_id, "", instant)
        known.seat.cpu_millis, known.seat.memory_bytes = agent.cpu_millis, agent.memory_bytes
        known.seat.labels = agent.labels
        self.fleet.connect(known, instant)
        for held in list(agent.held.values()):
            self._answer(agent, held)
        for run_id, index in list(known.seat.live):
            attempt = self.runs[run_id].attempts[index]
            if attempt.token not in agent.held:
                self._miss(self.runs[run_id], index, attempt, now, chance)
        self.settle()

    def _answer(self, agent: SimulatedAgent, held: Held) -> None:
        name = held.name
        run = self.runs.get(name.run_id)
        attempt = run.attempts.get(name.index) if run else None
        if run is None or attempt is None or attempt.token != name.token:
            self.words.append((agent.agent_id, Word.FORGET, name))
            return
        if held.started_at is not None:
            speaker = Speaker(name.index, name.number, name.token, agent.agent_id)
            report_started(run, speaker, held.started_at, self.effects)
        if run.state is RunState.CANCELLING:
            self.words.append((agent.agent_id, Word.STOP, name))

    def _miss(self, run: Run, index: int, attempt: LiveAttempt, now: datetime, chance: Chance) -> None:
        """An attempt the agent does not hold: its order never arrived, or it is lost."""
        if attempt.state is AttemptState.ASSIGNED and chance.happens(0.5):
            speaker = Speaker(index, attempt.number, attempt.token, attempt.agent_id)
            report_returned(run, speaker, now, self.effects)
        else:
            lose(run, index, "The agent came back without it.", now, self.effects)

    def lose_all(self, agent: Agent, now: datetime) -> None:
        for run_id, index in list(agent.seat.live):
            lose(self.runs[run_id], index, "The agent was not heard from.", now, self.effects)
        self.settle()

    def fill(self, now: datetime, most: int, chance: Chance) -> None:
        """Give ready task runs to agents; the orders go out after the commit."""
        for placement in place(self.queue, self.fleet.seating, window, most):
            run, index, seat = placement.run, placement.index, placement.seat
            needs = run.graph.scheduling_class(index)
            demand(run is self.runs.get(run.run_id), "a run that is not under way was placed")
            demand(seat.open and seat.labels.issuperset(needs.agent_labels), "an agent was given what it must not have")
            attempt = assign(run, index, chance.uuid().bytes, seat.agent_id, now, self.effects)
            seat.take(run.run_id, index, needs)
            cpu, memory = seat.cpu_millis * window(run, index), seat.memory_bytes * window(run, index)
            fits = (not needs.cpu_millis or seat.cpu_used <= cpu) and (
                not needs.memory_bytes or seat.memory_used <= memory
            )
            demand(fits, f"{index} was sent further ahead than it may: {seat}")
            self.words.append((seat.agent_id, Word.EXECUTE, name_of(run, index, attempt)))

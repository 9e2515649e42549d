"""One shard, three agents, one database, and how they act on each other."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from uuid import UUID

from podium_coordinator.domain import lifecycle
from podium_coordinator.domain.lifecycle import Answer
from podium_coordinator.domain.run import Effects, RetryTimer, Run, StartTimer
from podium_coordinator.domain.states import AgentState, RunState
from tests.unit.domain.builders import NOW
from tests.unit.domain.simulation.agents import Name, Report, Said, SimulatedAgent, Word
from tests.unit.domain.simulation.balance import check_nobody_is_forgotten, check_rows, check_seats, check_stops
from tests.unit.domain.simulation.chance import Chance
from tests.unit.domain.simulation.database import Database
from tests.unit.domain.simulation.definitions import ZONE
from tests.unit.domain.simulation.ledger import ROUNDING, Ledger, demand, seen
from tests.unit.domain.simulation.owner import TERMS, Owner, name_of


@dataclass(frozen=True)
class RunTimer:
    """A run's timeout may be over."""

    run_id: UUID


Timer = RetryTimer | StartTimer | RunTimer


class World:
    """What there is at one instant, in seconds from the beginning. `reports` are under way to the owner."""

    def __init__(self, chance: Chance) -> None:
        self.instant = 0.0
        self.database = Database()
        self.ledger = Ledger(self.database)
        self.agents = [
            SimulatedAgent(chance.uuid(), 2000, 4, frozenset(ZONE)),
            SimulatedAgent(chance.uuid(), 4000, 8, frozenset()),
            SimulatedAgent(chance.uuid(), 1000, 2, frozenset(ZONE)),
        ]
        self.timers: list[tuple[float, int, Timer]] = []
        self.reports: list[Report] = []
        self._order = count()
        self._heard: dict[UUID, float] = {}
        self.owner = Owner(self.database.take_over())
        self.ledger.committed(self.owner.effects)
        for agent in self.agents:
            self.connect(agent, chance)

    @property
    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.instant)

    def judge(self) -> None:
        """Hold what the product has just decided against the ledger."""
        self.owner.settle()
        self.ledger.after_step(list(self.owner.runs.values()), self.now)
        check_seats(self.owner)

    # Runs.

    def cancel(self, run: Run) -> None:
        before = run.state
        cancelled = lifecycle.cancel(run, "No longer wanted.", self.now, self.owner.effects)
        demand(cancelled == (before in (RunState.QUEUED, RunState.RUNNING)), f"cancel said {cancelled} in {before}")
        if cancelled:
            self.ledger.stopped[run.run_id] = RunState.CANCELLED

    # Commits and owners.

    def commit(self) -> None:
        """The batch is stored, then spoken about."""
        owner = self.owner
        batch, words = owner.effects, owner.words
        self.database.apply(owner.epoch, batch)
        owner.effects, owner.words = Effects(), []
        self.ledger.committed(owner.effects)
        self._speak(batch, words)
        for ended in batch.runs_ended:
            owner.queue.discard(ended.run_id)
            del owner.runs[ended.run_id]
        check_rows(owner, self.database, self.now)
        check_stops(owner, self.agents)
        check_nobody_is_forgotten(owner, [timer for _, _, timer in self.timers])

    def _speak(self, batch: Effects, words: list[tuple[UUID, Word, Name]]) -> None:
        for stop in batch.stops:
            run = self.owner.runs[stop.run_id]
            words.append((stop.attempt.agent_id, Word.STOP, name_of(run, stop.index, stop.attempt)))
        for agent in self.agents:
            if agent.connected:
                agent.inbox += [(word, name) for agent_id, word, name in words if agent_id == agent.agent_id]
        for retry in batch.retry_timers:
            self.set_timer(retry.delay, retry)
        for wait in batch.start_timers:
            self.set_timer(wait.delay, wait)
        for started in batch.runs_started:
            limit = self.owner.runs[started.run_id].graph.run_timeout
            if limit is not None:
                self.set_timer(limit, RunTimer(started.run_id))

    def take_over(self) -> None:
        """Another owner comes: all sessions end, the memory is read back from the rows."""
        for agent in self.agents:
            agent.cut_off()
        self.owner = Owner(self.database.take_over())
        self.owner.read_back(self.database, self.now, self.instant)
        self._heard = dict.fromkeys(self.owner.fleet.agents, self.instant)
        for run in self.owner.runs.values():
            limit, started_at = run.graph.run_timeout, self.database.runs[run.run_id].started_at
            if limit is not None and started_at is not None:
                self.set_timer(max(0.0, limit - (self.now - started_at).total_seconds()), RunTimer(run.run_id))
        self.ledger.taken_over(list(self.owner.runs.values()), self.owner.effects, self.now)

    # Time.

    def set_timer(self, delay: float, timer: Timer) -> None:
        heapq.heappush(self.timers, (self.instant + delay, next(self._order), timer))

    def ring(self, chance: Chance) -> None:
        """Ring the timers that are due; one that rings may ring again."""
        again = []
        while self.timers and self.timers[0][0] <= self.instant:
            due, order, timer = heapq.heappop(self.timers)
            if chance.happens(0.2):
                again.append((due + 1 + chance.below(9), order, timer))
            self._react(timer)
            self.judge()
        for entry in again:
            heapq.heappush(self.timers, entry)

    def _react(self, timer: Timer) -> None:
        run = self.owner.runs.get(timer.run_id)
        if run is None:
            return
        match timer:
            case RetryTimer():
                lifecycle.retry_due(run, timer.index, timer.number, self.owner.effects)
            case StartTimer():
                lifecycle.start_expired(run, timer.index, timer.number, self.now, self.owner.effects)
            case RunTimer():
                self._expire(run)

    def _expire(self, run: Run) -> None:
        before = run.state
        lifecycle.run_expired(run, self.now, self.owner.effects)
        if run.state is before:
            return
        since = self.database.runs[run.run_id].started_at
        limit = self.database.workflows[run.run_id].spec.run_timeout
        on_time = since and limit and self.now - since >= timedelta(seconds=limit) - ROUNDING
        demand(bool(on_time), "a run timed out early")
        self.ledger.stopped[run.run_id] = RunState.FAILED

    def review(self) -> None:
        """Let the owner judge the silence of its agents."""
        fleet = self.owner.fleet
        for agent in fleet.review(self.instant):
            silent = self.instant - self._heard[agent.agent_id]
            term = TERMS.lost_after if agent.state is AgentState.LOST else TERMS.disconnected_after
            demand(silent >= term - 1e-6, f"an agent is {agent.state} after {silent} s")
            if agent.state is AgentState.LOST:
                self.owner.lose_all(agent, self.now)
        due = fleet.next_review()
        demand(due is None or due > self.instant, "the fleet asks for the review it has just had")

    # Agents.

    def connect(self, agent: SimulatedAgent, chance: Chance) -> None:
        agent.connected = True
        self._heard[agent.agent_id] = self.instant
        self.owner.welcome(agent, self.now, self.instant, chance)
        agent.say_again(self.now)

    def disconnect(self, agent: SimulatedAgent, chance: Chance) -> None:
        """End a session; reports under way are lost with it, or arrive late."""
        if agent.connected:
            self.owner.fleet.disconnect(self.owner.fleet.agents[agent.agent_id])
        agent.cut_off()
        if chance.happens(0.5):
            agent.outbox.clear()
            self.reports = [report for report in self.reports if report.agent_id != agent.agent_id]

    def beat(self, agent: SimulatedAgent) -> None:
        """A sign of life of an agent in session."""
        self.owner.fleet.hear(self.owner.fleet.agents[agent.agent_id], self.instant)
        self._heard[agent.agent_id] = self.instant

    # Reports.

    def hear(self, report: Report) -> None:
        """Apply a report, and hold the answer against what the ledger expects of it."""
        run = self.owner.runs.get(report.name.run_id)
        expected = self.ledger.expects(report, run is not None)
        if run is not None:
            before, rows = seen(run), _size(self.owner.effects)
            answer = self._apply(run, report)
            demand(answer is expected, f"{report} was {answer}, not {expected}")
            untouched = (before, rows) == (seen(run), _size(self.owner.effects))
            demand(answer is Answer.ACCEPTED or untouched, f"{report} was stale and changed something")
        if report.said is Said.FINISHED:
            self.owner.words.append((report.agent_id, Word.FORGET, report.name))

    def _apply(self, run: Run, report: Report) -> Answer:
        speaker, effects = report.speaker, self.owner.effects
        match report.said, report.finish:
            case Said.FINISHED, lifecycle.Finish() as finish:
                return lifecycle.report_finished(run, speaker, finish, self.now, effects)
            case Said.STARTED, _:
                return lifecycle.report_started(run, speaker, report.at, effects)
            case _:
                return lifecycle.report_returned(run, speaker, self.now, effects)


def _size(effects: Effects) -> list[int]:
    return [len(getattr(effects, part)) for part in effects.__slots__]

"""Judges an owner's memory after each of its turns: against the rows, against itself, and for what it has forgotten."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from podium_coordinator.app.board import Board
from podium_coordinator.app.events import Event, RetryDue, RunExpired, StartExpired
from podium_coordinator.app.timers import Timers
from podium_coordinator.domain.invariants import check_invariants
from podium_coordinator.domain.lifecycle import retry_due
from podium_coordinator.domain.reload import StoredRun, reload
from podium_coordinator.domain.run import Effects, Run
from podium_coordinator.domain.states import AgentState, RunState, TaskRunState
from podium_coordinator.store.batch import Batch
from tests.simulation.oracle.rows import touched
from tests.simulation.tables import RunRows, Tables
from tests.simulation.view import stored_states
from tests.simulation.violation import demand

T = TaskRunState
RELOADED_EVERY = 6
MOST_REVIEWS = 4

Stopped = Callable[[Board, UUID, bytes], bool]
"""Tells whether an agent in session has been told to stop the attempt of that token."""


class Owned(Protocol):
    """What is looked at of a shard."""

    board: Board
    timers: Timers
    _inbox: deque[Event]


class MemoryJudge:
    """Looks at one shard after its turn; `windows` tells how far ahead each attempt's agent might be sent work."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._turns = 0
        self._reviews: set[float] = set()
        self.windows: dict[bytes, float] = {}

    def judge(self, shard: Owned, batch: Batch, stopped: Stopped) -> None:
        """Judge after a turn whose batch was committed."""
        self._turns += 1
        board, changed = shard.board, touched(batch)
        for run_id in changed:
            live = board.runs.get(run_id)
            if live is not None:
                check_invariants(live.run)
                self._check_rows(live.run)
                self._check_stops(board, live.run, stopped)
                if self._turns % RELOADED_EVERY == 0:
                    self._check_reload(live.run)
        self._check_seats(board)
        self._check_agents(board, batch)
        self._check_nobody_is_forgotten(shard, changed)

    def _check_stops(self, board: Board, run: Run, stopped: Stopped) -> None:
        """Once a cancel is committed, every agent in session has been told to stop what it has of the run."""
        if run.state is RunState.CANCELLING:
            for index, attempt in run.attempts.items():
                demand(stopped(board, attempt.agent_id, attempt.token), f"nobody told an agent to stop {index}")

    def _check_agents(self, board: Board, batch: Batch) -> None:
        """Agents get work in session only, lose it when they are lost, and are all known."""
        for born in batch.attempts_born:
            agent = board.fleet.agents[born.agent_id]
            welcome = born.agent_id in board.links and agent.seat.open and not agent.draining
            demand(welcome, f"{agent.seat.name} was given work while it takes none")
        for agent in board.fleet.agents.values():
            demand(agent.state is not AgentState.LOST or not agent.seat.live, "a lost agent still holds attempts")
            stored = self._tables.agents.get(agent.agent_id)
            known = not agent.session or (stored is not None and stored.state is agent.state)
            demand(known, f"{agent.seat.name} is {agent.state}, its row says {stored and stored.state}")
        for row in self._tables.agents.values():
            known = row.state is AgentState.LOST or row.agent_id in board.fleet.agents
            demand(known, f"{row.name} was in session before a takeover and is forgotten")
        self._check_reviews(board)

    def _check_reviews(self, board: Board) -> None:
        """A review leaves nothing to be reviewed at once, but for what came behind it in its turn."""
        due, reviewed = board.fleet.next_review(), board.fleet.reviewed_at
        if due is None or due > reviewed:
            self._reviews.clear()
        else:
            self._reviews.add(reviewed)
        demand(len(self._reviews) < MOST_REVIEWS, "the fleet asks again and again for the review it has just had")

    def _check_rows(self, run: Run) -> None:
        rows = self._tables.runs[run.run_id]
        demand(rows.run.state is run.state, f"a run is {run.state}, its row {rows.run.state}")
        for index, row in enumerate(stored_states(rows)):
            state = run.state_of(index)
            agree = state is row or (row is T.RETRYING and state is T.SCHEDULED)
            demand(agree, f"{index} is {state} in memory, by its rows {row}")

    def _check_seats(self, board: Board) -> None:
        """What agents hold is exactly what is live, adds up, and never exceeds what they may be sent."""
        live = {
            (run_id, index): attempt
            for run_id, owned in board.runs.items()
            for index, attempt in owned.run.attempts.items()
        }
        booked = {key: agent.agent_id for agent in board.fleet.agents.values() for key in agent.seat.live}
        demand(
            {key: attempt.agent_id for key, attempt in live.items()} == booked, "agents are booked for other attempts"
        )
        for agent in board.fleet.agents.values():
            seat = agent.seat
            needs = [board.runs[run_id].run.graph.scheduling_class(index) for run_id, index in seat.live]
            cpu, memory = sum(need.cpu_millis for need in needs), sum(need.memory_bytes for need in needs)
            demand((seat.cpu_used, seat.memory_used) == (cpu, memory), f"the usage of {seat.name} is off")
            most = max((self.windows.get(live[key].token, 1e9) for key in seat.live), default=1.0)
            fits = not agent.session or (cpu <= seat.cpu_millis * most and memory <= seat.memory_bytes * most)
            demand(fits, f"{seat.name} is given {cpu} and {memory} of {seat.cpu_millis} and {seat.memory_bytes}")

    def _check_nobody_is_forgotten(self, shard: Owned, changed: list[UUID]) -> None:
        """Everything unfinished has an owner or a deadline."""
        queued: Counter[tuple[UUID, int]] = Counter()
        for turns in shard.board.queue._classes.values():
            for run, waiting in turns.values():
                demand(run.run_id in shard.board.runs, "a run that has ended waits in the queue")
                queued.update((run.run_id, index) for index in waiting)
        coming = [*(event for _, _, event in shard.timers._heap), *shard._inbox]
        timers: set[object] = {event for event in coming if isinstance(event, RetryDue | StartExpired | RunExpired)}
        for run_id in changed:
            live = shard.board.runs.get(run_id)
            if live is not None:
                _check_run_is_watched(live.run, queued, timers)

    def _check_reload(self, run: Run) -> None:
        """The rows alone would bring the memory back."""
        rows = self._tables.runs[run.run_id]
        if rows.run.state not in (RunState.RUNNING, RunState.CANCELLING):
            return
        effects = Effects()
        again = reload(stored(rows), run.graph, self._tables.now(), effects)
        for timer in effects.retry_timers:
            if timer.delay == 0.0 and run.state_of(timer.index) is T.SCHEDULED:
                retry_due(again, timer.index, timer.number, effects)
        check_invariants(again)
        demand(_essence(again) == _essence(run), f"reload gives {_essence(again)} for {_essence(run)}")
        waiting = {index for index in range(len(again.states)) if again.state_of(index) is T.SCHEDULED}
        demand({index for _, index in effects.ready} == waiting, "reload does not queue exactly what is ready")
        timed = {(timer.index, timer.number) for timer in effects.retry_timers}
        demand(timed >= _retrying(again), "reload sets no timer for a retry")


def stored(rows: RunRows) -> StoredRun:
    """Return a run's rows as they are read back."""
    return StoredRun(rows.run, [row for attempts in rows.attempts for row in attempts], list(rows.ended.values()))


def _check_run_is_watched(run: Run, queued: Counter[tuple[UUID, int]], timers: set[object]) -> None:
    for index in range(len(run.states)):
        number = run.numbers[index]
        if run.state_of(index) is T.RETRYING:
            watched = RetryDue(run.run_id, index, number) in timers
            demand(watched, f"{index} waits for a retry that nobody will start")
        elif run.state_of(index) is T.SCHEDULED:
            times = queued[run.run_id, index]
            demand(times == 1, f"{index} is queued {times} times")
            limited = run.graph.terms_for(index).start_timeout is not None
            watched = StartExpired(run.run_id, index, number) in timers
            demand(not limited or watched, f"{index} has a start timeout that nobody watches")
    if run.graph.run_timeout is not None and run.state is RunState.RUNNING:
        demand(RunExpired(run.run_id) in timers, "a run has a timeout that nobody watches")


def _essence(run: Run) -> tuple[object, ...]:
    """Return what a run is, without the books that a run being cancelled keeps no more."""
    essence = (
        run.state,
        run.outcome,
        run.reason,
        bytes(run.states),
        run.counts,
        run.numbers,
        run.attempts,
        run.unended,
    )
    if run.state is RunState.CANCELLING:
        return essence
    tries = {index: tries for index, tries in run.tries.items() if tries.failures or tries.losses}
    return (*essence, run.doomed, run.succeeded, run.failed, run.upstream_failed, run.skipped, tries)


def _retrying(run: Run) -> set[tuple[int, int]]:
    return {(index, run.numbers[index]) for index in range(len(run.states)) if run.state_of(index) is T.RETRYING}

"""Does the memory of an owner agree with the rows, and is there for everything unfinished somebody who will move it?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from podium_coordinator.domain.invariants import check_invariants
from podium_coordinator.domain.lifecycle import retry_due
from podium_coordinator.domain.reload import reload
from podium_coordinator.domain.run import Effects, RetryTimer, Run, StartTimer
from podium_coordinator.domain.states import RunState, TaskRunState
from tests.unit.domain.simulation.agents import SimulatedAgent, Word
from tests.unit.domain.simulation.database import Database
from tests.unit.domain.simulation.ledger import demand
from tests.unit.domain.simulation.owner import WINDOWS, Owner
from tests.unit.domain.simulation.view import stored_states

T = TaskRunState


def check_seats(owner: Owner) -> None:
    """What agents hold is exactly what is live, adds up, and never exceeds what they may be sent."""
    live = {
        (run.run_id, index): attempt.agent_id for run in owner.runs.values() for index, attempt in run.attempts.items()
    }
    booked = {key: agent.agent_id for agent in owner.fleet.agents.values() for key in agent.seat.live}
    demand(live == booked, f"agents are booked for {booked}, live is {live}")
    for agent in owner.fleet.agents.values():
        seat = agent.seat
        needs = [owner.runs[run_id].graph.scheduling_class(index) for run_id, index in seat.live]
        cpu, memory = sum(need.cpu_millis for need in needs), sum(need.memory_bytes for need in needs)
        demand((seat.cpu_used, seat.memory_used) == (cpu, memory), f"the usage of {seat.agent_id} is off")
        if agent.session:
            fits = cpu <= seat.cpu_millis * max(WINDOWS) and memory <= seat.memory_bytes * max(WINDOWS)
            demand(fits, f"{seat.agent_id} is given {cpu} and {memory} of {seat.cpu_millis} and {seat.memory_bytes}")


def check_rows(owner: Owner, database: Database, now: datetime) -> None:
    """After a commit, rows and memory say the same, and the rows alone would bring the memory back."""
    for run_id, run in owner.runs.items():
        demand(database.runs[run_id].state is run.state, f"a run is {run.state}, its row differs")
        pairs = zip(stored_states(database, run_id), range(len(run.states)), strict=True)
        wrong = {index: (run.state_of(index), row) for row, index in pairs if not _agrees(run, index, row)}
        demand(not wrong, f"memory and rows differ: {wrong}")
        if run.state in (RunState.RUNNING, RunState.CANCELLING):
            _check_reload(run, database, now)


def _agrees(run: Run, index: int, row: TaskRunState) -> bool:
    """Only that a wait for a retry is over has no row."""
    state = run.state_of(index)
    return state is row or (row is T.RETRYING and state is T.SCHEDULED)


def _check_reload(run: Run, database: Database, now: datetime) -> None:
    effects = Effects()
    again = reload(database.stored(run.run_id), run.graph, now, effects)
    for timer in effects.retry_timers:
        if timer.delay == 0.0 and run.state_of(timer.index) is T.SCHEDULED:
            retry_due(again, timer.index, timer.number, effects)
    check_invariants(again)
    demand(_essence(again) == _essence(run), f"reload gives {_essence(again)} for {_essence(run)}")
    waiting = {index for index in range(len(again.states)) if again.state_of(index) is T.SCHEDULED}
    demand({index for _, index in effects.ready} == waiting, "reload does not queue exactly what is ready")
    timed = {(timer.index, timer.number) for timer in effects.retry_timers}
    demand(timed >= _retrying(again), "reload sets no timer for a retry")


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


def check_stops(owner: Owner, agents: Iterable[SimulatedAgent]) -> None:
    """Once a cancel is committed, every agent in session has been told to stop what it has of the run."""
    by_id = {agent.agent_id: agent for agent in agents if agent.connected}
    for run in owner.runs.values():
        for index, attempt in run.attempts.items():
            agent = by_id.get(attempt.agent_id)
            if run.state is not RunState.CANCELLING or agent is None:
                continue
            held = agent.held.get(attempt.token)
            coming = {word for word, name in agent.inbox if name.token == attempt.token}
            has_it = (held is not None and held.finish is None) or Word.EXECUTE in coming
            told = Word.STOP in coming or (held is not None and held.stopping)
            demand(told or not has_it, f"nobody told an agent to stop {index}")


def check_nobody_is_forgotten(owner: Owner, timers: Iterable[object]) -> None:
    """After a commit, everything unfinished has an owner or a deadline."""
    queued: Counter[tuple[UUID, int]] = Counter()
    for turns in owner.queue._classes.values():
        for run, waiting in turns.values():
            demand(run.run_id not in owner.runs or owner.runs[run.run_id] is run, "an old run waits in the queue")
            queued.update((run.run_id, index) for index in waiting)
    retries = {(t.run_id, t.index, t.number) for t in timers if isinstance(t, RetryTimer)}
    starts = {(t.run_id, t.index, t.number) for t in timers if isinstance(t, StartTimer)}
    for run in owner.runs.values():
        for index in range(len(run.states)):
            key = (run.run_id, index, run.numbers[index])
            if run.state_of(index) is T.RETRYING:
                demand(key in retries, f"{index} waits for a retry that nobody will start")
            elif run.state_of(index) is T.SCHEDULED:
                demand(queued[run.run_id, index] == 1, f"{index} is queued {queued[run.run_id, index]} times")
                limited = run.graph.terms_for(index).start_timeout is not None
                demand(not limited or key in starts, f"{index} has a start timeout that nobody watches")

"""The tables of transitions: what they allow happens, everything else raises and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TypeVar

import pytest

from podium_coordinator.domain.lifecycle import (
    ATTEMPT_TRANSITIONS,
    RUN_TRANSITIONS,
    TASK_RUN_TRANSITIONS,
    Finish,
    IllegalTransitionError,
    _end_attempt,
    _move,
    _move_run,
)
from podium_coordinator.domain.run import CODES, Effects, Run
from podium_coordinator.domain.states import (
    ATTEMPT_LIVE,
    RUN_TERMINAL,
    TASK_RUN_TERMINAL,
    AttemptState,
    RunState,
    TaskRunState,
)
from tests.unit.domain.builders import NOW, a_run, a_task, running_on
from tests.unit.domain.semantics import ENDS

ENDED = [state for state in AttemptState if state not in ATTEMPT_LIVE]
State = TypeVar("State", RunState, TaskRunState, AttemptState)


def reachable(table: Mapping[State, frozenset[State]], start: State) -> set[State]:
    """Return the states a table leads to from one of them, itself included."""
    found, new = {start}, [start]
    while new:
        more = table.get(new.pop(), frozenset()) - found
        found |= more
        new += more
    return found


def a_run_with_a_task_run_in(state: TaskRunState) -> Run:
    run = a_run(a_task("a"))
    run.states[0] = CODES[state]
    run.counts = [int(code == CODES[state]) for code in range(len(run.counts))]
    return run


def test_the_terminal_states_are_those_of_the_written_semantics() -> None:
    assert TASK_RUN_TERMINAL == ENDS
    assert {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED} == RUN_TERMINAL
    assert {AttemptState.ASSIGNED, AttemptState.RUNNING} == ATTEMPT_LIVE


def test_no_table_leads_out_of_a_terminal_state() -> None:
    assert set(RUN_TRANSITIONS) == set(RunState) - RUN_TERMINAL
    assert set(TASK_RUN_TRANSITIONS) == set(TaskRunState) - TASK_RUN_TERMINAL
    assert set(ATTEMPT_TRANSITIONS) == ATTEMPT_LIVE


def test_every_state_can_be_reached_and_none_is_a_trap() -> None:
    assert reachable(RUN_TRANSITIONS, RunState.QUEUED) == set(RunState)
    assert reachable(TASK_RUN_TRANSITIONS, TaskRunState.PENDING) == set(TaskRunState)
    assert reachable(ATTEMPT_TRANSITIONS, AttemptState.ASSIGNED) == set(AttemptState)
    assert all(reachable(RUN_TRANSITIONS, state) & RUN_TERMINAL for state in RunState)
    assert all(reachable(TASK_RUN_TRANSITIONS, state) & TASK_RUN_TERMINAL for state in TaskRunState)


@pytest.mark.parametrize("before", TaskRunState)
def test_a_task_run_goes_only_where_the_table_leads(before: TaskRunState) -> None:
    for after in TaskRunState:
        run, effects = a_run_with_a_task_run_in(before), Effects()
        if after in TASK_RUN_TRANSITIONS.get(before, ()):
            _move(run, 0, after, effects)
            assert (run.tallied(), effects) == ({after: 1}, Effects(changed=[(run, 0)]))
        else:
            with pytest.raises(IllegalTransitionError, match=f"goes not from {before} to {after}"):
                _move(run, 0, after, effects)
            assert (run.tallied(), effects) == ({before: 1}, Effects())


@pytest.mark.parametrize(("before", "after"), list(product(RunState, repeat=2)))
def test_a_run_goes_only_where_the_table_leads(before: RunState, after: RunState) -> None:
    run = a_run(a_task("a"))
    run.state = before
    if after in RUN_TRANSITIONS.get(before, ()):
        _move_run(run, after)
        assert run.state is after
    else:
        with pytest.raises(IllegalTransitionError, match=f"goes not from {before} to {after}"):
            _move_run(run, after)
        assert run.state is before


@pytest.mark.parametrize(("before", "after"), list(product(AttemptState, ENDED)))
def test_an_attempt_ends_only_where_the_table_leads(before: AttemptState, after: AttemptState) -> None:
    run = a_run(a_task("a"))
    running_on(run)
    run.attempts[0].state = before
    effects = Effects()
    if after in ATTEMPT_TRANSITIONS.get(before, ()):
        _end_attempt(run, 0, Finish(after), NOW, effects)
        assert run.attempts == {}
        assert [row.state for row in effects.attempts_ended] == [after]
    else:
        with pytest.raises(IllegalTransitionError, match=f"goes not from {before} to {after}"):
            _end_attempt(run, 0, Finish(after), NOW, effects)
        assert set(run.attempts) == {0}
        assert effects == Effects()

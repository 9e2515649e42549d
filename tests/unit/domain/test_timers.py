"""Timers are never taken back: one that rings after something else happened must do nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from podium.model.spec import RetryPolicy, TriggerRule
from podium_coordinator.domain.invariants import check_invariants
from podium_coordinator.domain.lifecycle import (
    Finish,
    cancel,
    report_finished,
    report_returned,
    retry_due,
    run_expired,
    start_expired,
)
from podium_coordinator.domain.records import Failure, RunCancelling, RunEnded, TaskRunEnded
from podium_coordinator.domain.run import Effects, Run, StartTimer, StopAttempt
from podium_coordinator.domain.states import AttemptState, FailureKind, RunState, TaskRunState
from tests.unit.domain.builders import (
    NOW,
    RUN_ID,
    UNHARMED,
    a_queued_run,
    a_run,
    a_task,
    ended,
    failing,
    given_to,
    later,
    running_on,
    states,
)

T = TaskRunState
TOO_LATE = Failure(FailureKind.TIMEOUT_START, "No agent had room for it within its start timeout of 30 s.")
TOO_LONG = "The run took longer than its timeout of 60 s."


def a_retrying_run() -> Run:
    run = a_run(a_task("a", retry=RetryPolicy(retries=3), start_timeout=30))
    ended(run, 0, failing())
    return run


def a_waiting_run() -> Run:
    return a_run(a_task("a", start_timeout=30), a_task("b", "a", rule=TriggerRule.ALL_DONE))


def test_a_task_run_is_ready_again_when_its_wait_is_over() -> None:
    run = a_retrying_run()
    effects = Effects()
    retry_due(run, 0, 1, effects)
    assert effects == Effects(ready=[(run, 0)], start_timers=[StartTimer(RUN_ID, 0, 1, 30)], changed=[(run, 0)])
    assert given_to(run).number == 2
    check_invariants(run)


def ready_already(run: Run) -> None:
    retry_due(run, 0, 1, Effects())


def assigned_already(run: Run) -> None:
    ready_already(run)
    given_to(run)


def running_already(run: Run) -> None:
    ready_already(run)
    running_on(run)


def failed_again(run: Run) -> None:
    ready_already(run)
    ended(run, 0, failing())


def ended_already(run: Run) -> None:
    ready_already(run)
    ended(run, 0, UNHARMED)


def cancelled(run: Run) -> None:
    cancel(run, "", NOW, Effects())


@pytest.mark.parametrize(
    "happened", [ready_already, assigned_already, running_already, failed_again, ended_already, cancelled]
)
def test_a_retry_timer_is_void_if_anything_happened_since(happened: Callable[[Run], None]) -> None:
    run = a_retrying_run()
    happened(run)
    effects = Effects()
    retry_due(run, 0, 1, effects)
    assert effects == Effects()
    check_invariants(run)


def test_a_retry_timer_of_a_later_attempt_is_void() -> None:
    run = a_retrying_run()
    effects = Effects()
    retry_due(run, 0, 2, effects)
    assert effects == Effects()


def test_a_task_that_found_no_agent_in_time_fails_and_those_behind_it_are_judged() -> None:
    run = a_waiting_run()
    effects = Effects()
    start_expired(run, 0, 0, later(30), effects)
    assert effects == Effects(
        task_runs_ended=[TaskRunEnded(RUN_ID, 0, -1, T.FAILED, later(30), TOO_LATE)],
        ready=[(run, 1)],
        changed=[(run, 0), (run, 1)],
    )
    assert states(run) == {"a": T.FAILED, "b": T.SCHEDULED}
    check_invariants(run)


def test_a_run_ends_when_its_last_task_found_no_agent() -> None:
    run = a_run(a_task("a", start_timeout=30))
    effects = Effects()
    start_expired(run, 0, 0, later(30), effects)
    assert effects == Effects(
        runs_ended=[RunEnded(RUN_ID, RunState.FAILED, "", later(30), {T.FAILED: 1})],
        task_runs_ended=[TaskRunEnded(RUN_ID, 0, -1, T.FAILED, later(30), TOO_LATE)],
        changed=[(run, 0)],
    )


def given_back(run: Run) -> None:
    report_returned(run, given_to(run), NOW, Effects())


@pytest.mark.parametrize(
    "happened",
    [
        given_to,
        running_on,
        given_back,
        lambda run: ended(run, 0, UNHARMED),
        lambda run: ended(run, 0, failing()),
        cancelled,
    ],
)
def test_a_start_timer_is_void_if_anything_happened_since(happened: Callable[[Run], object]) -> None:
    run = a_waiting_run()
    happened(run)
    effects = Effects()
    start_expired(run, 0, 0, later(30), effects)
    assert effects == Effects()
    check_invariants(run)


def test_a_task_run_whose_attempt_was_given_back_has_its_whole_start_timeout_again() -> None:
    run = a_waiting_run()
    given_back(run)
    effects = Effects()
    start_expired(run, 0, 1, later(60), effects)
    assert effects.task_runs_ended == [TaskRunEnded(RUN_ID, 0, -1, T.FAILED, later(60), TOO_LATE)]
    check_invariants(run)


def test_waiting_for_a_retry_is_not_waiting_for_an_agent() -> None:
    run = a_retrying_run()
    effects = Effects()
    start_expired(run, 0, 1, later(30), effects)
    assert effects == Effects()


def test_a_run_that_takes_too_long_fails_once_what_is_live_has_been_stopped() -> None:
    run = a_run(a_task("a"), a_task("b", "a", rule=TriggerRule.ALL_DONE), run_timeout=60)
    speaker = running_on(run)
    effects = Effects()
    run_expired(run, later(60), effects)
    assert effects == Effects(
        runs_cancelling=[RunCancelling(RUN_ID, TOO_LONG, RunState.FAILED)],
        stops=[StopAttempt(RUN_ID, 0, run.attempts[0])],
        changed=[(run, 1)],
    )
    check_invariants(run)
    effects = Effects()
    report_finished(run, speaker, Finish(AttemptState.CANCELLED), later(61), effects)
    assert effects.runs_ended == [RunEnded(RUN_ID, RunState.FAILED, TOO_LONG, later(61), {T.CANCELLED: 2})]
    check_invariants(run)


def test_a_run_that_takes_too_long_with_nothing_live_fails_at_once() -> None:
    run = a_run(a_task("a"), run_timeout=60)
    effects = Effects()
    run_expired(run, later(60), effects)
    assert effects == Effects(
        runs_ended=[RunEnded(RUN_ID, RunState.FAILED, TOO_LONG, later(60), {T.CANCELLED: 1})], changed=[(run, 0)]
    )


@pytest.mark.parametrize("state", [state for state in RunState if state is not RunState.RUNNING])
def test_only_a_running_run_can_take_too_long(state: RunState) -> None:
    run = a_queued_run(a_task("a"), run_timeout=60)
    run.state = state
    effects = Effects()
    run_expired(run, later(60), effects)
    assert effects == Effects()
    assert run.state is state


def test_a_cancel_after_the_runs_timeout_does_not_change_where_it_is_bound() -> None:
    run = a_run(a_task("a"), run_timeout=60)
    running_on(run)
    run_expired(run, later(60), Effects())
    assert not cancel(run, "Late.", later(61), Effects())
    assert (run.outcome, run.reason) == (RunState.FAILED, TOO_LONG)

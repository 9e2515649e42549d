"""Cancelling a run: nothing new starts, what is live is stopped, the run ends when the last of it has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podium.model.spec import RetryPolicy, TriggerRule
from podium_coordinator.domain.invariants import check_invariants
from podium_coordinator.domain.lifecycle import (
    Answer,
    Finish,
    Speaker,
    cancel,
    lose,
    report_finished,
    report_returned,
    report_started,
    retry_due,
    run_expired,
    start_expired,
)
from podium_coordinator.domain.records import AttemptEnded, Failure, RunCancelling, RunEnded
from podium_coordinator.domain.run import Effects, Released, Run, StopAttempt
from podium_coordinator.domain.states import RUN_TERMINAL, AttemptState, FailureKind, RunState, TaskRunState
from tests.unit.domain.builders import (
    BROKEN,
    NOW,
    RUN_ID,
    UNHARMED,
    a_queued_run,
    a_run,
    a_task,
    an_end,
    ended,
    failing,
    given_to,
    later,
    running_on,
    states,
)

T = TaskRunState
STOPPED = Finish(AttemptState.CANCELLED, failure=replace(BROKEN, kind=FailureKind.CANCELLED))


def a_run_being_cancelled() -> tuple[Run, Speaker]:
    """Return a run with one attempt left to stop, and who speaks for it."""
    run = a_run(a_task("a", retry=RetryPolicy(retries=3)), a_task("b", "a", rule=TriggerRule.ALL_DONE))
    speaker = running_on(run)
    assert cancel(run, "Wrong month.", NOW, Effects())
    assert run.state is RunState.CANCELLING
    return run, speaker


def the_end(run: Run, row: AttemptEnded, released: Released, counts: dict[TaskRunState, int]) -> Effects:
    """Return the effects of the last attempt's end in a run being cancelled."""
    return Effects(
        runs_ended=[RunEnded(RUN_ID, RunState.CANCELLED, "Wrong month.", row.at, counts)],
        attempts_ended=[row],
        released=[released],
        changed=[(run, 0)],
    )


def test_a_queued_run_is_cancelled_at_once() -> None:
    run = a_queued_run(a_task("a"), a_task("b", "a"))
    effects = Effects()
    assert cancel(run, "Wrong month.", NOW, effects)
    assert effects == Effects(
        runs_ended=[RunEnded(RUN_ID, RunState.CANCELLED, "Wrong month.", NOW, {T.CANCELLED: 2})],
        changed=[(run, 0), (run, 1)],
    )
    assert run.state is RunState.CANCELLED
    check_invariants(run)


def test_a_running_run_without_live_attempts_is_cancelled_at_once() -> None:
    run = a_run(a_task("a"), a_task("b"), a_task("c", "a"), a_task("d", retry=RetryPolicy(retries=1)))
    ended(run, 1, UNHARMED)
    ended(run, 3, failing())
    assert run.state_of(3) is T.RETRYING
    effects = Effects()
    assert cancel(run, "Wrong month.", later(1), effects)
    assert effects == Effects(
        runs_ended=[RunEnded(RUN_ID, RunState.CANCELLED, "Wrong month.", later(1), {T.CANCELLED: 3, T.SUCCEEDED: 1})],
        changed=[(run, 0), (run, 2), (run, 3)],
    )
    check_invariants(run)


def test_a_running_run_is_cancelled_once_its_live_attempts_are_stopped() -> None:
    run = a_run(a_task("a"), a_task("b"), a_task("c", "a"), a_task("d"))
    given_to(run, 0)
    running_on(run, 1)
    effects = Effects()
    assert cancel(run, "Wrong month.", NOW, effects)
    assert effects == Effects(
        runs_cancelling=[RunCancelling(RUN_ID, "Wrong month.", RunState.CANCELLED)],
        stops=[StopAttempt(RUN_ID, 0, run.attempts[0]), StopAttempt(RUN_ID, 1, run.attempts[1])],
        changed=[(run, 2), (run, 3)],
    )
    assert states(run) == {"a": T.ASSIGNED, "b": T.RUNNING, "c": T.CANCELLED, "d": T.CANCELLED}
    check_invariants(run)


def test_a_paused_run_can_be_cancelled() -> None:
    run = a_run(a_task("a"))
    run.state = RunState.PAUSED
    effects = Effects()
    assert cancel(run, "", NOW, effects)
    assert effects == Effects(
        runs_ended=[RunEnded(RUN_ID, RunState.CANCELLED, "", NOW, {T.CANCELLED: 1})], changed=[(run, 0)]
    )


@pytest.mark.parametrize("state", [RunState.CANCELLING, *sorted(RUN_TERMINAL)])
def test_cancelling_a_run_that_is_bound_to_end_does_nothing(state: RunState) -> None:
    run = a_run(a_task("a"))
    running_on(run)
    run.state = state
    effects = Effects()
    assert not cancel(run, "Wrong month.", NOW, effects)
    assert (effects, run.reason) == (Effects(), "")


def test_the_last_attempt_to_be_stopped_ends_the_run() -> None:
    run, speaker = a_run_being_cancelled()
    held = run.attempts[0]
    effects = Effects()
    assert report_finished(run, speaker, STOPPED, later(1), effects) is Answer.ACCEPTED
    row = an_end(speaker, STOPPED, at=later(1), started_at=NOW)
    assert effects == the_end(run, row, Released(RUN_ID, 0, held), {T.CANCELLED: 2})
    assert run.state is RunState.CANCELLED
    check_invariants(run)


def test_a_result_that_comes_before_the_stop_is_kept_but_starts_nothing() -> None:
    run, speaker = a_run_being_cancelled()
    held = run.attempts[0]
    effects = Effects()
    report_finished(run, speaker, UNHARMED, later(1), effects)
    row = an_end(speaker, UNHARMED, at=later(1), started_at=NOW)
    assert effects == the_end(run, row, Released(RUN_ID, 0, held), {T.SUCCEEDED: 1, T.CANCELLED: 1})
    check_invariants(run)


def test_a_failure_in_a_run_being_cancelled_is_not_tried_again() -> None:
    run, speaker = a_run_being_cancelled()
    held = run.attempts[0]
    effects = Effects()
    report_finished(run, speaker, failing(), later(1), effects)
    row = an_end(speaker, failing(), at=later(1), started_at=NOW)
    assert effects == the_end(run, row, Released(RUN_ID, 0, held), {T.FAILED: 1, T.CANCELLED: 1})
    check_invariants(run)


def test_an_attempt_lost_in_a_run_being_cancelled_is_not_tried_again() -> None:
    run, speaker = a_run_being_cancelled()
    held = run.attempts[0]
    effects = Effects()
    lose(run, 0, "Gone.", later(1), effects)
    gone = Finish(AttemptState.LOST, failure=Failure(FailureKind.AGENT_LOST, "Gone."))
    row = an_end(speaker, gone, at=later(1), started_at=NOW)
    assert effects == the_end(run, row, Released(RUN_ID, 0, held), {T.FAILED: 1, T.CANCELLED: 1})
    check_invariants(run)


def test_an_attempt_given_back_in_a_run_being_cancelled_is_cancelled() -> None:
    run = a_run(a_task("a"))
    speaker = given_to(run)
    cancel(run, "Wrong month.", NOW, Effects())
    held = run.attempts[0]
    effects = Effects()
    assert report_returned(run, speaker, later(1), effects) is Answer.ACCEPTED
    row = an_end(speaker, Finish(AttemptState.TAKEN_BACK), at=later(1), closes=False)
    assert effects == the_end(run, row, Released(RUN_ID, 0, held), {T.CANCELLED: 1})
    check_invariants(run)


def test_an_attempt_may_begin_before_the_stop_reaches_it() -> None:
    run = a_run(a_task("a"))
    speaker = given_to(run)
    cancel(run, "", NOW, Effects())
    assert report_started(run, speaker, NOW, Effects()) is Answer.ACCEPTED
    assert report_finished(run, speaker, STOPPED, NOW, Effects()) is Answer.ACCEPTED
    assert run.state is RunState.CANCELLED


def test_the_run_waits_for_the_last_of_several_attempts() -> None:
    run = a_run(a_task("a"), a_task("b"))
    first, second = running_on(run, 0), running_on(run, 1)
    cancel(run, "", NOW, Effects())
    effects = Effects()
    report_finished(run, second, STOPPED, NOW, effects)
    assert effects.runs_ended == []
    check_invariants(run)
    report_finished(run, first, STOPPED, NOW, effects)
    assert effects.runs_ended == [RunEnded(RUN_ID, RunState.CANCELLED, "", NOW, {T.CANCELLED: 2})]


def test_no_timer_moves_a_run_being_cancelled() -> None:
    run = a_run(a_task("a"), a_task("b", start_timeout=1), a_task("c", retry=RetryPolicy(retries=1)), run_timeout=9)
    ended(run, 2, failing())
    running_on(run, 0)
    cancel(run, "", NOW, Effects())
    effects = Effects()
    retry_due(run, 2, 1, effects)
    start_expired(run, 1, 0, later(1), effects)
    run_expired(run, later(9), effects)
    assert effects == Effects()
    assert run.outcome is RunState.CANCELLED


def test_a_second_cancel_changes_neither_reason_nor_outcome() -> None:
    run, speaker = a_run_being_cancelled()
    assert not cancel(run, "Other reason.", NOW, Effects())
    effects = Effects()
    report_finished(run, speaker, STOPPED, NOW, effects)
    assert [(row.state, row.reason) for row in effects.runs_ended] == [(RunState.CANCELLED, "Wrong month.")]

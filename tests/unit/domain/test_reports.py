"""What an agent's word about an attempt is worth: once, for the current attempt, under its token, from its agent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from podium.model.spec import RetryPolicy
from podium_coordinator.domain.invariants import check_invariants
from podium_coordinator.domain.lifecycle import (
    Answer,
    Finish,
    IllegalTransitionError,
    Speaker,
    cancel,
    lose,
    report_finished,
    report_returned,
    report_started,
    retry_due,
)
from podium_coordinator.domain.records import AttemptRuns, Failure, RunEnded
from podium_coordinator.domain.run import Effects, Released, RetryTimer, Run, StartTimer
from podium_coordinator.domain.states import AttemptState, FailureKind, RunState, TaskRunState
from tests.unit.domain.builders import (
    AGENT,
    BROKEN,
    NOW,
    OTHER_AGENT,
    RUN_ID,
    UNHARMED,
    a_run,
    a_task,
    an_end,
    ended,
    failing,
    given_to,
    later,
    running_on,
    states,
    token,
)

T = TaskRunState
Report = Callable[[Run, Speaker, Effects], Answer]
REPORTS: dict[str, Report] = {
    "started": lambda run, speaker, effects: report_started(run, speaker, NOW, effects),
    "succeeded": lambda run, speaker, effects: report_finished(run, speaker, UNHARMED, NOW, effects),
    "failed": lambda run, speaker, effects: report_finished(run, speaker, failing(), NOW, effects),
    "returned": lambda run, speaker, effects: report_returned(run, speaker, NOW, effects),
}
CHANGES: dict[str, Callable[[Speaker], Speaker]] = {
    "token": lambda speaker: replace(speaker, token=bytes(16)),
    "agent": lambda speaker: replace(speaker, agent_id=OTHER_AGENT),
    "earlier number": lambda speaker: replace(speaker, number=speaker.number - 1),
    "later number": lambda speaker: replace(speaker, number=speaker.number + 1),
    "other task run": lambda speaker: replace(speaker, index=1),
    "task run that is none": lambda speaker: replace(speaker, index=99),
}


def assert_void(run: Run, speaker: Speaker, report: str) -> None:
    """A report must be answered as stale and change nothing at all."""
    before, effects = (bytes(run.states), dict(run.attempts), list(run.counts), run.state), Effects()
    assert REPORTS[report](run, speaker, effects) is Answer.STALE
    assert effects == Effects()
    assert (bytes(run.states), run.attempts, run.counts, run.state) == before
    check_invariants(run)


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("place", [given_to, running_on])
def test_a_report_that_names_another_attempt_is_void(report: str, change: str, place: Callable[[Run], Speaker]) -> None:
    run = a_run(a_task("a", retry=RetryPolicy(retries=9, delay=0)), a_task("b"))
    ended(run, 0, failing())
    assert_void(run, CHANGES[change](place(run)), report)


@pytest.mark.parametrize("report", REPORTS)
def test_a_report_about_an_attempt_that_has_ended_is_void(report: str) -> None:
    run = a_run(a_task("a", retry=RetryPolicy(retries=1, delay=0)), a_task("b"))
    first = running_on(run)
    report_finished(run, first, failing(), NOW, Effects())
    assert_void(run, first, report)
    second = given_to(run, agent_id=AGENT)
    assert_void(run, first, report)
    report_finished(run, second, UNHARMED, NOW, Effects())
    assert_void(run, first, report)
    assert_void(run, second, report)


@pytest.mark.parametrize("report", REPORTS)
def test_a_late_report_about_a_lost_attempt_does_not_touch_the_one_after_it(report: str) -> None:
    run = a_run(a_task("a"))
    lost = running_on(run)
    lose(run, 0, "The agent was not heard from.", NOW, Effects())
    running_on(run, agent_id=OTHER_AGENT)
    assert_void(run, lost, report)


@pytest.mark.parametrize("report", REPORTS)
def test_a_report_to_a_run_that_has_ended_is_void(report: str) -> None:
    run = a_run(a_task("a"))
    speaker = running_on(run)
    report_finished(run, speaker, UNHARMED, NOW, Effects())
    assert run.state is RunState.SUCCEEDED
    assert_void(run, speaker, report)


def test_an_attempt_begins_to_execute() -> None:
    run = a_run(a_task("a"))
    speaker = given_to(run)
    effects = Effects()
    assert report_started(run, speaker, later(1), effects) is Answer.ACCEPTED
    assert effects == Effects(attempts_running=[AttemptRuns(RUN_ID, 0, -1, 1, token(1), later(1))], changed=[(run, 0)])
    assert (run.attempts[0].state, run.attempts[0].started_at) == (AttemptState.RUNNING, later(1))
    check_invariants(run)


def test_a_start_reported_twice_changes_nothing_and_is_no_error() -> None:
    run = a_run(a_task("a"))
    speaker = running_on(run)
    effects = Effects()
    assert report_started(run, speaker, later(5), effects) is Answer.ACCEPTED
    assert effects == Effects()
    assert run.attempts[0].started_at == NOW


def test_an_end_may_arrive_before_the_start_it_overtook() -> None:
    run = a_run(a_task("a"), a_task("b"))
    speaker = given_to(run)
    held = run.attempts[0]
    finish = replace(UNHARMED, started_at=later(1))
    effects = Effects()
    assert report_finished(run, speaker, finish, later(2), effects) is Answer.ACCEPTED
    assert effects == Effects(
        attempts_ended=[an_end(speaker, finish, at=later(2), started_at=later(1))],
        released=[Released(RUN_ID, 0, held)],
        changed=[(run, 0)],
    )
    assert_void(run, speaker, "started")


def test_an_attempt_given_back_costs_no_retry_and_is_placed_again() -> None:
    run = a_run(a_task("a", start_timeout=7))
    speaker = given_to(run)
    held = run.attempts[0]
    effects = Effects()
    assert report_returned(run, speaker, later(1), effects) is Answer.ACCEPTED
    assert effects == Effects(
        attempts_ended=[an_end(speaker, Finish(AttemptState.TAKEN_BACK), at=later(1), closes=False)],
        released=[Released(RUN_ID, 0, held)],
        ready=[(run, 0)],
        start_timers=[StartTimer(RUN_ID, 0, 1, 7)],
        changed=[(run, 0)],
    )
    assert (states(run), run.tries) == ({"a": T.SCHEDULED}, {})
    assert given_to(run).number == 2
    check_invariants(run)


def test_an_attempt_that_has_started_is_not_taken_back() -> None:
    run = a_run(a_task("a"))
    assert_void(run, running_on(run), "returned")


@pytest.mark.parametrize(
    "state",
    [AttemptState.ASSIGNED, AttemptState.RUNNING, AttemptState.LOST, AttemptState.UNKNOWN, AttemptState.TAKEN_BACK],
)
def test_an_agent_may_not_report_what_is_not_its_to_say(state: AttemptState) -> None:
    run = a_run(a_task("a"))
    speaker = running_on(run)
    effects = Effects()
    with pytest.raises(IllegalTransitionError):
        report_finished(run, speaker, Finish(state), NOW, effects)
    assert effects == Effects()
    check_invariants(run)


@pytest.mark.parametrize(
    ("reported", "kind"),
    [(AttemptState.FAILED, FailureKind.INTERNAL), (AttemptState.TIMED_OUT, FailureKind.TIMEOUT_RUN)],
)
def test_a_failure_without_a_reason_is_given_one(reported: AttemptState, kind: FailureKind) -> None:
    run = a_run(a_task("a"), a_task("b"))
    effects = Effects()
    speaker = running_on(run)
    report_finished(run, speaker, Finish(reported), NOW, effects)
    assert [(row.state, row.failure) for row in effects.attempts_ended] == [
        (reported, Failure(kind, "The agent gave no reason."))
    ]


@pytest.mark.parametrize("failure", [None, replace(BROKEN, kind=FailureKind.CANCELLED)])
def test_an_attempt_stopped_though_nobody_asked_is_a_loss_and_costs_no_retry(failure: Failure | None) -> None:
    run = a_run(a_task("a"))
    speaker = running_on(run)
    held = run.attempts[0]
    effects = Effects()
    report_finished(run, speaker, Finish(AttemptState.CANCELLED, failure=failure), later(1), effects)
    said = failure or Failure(FailureKind.PREEMPTED, "The agent stopped the attempt.")
    row = an_end(
        speaker,
        Finish(AttemptState.FAILED, failure=replace(said, kind=FailureKind.PREEMPTED)),
        at=later(1),
        started_at=NOW,
        closes=False,
        retry_at=later(1),
    )
    assert effects == Effects(
        attempts_ended=[row], released=[Released(RUN_ID, 0, held)], ready=[(run, 0)], changed=[(run, 0)]
    )


def test_a_failed_attempt_is_tried_again_after_a_wait_from_its_end() -> None:
    run = a_run(a_task("a", retry=RetryPolicy(retries=1, delay=8)))
    speaker = running_on(run)
    held = run.attempts[0]
    effects = Effects()
    report_finished(run, speaker, failing(), later(100), effects)
    (timer,) = effects.retry_timers
    assert 8 <= timer.delay < 10
    assert effects == Effects(
        attempts_ended=[
            an_end(speaker, failing(), at=later(100), started_at=NOW, closes=False, retry_at=later(100 + timer.delay))
        ],
        released=[Released(RUN_ID, 0, held)],
        retry_timers=[RetryTimer(RUN_ID, 0, 1, timer.delay)],
        changed=[(run, 0)],
    )
    assert states(run) == {"a": T.RETRYING}
    check_invariants(run)


def test_the_wait_before_a_retry_is_the_same_whoever_computes_it_and_differs_between_attempts() -> None:
    def delays(run_id: UUID) -> list[float]:
        run = a_run(a_task("a", retry=RetryPolicy(retries=3, factor=1)), run_id=run_id)
        effects = Effects()
        for number in range(1, 4):
            report_finished(run, running_on(run), failing(), NOW, effects)
            retry_due(run, 0, number, Effects())
        return [timer.delay for timer in effects.retry_timers]

    assert delays(RUN_ID) == delays(RUN_ID)
    assert len({*delays(RUN_ID), *delays(UUID(int=5))}) == 6


def test_a_task_may_choose_the_wait_but_not_more_tries() -> None:
    run = a_run(a_task("a", retry=RetryPolicy(retries=1)))
    chosen = replace(failing(), retry_after=42.0)
    effects = Effects()
    report_finished(run, running_on(run), chosen, NOW, effects)
    assert effects.retry_timers == [RetryTimer(RUN_ID, 0, 1, 42.0)]
    assert effects.attempts_ended[0].retry_at == later(42)
    run = a_run(a_task("a"))
    ended(run, 0, chosen)
    assert states(run) == {"a": T.FAILED}


@pytest.mark.parametrize("chosen", [0.0, -5.0])
def test_a_task_may_ask_for_its_next_try_at_once(chosen: float) -> None:
    run = a_run(a_task("a", retry=RetryPolicy(retries=1, delay=100)))
    effects = Effects()
    report_finished(run, running_on(run), replace(failing(), retry_after=chosen), NOW, effects)
    assert (states(run), effects.ready, effects.retry_timers) == ({"a": T.SCHEDULED}, [(run, 0)], [])


@pytest.mark.parametrize(
    "retry", [RetryPolicy(retries=1, delay=315_576_000_000.0, max_delay=315_576_000_000.0), RetryPolicy(retries=1)]
)
def test_a_wait_beyond_the_calendar_is_cut_to_what_dates_can_hold(retry: RetryPolicy) -> None:
    run = a_run(a_task("a", retry=retry))
    ended(run, 0, replace(failing(), retry_after=None if retry.delay > 1 else 315_576_000_000.0))
    assert states(run) == {"a": T.RETRYING}


def test_a_task_that_gives_up_is_not_tried_again() -> None:
    run = a_run(a_task("a", retry=RetryPolicy(retries=5)))
    speaker = running_on(run)
    held = run.attempts[0]
    effects = Effects()
    report_finished(run, speaker, failing(no_retry=True), NOW, effects)
    assert effects == Effects(
        runs_ended=[RunEnded(RUN_ID, RunState.FAILED, "", NOW, {T.FAILED: 1})],
        attempts_ended=[an_end(speaker, failing(), started_at=NOW)],
        released=[Released(RUN_ID, 0, held)],
        changed=[(run, 0)],
    )


def test_the_two_budgets_do_not_pay_for_each_other() -> None:
    run = a_run(a_task("a", retry=RetryPolicy(retries=2, delay=0)))
    kinds = [
        FailureKind.AGENT_LOST,
        FailureKind.USER_ERROR,
        FailureKind.INTERNAL,
        FailureKind.TIMEOUT_RUN,
        FailureKind.PREEMPTED,
    ]
    for kind in kinds:
        ended(run, 0, failing(kind))
        retry_due(run, 0, run.numbers[0], Effects())
        assert states(run) == {"a": T.SCHEDULED}
    ended(run, 0, failing(FailureKind.EXIT_CODE))
    assert (states(run), run.numbers[0]) == ({"a": T.FAILED}, 6)


def test_a_lost_attempt_is_tried_again_at_once() -> None:
    run = a_run(a_task("a"))
    speaker = running_on(run)
    held = run.attempts[0]
    effects = Effects()
    lose(run, 0, "The agent was not heard from for 30 s.", later(1), effects)
    gone = Failure(FailureKind.AGENT_LOST, "The agent was not heard from for 30 s.")
    row = an_end(speaker, Finish(AttemptState.LOST, failure=gone), at=later(1), started_at=NOW)
    assert effects == Effects(
        attempts_ended=[replace(row, closes=False, retry_at=later(1))],
        released=[Released(RUN_ID, 0, held)],
        ready=[(run, 0)],
        changed=[(run, 0)],
    )
    check_invariants(run)


def test_the_third_agent_that_a_task_takes_down_is_the_last_one_it_gets() -> None:
    run = a_run(a_task("a"))
    for number in (1, 2):
        running_on(run)
        lose(run, 0, "Gone.", later(number), Effects())
        retry_due(run, 0, number, Effects())
    speaker = running_on(run)
    held = run.attempts[0]
    effects = Effects()
    lose(run, 0, "Gone.", later(9), effects)
    reason = "Gone. The task was executing on 3 agents when they were lost; it is not given to another one."
    finish = Finish(AttemptState.LOST, failure=Failure(FailureKind.AGENT_LOST, reason))
    assert effects == Effects(
        runs_ended=[RunEnded(RUN_ID, RunState.FAILED, "", later(9), {T.FAILED: 1})],
        attempts_ended=[an_end(speaker, finish, at=later(9), started_at=NOW)],
        released=[Released(RUN_ID, 0, held)],
        changed=[(run, 0)],
    )
    check_invariants(run)


def test_an_attempt_that_was_lost_before_it_started_took_no_agent_down() -> None:
    run = a_run(a_task("a"))
    for number in (1, 2, 3):
        given_to(run)
        lose(run, 0, "Gone.", later(number), Effects())
        retry_due(run, 0, number, Effects())
        assert states(run) == {"a": T.SCHEDULED}
    given_to(run)
    lose(run, 0, "Gone.", later(9), Effects())
    assert states(run) == {"a": T.FAILED}


def test_an_attempt_that_had_not_started_may_be_lost_too() -> None:
    run = a_run(a_task("a"))
    given_to(run)
    lose(run, 0, "Gone.", NOW, Effects())
    assert states(run) == {"a": T.SCHEDULED}


def test_a_report_in_a_cancelled_runs_queue_is_void() -> None:
    run = a_run(a_task("a"))
    cancel(run, "", NOW, Effects())
    assert run.state is RunState.CANCELLED
    assert_void(run, Speaker(0, 1, token(1), AGENT), "started")

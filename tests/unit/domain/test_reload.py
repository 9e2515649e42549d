"""A run read back from its rows: what they say, and what follows from what they leave unsaid."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from podium.model.spec import RetryPolicy, TaskSpec, TriggerRule
from podium_coordinator.domain.graph import compile_graph
from podium_coordinator.domain.invariants import check_invariants
from podium_coordinator.domain.lifecycle import Speaker, lose, report_finished
from podium_coordinator.domain.records import AttemptRecord, RunEnded, RunRecord, TaskRunEnded
from podium_coordinator.domain.reload import StoredRun, reload
from podium_coordinator.domain.retry import Tries
from podium_coordinator.domain.run import Effects, LiveAttempt, RetryTimer, Run, StartTimer
from podium_coordinator.domain.states import RUN_TERMINAL, AttemptState, FailureKind, RunState, TaskRunState
from tests.unit.domain.builders import (
    AGENT,
    BROKEN,
    NOW,
    RUN_ID,
    UNHARMED,
    a_run_record,
    a_spec,
    a_task,
    an_attempt_record,
    failing,
    later,
    states,
    token,
)

T, A = TaskRunState, AttemptState


def read_back(
    *tasks: TaskSpec,
    record: RunRecord | None = None,
    attempts: Sequence[AttemptRecord] = (),
    ended: Sequence[TaskRunEnded] = (),
) -> tuple[Run, Effects]:
    effects = Effects()
    stored = StoredRun(record or a_run_record(), attempts, ended)
    run = reload(stored, compile_graph(a_spec(*tasks)), NOW, effects)
    check_invariants(run)
    return run, effects


def an_ended_task_run(task: int, state: TaskRunState) -> TaskRunEnded:
    return TaskRunEnded(RUN_ID, task, -1, state, NOW)


def test_a_queued_run_comes_back_queued() -> None:
    run, effects = read_back(a_task("a"), record=a_run_record(RunState.QUEUED))
    assert (run.state, states(run), effects) == (RunState.QUEUED, {"a": T.PENDING}, Effects())


def test_without_a_row_a_task_run_is_ready_if_its_rule_says_so_and_pending_otherwise() -> None:
    run, effects = read_back(a_task("a"), a_task("b", "a"), a_task("c", "b", rule=TriggerRule.ALWAYS, start_timeout=30))
    assert states(run) == {"a": T.SCHEDULED, "b": T.PENDING, "c": T.SCHEDULED}
    assert effects == Effects(
        ready=[(run, 0), (run, 2)],
        start_timers=[StartTimer(RUN_ID, 2, 0, 30)],
        changed=[(run, 0), (run, 2)],
    )


@pytest.mark.parametrize(
    ("state", "started_at", "expected"), [(A.ASSIGNED, None, T.ASSIGNED), (A.RUNNING, later(-5), T.RUNNING)]
)
def test_a_live_attempt_comes_back_live(state: AttemptState, started_at: None, expected: TaskRunState) -> None:
    row = an_attempt_record(number=2, state=state, started_at=started_at)
    run, effects = read_back(a_task("a"), attempts=[row])
    assert states(run) == {"a": expected}
    assert run.attempts == {0: LiveAttempt(2, token(2), AGENT, NOW, state, started_at)}
    assert (run.numbers[0], effects) == (2, Effects())
    assert report_finished(run, Speaker(0, 2, token(2), AGENT), UNHARMED, NOW, Effects()).name == "ACCEPTED"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (A.SUCCEEDED, T.SUCCEEDED),
        (A.SKIPPED, T.SKIPPED),
        (A.FAILED, T.FAILED),
        (A.TIMED_OUT, T.FAILED),
        (A.LOST, T.FAILED),
        (A.CANCELLED, T.CANCELLED),
        (A.UNKNOWN, T.UNKNOWN),
    ],
)
def test_the_attempt_that_closed_a_task_run_says_how_it_ended(state: AttemptState, expected: TaskRunState) -> None:
    run, _ = read_back(a_task("a"), a_task("b"), attempts=[an_attempt_record(state=state)])
    assert states(run) == {"a": expected, "b": T.SCHEDULED}


@pytest.mark.parametrize(("seconds", "delay"), [(8, 8), (0, 0), (-100, 0)])
def test_a_retry_is_due_when_its_row_says_and_at_once_if_that_has_passed(seconds: float, delay: float) -> None:
    row = an_attempt_record(state=A.FAILED, failure=BROKEN, closes=False, retry_at=later(seconds))
    run, effects = read_back(a_task("a", retry=RetryPolicy(retries=1)), attempts=[row])
    assert states(run) == {"a": T.RETRYING}
    assert effects == Effects(retry_timers=[RetryTimer(RUN_ID, 0, 1, delay)])
    assert run.tries == {0: Tries(failures=1)}


def test_of_several_attempts_the_newest_has_the_last_word_and_all_are_charged() -> None:
    rows = [
        an_attempt_record(number=1, state=A.FAILED, failure=BROKEN, closes=False, retry_at=NOW),
        an_attempt_record(number=2, state=A.TAKEN_BACK),
        an_attempt_record(number=3, state=A.LOST, failure=failing(FailureKind.AGENT_LOST).failure, retry_at=NOW),
        an_attempt_record(number=4, state=A.RUNNING, started_at=NOW),
    ]
    rows[2] = an_attempt_record(
        number=3, state=A.LOST, failure=failing(FailureKind.AGENT_LOST).failure, closes=False, retry_at=NOW
    )
    run, effects = read_back(a_task("a"), attempts=rows)
    assert (states(run), run.numbers[0]) == ({"a": T.RUNNING}, 4)
    assert (run.tries, effects) == ({0: Tries(failures=1, losses=1)}, Effects())


def test_the_budget_of_losses_is_not_renewed_by_a_new_owner() -> None:
    gone = failing(FailureKind.AGENT_LOST).failure
    rows = [an_attempt_record(number=n, state=A.LOST, failure=gone, closes=False, retry_at=NOW) for n in (1, 2, 3)]
    run, _ = read_back(a_task("a"), attempts=[*rows, an_attempt_record(number=4, state=A.ASSIGNED)])
    lose(run, 0, "Gone.", NOW, Effects())
    assert states(run) == {"a": T.FAILED}


def test_a_task_run_whose_attempt_was_taken_back_is_ready() -> None:
    row = an_attempt_record(state=A.TAKEN_BACK)
    run, effects = read_back(a_task("a", start_timeout=30), attempts=[row])
    assert states(run) == {"a": T.SCHEDULED}
    assert effects == Effects(ready=[(run, 0)], start_timers=[StartTimer(RUN_ID, 0, 1, 30)], changed=[(run, 0)])


@pytest.mark.parametrize("state", [T.SKIPPED, T.UPSTREAM_FAILED, T.FAILED])
def test_an_end_without_an_attempt_comes_back_and_is_counted(state: TaskRunState) -> None:
    run, _ = read_back(a_task("a"), a_task("b", "a", rule=TriggerRule.ALL_DONE), ended=[an_ended_task_run(0, state)])
    assert states(run) == {"a": state, "b": T.SCHEDULED}


def test_a_task_run_that_waited_too_long_for_its_second_attempt_is_failed() -> None:
    row = an_attempt_record(state=A.FAILED, failure=BROKEN, closes=False, retry_at=NOW)
    run, _ = read_back(a_task("a"), a_task("b"), attempts=[row], ended=[an_ended_task_run(0, T.FAILED)])
    assert states(run) == {"a": T.FAILED, "b": T.SCHEDULED}


def test_a_decisive_failure_still_dooms_the_run() -> None:
    run, _ = read_back(
        a_task("a", required=True), a_task("b"), attempts=[an_attempt_record(state=A.FAILED, failure=BROKEN)]
    )
    assert run.doomed
    run, _ = read_back(
        a_task("a"),
        a_task("b", "a", rule=TriggerRule.ALL_DONE),
        attempts=[an_attempt_record(state=A.FAILED, failure=BROKEN)],
    )
    assert not run.doomed


def test_ends_that_follow_from_the_rows_but_have_none_are_made_up_for_down_the_graph() -> None:
    run, effects = read_back(
        a_task("a"),
        a_task("b", "a"),
        a_task("c", "b"),
        a_task("d", "c", rule=TriggerRule.ALL_DONE),
        attempts=[an_attempt_record(state=A.FAILED, failure=BROKEN)],
    )
    assert states(run) == {"a": T.FAILED, "b": T.UPSTREAM_FAILED, "c": T.UPSTREAM_FAILED, "d": T.SCHEDULED}
    assert [row.task for row in effects.task_runs_ended] == [1, 2]
    assert effects.ready == [(run, 3)]


def test_a_run_whose_task_runs_have_all_ended_ends() -> None:
    run, effects = read_back(a_task("a"), attempts=[an_attempt_record()])
    assert effects == Effects(runs_ended=[RunEnded(RUN_ID, RunState.SUCCEEDED, "", NOW, {T.SUCCEEDED: 1})])
    assert run.state is RunState.SUCCEEDED


def test_in_a_run_being_cancelled_all_that_has_no_live_attempt_is_cancelled() -> None:
    record = a_run_record(RunState.CANCELLING, RunState.FAILED, "Too long.")
    rows = [
        an_attempt_record(0, state=A.RUNNING, started_at=NOW),
        an_attempt_record(1, state=A.FAILED, failure=BROKEN, closes=False, retry_at=later(5)),
        an_attempt_record(2, state=A.TAKEN_BACK),
        an_attempt_record(3),
    ]
    tasks = [a_task(key) for key in "abcde"]
    run, effects = read_back(*tasks, record=record, attempts=rows)
    assert list(states(run).values()) == [T.RUNNING, T.CANCELLED, T.CANCELLED, T.SUCCEEDED, T.CANCELLED]
    assert (run.state, run.outcome, run.reason, run.unended) == (
        RunState.CANCELLING,
        RunState.FAILED,
        "Too long.",
        1,
    )
    assert effects == Effects()
    report_finished(run, Speaker(0, 1, token(1), AGENT), UNHARMED, NOW, effects)
    counts = {T.SUCCEEDED: 2, T.CANCELLED: 3}
    assert effects.runs_ended == [RunEnded(RUN_ID, RunState.FAILED, "Too long.", NOW, counts)]


def test_a_run_being_cancelled_with_nothing_left_to_stop_ends() -> None:
    record = a_run_record(RunState.CANCELLING, RunState.CANCELLED, "Wrong month.")
    _, effects = read_back(a_task("a"), record=record, attempts=[an_attempt_record(state=A.TAKEN_BACK)])
    assert effects == Effects(runs_ended=[RunEnded(RUN_ID, RunState.CANCELLED, "Wrong month.", NOW, {T.CANCELLED: 1})])


@pytest.mark.parametrize("state", sorted(RUN_TERMINAL))
def test_a_run_that_has_ended_is_not_read_back_to_life(state: RunState) -> None:
    with pytest.raises(ValueError, match="has ended"):
        read_back(a_task("a"), record=a_run_record(state))

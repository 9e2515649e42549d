"""How a run begins, how its tasks become ready and are given to agents, and what follows from their ends."""

from __future__ import annotations

import pytest

from podium.model.spec import TriggerRule
from podium_coordinator.domain.invariants import check_invariants
from podium_coordinator.domain.lifecycle import (
    Answer,
    Finish,
    IllegalTransitionError,
    Speaker,
    assign,
    report_finished,
    start,
)
from podium_coordinator.domain.records import RunEnded, RunStarted, TaskRunEnded
from podium_coordinator.domain.run import Effects, Released, StartTimer
from podium_coordinator.domain.states import AttemptState, RunState, TaskRunState
from tests.unit.domain.builders import (
    AGENT,
    NOW,
    RUN_ID,
    UNHARMED,
    a_live_attempt,
    a_queued_run,
    a_run,
    a_task,
    an_end,
    born,
    ended,
    failing,
    given_to,
    later,
    running_on,
    states,
    token,
)

T = TaskRunState


def test_a_new_run_is_queued_and_all_its_task_runs_are_pending() -> None:
    run = a_queued_run(a_task("a"), a_task("b", "a"))
    assert run.state is RunState.QUEUED
    assert states(run) == {"a": T.PENDING, "b": T.PENDING}
    assert run.tallied() == {T.PENDING: 2}
    check_invariants(run)


def test_starting_a_run_makes_ready_what_waits_for_nothing() -> None:
    run = a_queued_run(
        a_task("a"), a_task("b", "a"), a_task("c", "b", rule=TriggerRule.ALWAYS, start_timeout=30), a_task("d", "a")
    )
    effects = Effects()
    start(run, NOW, effects)
    assert effects == Effects(
        runs_started=[RunStarted(RUN_ID, NOW)],
        ready=[(run, 0), (run, 2)],
        start_timers=[StartTimer(RUN_ID, 2, 0, 30)],
        changed=[(run, 0), (run, 2)],
    )
    assert run.state is RunState.RUNNING
    assert states(run) == {"a": T.SCHEDULED, "b": T.PENDING, "c": T.SCHEDULED, "d": T.PENDING}
    check_invariants(run)


@pytest.mark.parametrize("rule", TriggerRule)
def test_a_task_without_upstreams_becomes_ready_whatever_its_rule(rule: TriggerRule) -> None:
    assert states(a_run(a_task("a", rule=rule))) == {"a": T.SCHEDULED}


def test_a_run_starts_only_once() -> None:
    run = a_run(a_task("a"))
    effects = Effects()
    with pytest.raises(IllegalTransitionError):
        start(run, NOW, effects)
    assert effects == Effects()


def test_an_attempt_is_born_with_the_next_number() -> None:
    run = a_run(a_task("a"))
    effects = Effects()
    attempt = assign(run, 0, token(1), AGENT, later(1), effects)
    speaker = Speaker(0, 1, token(1), AGENT)
    assert attempt == a_live_attempt(speaker, at=later(1))
    assert run.attempts == {0: attempt}
    assert effects == Effects(attempts_born=[born(speaker, later(1))], changed=[(run, 0)])
    assert states(run) == {"a": T.ASSIGNED}
    check_invariants(run)


def test_only_what_is_scheduled_is_given_to_an_agent() -> None:
    run = a_run(a_task("a"), a_task("b", "a"), a_task("c"))
    given_to(run, 0)
    ended(run, 2, UNHARMED)
    for index in range(3):
        effects = Effects()
        with pytest.raises(IllegalTransitionError):
            assign(run, index, token(9), AGENT, NOW, effects)
        assert effects == Effects()
    check_invariants(run)


@pytest.mark.parametrize("state", [state for state in RunState if state is not RunState.RUNNING])
def test_a_run_that_is_not_running_starts_nothing(state: RunState) -> None:
    run = a_run(a_task("a"))
    run.state = state
    effects = Effects()
    with pytest.raises(IllegalTransitionError):
        assign(run, 0, token(1), AGENT, NOW, effects)
    assert effects == Effects()


def test_a_success_makes_ready_what_waited_for_it_alone() -> None:
    run = a_run(a_task("a"), a_task("b", "a"), a_task("c", "a", "b", start_timeout=5))
    speaker = running_on(run)
    held = run.attempts[0]
    effects = Effects()
    assert report_finished(run, speaker, UNHARMED, later(1), effects) is Answer.ACCEPTED
    assert effects == Effects(
        attempts_ended=[an_end(speaker, UNHARMED, at=later(1), started_at=NOW)],
        released=[Released(RUN_ID, 0, held)],
        ready=[(run, 1)],
        changed=[(run, 0), (run, 1)],
    )
    assert states(run) == {"a": T.SUCCEEDED, "b": T.SCHEDULED, "c": T.PENDING}
    check_invariants(run)


def test_a_failure_runs_down_the_graph_at_once() -> None:
    run = a_run(
        a_task("a"),
        a_task("b", "a"),
        a_task("c", "b"),
        a_task("d", "a", rule=TriggerRule.ALL_SKIPPED),
        a_task("e", "c", "d", rule=TriggerRule.ALL_DONE),
    )
    speaker = running_on(run)
    held = run.attempts[0]
    effects = Effects()
    report_finished(run, speaker, failing(), later(1), effects)
    assert effects == Effects(
        attempts_ended=[an_end(speaker, failing(), at=later(1), started_at=NOW)],
        released=[Released(RUN_ID, 0, held)],
        task_runs_ended=[
            TaskRunEnded(RUN_ID, 1, -1, T.UPSTREAM_FAILED, later(1)),
            TaskRunEnded(RUN_ID, 3, -1, T.SKIPPED, later(1)),
            TaskRunEnded(RUN_ID, 2, -1, T.UPSTREAM_FAILED, later(1)),
        ],
        ready=[(run, 4)],
        changed=[(run, 0), (run, 1), (run, 3), (run, 2), (run, 4)],
    )
    check_invariants(run)


def test_what_ends_in_one_step_is_told_nearest_first() -> None:
    run = a_run(
        a_task("a"),
        a_task("far", "a", rule=TriggerRule.ALL_SKIPPED),
        a_task("farther", "far"),
        a_task("near", "a"),
        a_task("end", "farther", "near"),
    )
    ended(run, 0, failing())
    assert states(run) == {
        "a": T.FAILED,
        "far": T.SKIPPED,
        "farther": T.SKIPPED,
        "near": T.UPSTREAM_FAILED,
        "end": T.UPSTREAM_FAILED,
    }


def test_a_task_that_skips_itself_skips_what_needs_it() -> None:
    skip = Finish(AttemptState.SKIPPED)
    run = a_run(a_task("a"), a_task("b", "a"), a_task("c", "a", rule=TriggerRule.NONE_FAILED))
    speaker = running_on(run)
    held = run.attempts[0]
    effects = Effects()
    report_finished(run, speaker, skip, NOW, effects)
    assert effects == Effects(
        attempts_ended=[an_end(speaker, skip, started_at=NOW)],
        released=[Released(RUN_ID, 0, held)],
        task_runs_ended=[TaskRunEnded(RUN_ID, 1, -1, T.SKIPPED, NOW)],
        ready=[(run, 2)],
        changed=[(run, 0), (run, 1), (run, 2)],
    )
    assert run.state is RunState.RUNNING
    check_invariants(run)


def test_a_task_started_early_is_not_started_again_by_later_ends() -> None:
    run = a_run(a_task("a"), a_task("b"), a_task("c", "a", "b", rule=TriggerRule.ONE_SUCCESS))
    ended(run, 0, UNHARMED)
    assert run.state_of(2) is T.SCHEDULED
    speaker = running_on(run, 1)
    held = run.attempts[1]
    effects = Effects()
    report_finished(run, speaker, UNHARMED, NOW, effects)
    assert effects == Effects(
        attempts_ended=[an_end(speaker, UNHARMED, started_at=NOW)],
        released=[Released(RUN_ID, 1, held)],
        changed=[(run, 1)],
    )


def test_a_run_ends_with_its_last_task_run_and_counts_them() -> None:
    run = a_run(a_task("a"), a_task("b", "a"))
    ended(run, 0, UNHARMED)
    speaker = running_on(run, 1)
    held = run.attempts[1]
    effects = Effects()
    report_finished(run, speaker, UNHARMED, later(2), effects)
    assert effects == Effects(
        runs_ended=[RunEnded(RUN_ID, RunState.SUCCEEDED, "", later(2), {T.SUCCEEDED: 2})],
        attempts_ended=[an_end(speaker, UNHARMED, at=later(2), started_at=NOW)],
        released=[Released(RUN_ID, 1, held)],
        changed=[(run, 1)],
    )
    assert run.state is RunState.SUCCEEDED
    check_invariants(run)


@pytest.mark.parametrize(
    ("required", "tidies", "expected"),
    [
        (False, False, RunState.FAILED),  # b is upstream_failed, and a leaf
        (False, True, RunState.SUCCEEDED),  # the one leaf succeeded
        (True, True, RunState.FAILED),  # it did, and a required task failed
    ],
)
def test_a_run_fails_by_its_leaves_and_by_what_is_required(required: bool, tidies: bool, expected: RunState) -> None:
    rule = TriggerRule.ALL_DONE if tidies else TriggerRule.ALL_SUCCESS
    run = a_run(a_task("a", required=required), a_task("b", "a", rule=rule))
    ended(run, 0, failing())
    if tidies:
        assert run.state is RunState.RUNNING
        ended(run, 1, UNHARMED)
    assert run.state is expected
    check_invariants(run)


def test_an_end_takes_along_what_its_agent_said_of_it() -> None:
    finish = Finish(
        AttemptState.SUCCEEDED,
        started_at=later(3),
        output=b'{"rows": 336776}',
        log=b"log",
        log_bytes=3,
        blobs=((b"\x01" * 32, 9, "delays.csv"),),
    )
    run = a_run(a_task("a"))
    speaker = running_on(run)
    effects = Effects()
    report_finished(run, speaker, finish, later(9), effects)
    assert effects.attempts_ended == [an_end(speaker, finish, at=later(9), started_at=later(3))]

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium_agent.domain.attempt import (
    ENDING,
    EXECUTING,
    IGNORED,
    TABLE,
    UNSTARTED,
    Effect,
    Event,
    IllegalTransitionError,
    State,
    step,
)

REPORTS = {Effect.REPORT_RESULT, Effect.REPORT_CANCELLED, Effect.REPORT_TIMED_OUT, Effect.REPORT_DEATH}


def walk(*events: Event) -> tuple[State, list[Effect]]:
    """Lead a new attempt through events; return where it ends and all that had to be done."""
    state, done = State.QUEUED, list[Effect]()
    for event in events:
        state, effects = step(state, event)
        done.extend(effects)
    return state, done


def test_an_attempt_that_goes_well_is_executed_settled_reported_and_forgotten() -> None:
    state, done = walk(Event.ADMITTED, Event.DEALT, Event.ENDED_WITH_FILES, Event.SETTLED, Event.ACKNOWLEDGED)
    assert state is State.FORGOTTEN
    assert done == [
        Effect.PREPARE, Effect.EXECUTE, Effect.RELEASE, Effect.SETTLE, Effect.REPORT_RESULT, Effect.FORGET
    ]  # fmt: skip


def test_an_attempt_that_leaves_no_files_is_reported_at_once() -> None:
    assert walk(Event.DEALT, Event.ENDED) == (
        State.REPORTED,
        [Effect.EXECUTE, Effect.RELEASE, Effect.REPORT_RESULT],
    )


def test_what_was_dealt_and_not_begun_is_queued_again_and_can_be_given_back() -> None:
    state, done = walk(Event.DEALT, Event.RECALLED)
    assert (state, done) == (State.QUEUED, [Effect.EXECUTE, Effect.QUEUE_AGAIN])
    assert Effect.RETURN in step(state, Event.TAKEN_BACK)[1]


def test_resources_of_a_cancelled_attempt_are_free_only_when_its_worker_is_gone() -> None:
    state, done = walk(Event.ADMITTED, Event.DEALT, Event.CANCELLED)
    assert (state, Effect.RELEASE in done) == (State.CANCELLING, False)
    _, effects = step(state, Event.WORKER_GONE)
    assert effects == (Effect.RELEASE, Effect.REPORT_CANCELLED)


def test_a_result_that_comes_while_the_attempt_is_being_ended_changes_nothing() -> None:
    for state in ENDING:
        assert step(state, Event.ENDED) == (state, ())


def test_a_stale_attempt_is_never_reported() -> None:
    for state in set(State) - {State.FORGOTTEN}:
        after, effects = step(state, Event.STALE)
        assert not REPORTS & set(effects)
        if after is State.DISOWNED:
            assert step(after, Event.WORKER_GONE) == (State.FORGOTTEN, (Effect.RELEASE, Effect.DISCARD))
        else:
            assert after is State.FORGOTTEN


def test_only_what_has_not_begun_is_given_back() -> None:
    for state in State:
        if state in UNSTARTED:
            assert Effect.RETURN in step(state, Event.TAKEN_BACK)[1]
        else:
            assert step(state, Event.TAKEN_BACK) == (state, ())


def test_what_cannot_happen_is_an_error_of_the_caller() -> None:
    with pytest.raises(IllegalTransitionError, match="WORKER_GONE cannot happen to an attempt that is QUEUED"):
        step(State.QUEUED, Event.WORKER_GONE)


def test_no_event_is_both_in_the_table_and_ignored() -> None:
    assert not [(state, event) for state, event in TABLE if event in IGNORED.get(state, ())]


@settings(deadline=None)
@given(st.lists(st.sampled_from(Event), max_size=30))
def test_whatever_happens_an_attempt_is_released_once_and_reported_at_most_once(events: list[Event]) -> None:
    state, done = State.QUEUED, list[Effect]()
    for event in events:
        try:
            state, effects = step(state, event)
        except IllegalTransitionError:
            continue
        done.extend(effects)
    reports = [effect for effect in done if effect in REPORTS]
    assert len(reports) <= 1
    assert done.count(Effect.RELEASE) <= 1
    assert done.count(Effect.EXECUTE) <= 1 + done.count(Effect.QUEUE_AGAIN)
    assert (Effect.RELEASE in done) is (state not in UNSTARTED | EXECUTING)
    assert not (reports and Effect.RETURN in done)

"""`check_invariants` guards all other tests, so each of its demands is broken once here."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from podium.model.spec import RetryPolicy, TriggerRule
from podium_coordinator.domain.invariants import BrokenInvariantError, check_invariants
from podium_coordinator.domain.lifecycle import cancel
from podium_coordinator.domain.run import CODES, Effects, Run
from podium_coordinator.domain.states import AttemptState, RunState, TaskRunState
from tests.unit.domain.builders import NOW, UNHARMED, a_run, a_task, ended, failing, running_on

T = TaskRunState


def a_busy_run() -> Run:
    """Return a run with a task run in most states: a runs, b failed, c will be retried, d is ready, the rest follow."""
    run = a_run(
        a_task("a"),
        a_task("b"),
        a_task("c", retry=RetryPolicy(retries=1)),
        a_task("d"),
        a_task("e", "a", "b", rule=TriggerRule.ALL_DONE),
        a_task("f", "b"),
        a_task("g", "b", rule=TriggerRule.ALL_DONE, required=True),
    )
    running_on(run, 0)
    ended(run, 1, failing())
    ended(run, 2, failing())
    ended(run, 6, UNHARMED)
    return run


def put(run: Run, index: int, state: TaskRunState) -> None:
    """Change a state and the counts of states, and nothing else."""
    run.counts[run.states[index]] -= 1
    run.states[index] = CODES[state]
    run.counts[CODES[state]] += 1


def miscount(run: Run) -> None:
    run.counts[CODES[T.SCHEDULED]] += 1


def forget_an_end(run: Run) -> None:
    run.unended += 1


def lose_sight_of_an_attempt(run: Run) -> None:
    run.attempts.clear()


def keep_an_ended_attempt(run: Run) -> None:
    run.attempts[0].state = AttemptState.SUCCEEDED


def keep_an_old_attempt(run: Run) -> None:
    run.numbers[0] += 1


def differ_from_the_attempt(run: Run) -> None:
    run.attempts[0].state = AttemptState.ASSIGNED


def count_an_upstream_twice(run: Run) -> None:
    run.failed[4] += 1


def wait_for_nothing(run: Run) -> None:
    put(run, 3, T.PENDING)


def start_too_early(run: Run) -> None:
    put(run, 4, T.SCHEDULED)


def attempt_what_must_not_start(run: Run) -> None:
    run.numbers[5] = 1


def doom_without_cause(run: Run) -> None:
    run.doomed = not run.doomed


def end_with_work_under_way(run: Run) -> None:
    run.state = RunState.SUCCEEDED


def cancel_and_let_wait(run: Run) -> None:
    run.state = RunState.CANCELLING


FAULTS = [
    (miscount, "counts say"),
    (forget_an_end, "unended says"),
    (lose_sight_of_an_attempt, "live attempts and task runs that hold one differ"),
    (keep_an_ended_attempt, "kept as live"),
    (keep_an_old_attempt, "is not its newest"),
    (differ_from_the_attempt, "differs in state"),
    (count_an_upstream_twice, "the count of failed upstreams is off"),
    (wait_for_nothing, "is pending though its rule says"),
    (start_too_early, "is scheduled, its rule says"),
    (attempt_what_must_not_start, "is upstream_failed and was attempted"),
    (doom_without_cause, "doomed says"),
    (end_with_work_under_way, "it ended with work under way"),
    (cancel_and_let_wait, "it is being cancelled and something waits"),
]


def test_a_busy_run_keeps_all_invariants() -> None:
    run = a_busy_run()
    check_invariants(run)
    cancel(run, "", NOW, Effects())
    check_invariants(run)


@pytest.mark.parametrize(("fault", "message"), FAULTS)
def test_a_fault_is_found_and_named(fault: Callable[[Run], None], message: str) -> None:
    run = a_busy_run()
    fault(run)
    with pytest.raises(BrokenInvariantError, match=message):
        check_invariants(run)


@pytest.mark.parametrize("rule", [rule for rule in TriggerRule if rule is not TriggerRule.ALWAYS])
def test_starting_before_the_rule_is_met_is_found_under_every_rule(rule: TriggerRule) -> None:
    run = a_run(a_task("a"), a_task("b"), a_task("c", "a", "b", rule=rule))
    put(run, 2, T.SCHEDULED)
    with pytest.raises(BrokenInvariantError, match="2 is scheduled, its rule says"):
        check_invariants(run)


def test_a_run_with_nothing_left_to_do_must_have_ended() -> None:
    run = a_run(a_task("a"))
    ended(run, 0, UNHARMED)
    run.state = RunState.RUNNING
    with pytest.raises(BrokenInvariantError, match="nothing is left to do"):
        check_invariants(run)


def test_a_run_with_a_decisive_failure_must_not_succeed() -> None:
    run = a_run(a_task("a"))
    ended(run, 0, failing())
    run.state = RunState.SUCCEEDED
    with pytest.raises(BrokenInvariantError, match="it succeeded though a decisive task failed"):
        check_invariants(run)

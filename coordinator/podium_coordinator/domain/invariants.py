"""What must hold of a run after every step. Costs O(tasks + edges): for tests, simulation and reloads."""

from __future__ import annotations

from array import array

from podium.model.rules import Verdict, judge
from podium_coordinator.domain.lifecycle import BAD, column
from podium_coordinator.domain.run import STATES, TERMINAL_CODES, Run
from podium_coordinator.domain.states import ATTEMPT_LIVE, RUN_TERMINAL, RunState, TaskRunState

HOLDS_ATTEMPT = frozenset({TaskRunState.ASSIGNED, TaskRunState.RUNNING})
RULE_MET = HOLDS_ATTEMPT | {TaskRunState.SCHEDULED, TaskRunState.RETRYING, TaskRunState.WAITING}


class BrokenInvariantError(AssertionError):
    """A fault of ours, with the rule it breaks."""


def check_invariants(run: Run) -> None:
    """Raise BrokenInvariantError unless everything a run claims about itself is so."""
    _check_counts(run)
    _check_attempts(run)
    _check_tallies(run)
    _check_rules(run)
    _check_end(run)


def _demand(holds: bool, run: Run, what: str) -> None:
    if not holds:
        raise BrokenInvariantError(f"run {run.run_id} ({run.state}): {what}")


def _check_counts(run: Run) -> None:
    counts = [run.states.count(code) for code in range(len(STATES))]
    _demand(counts == run.counts, run, f"counts say {run.counts}, states say {counts}")
    unended = sum(code not in TERMINAL_CODES for code in run.states)
    if run.state is not RunState.QUEUED:
        _demand(unended == run.unended, run, f"unended says {run.unended}, states say {unended}")


def _check_attempts(run: Run) -> None:
    holding = {i for i, code in enumerate(run.states) if STATES[code] in HOLDS_ATTEMPT}
    _demand(holding == set(run.attempts), run, "live attempts and task runs that hold one differ")
    for index, attempt in run.attempts.items():
        _demand(attempt.state in ATTEMPT_LIVE, run, f"attempt of {index} is {attempt.state} and kept as live")
        _demand(attempt.number == run.numbers[index], run, f"attempt of {index} is not its newest")
        _demand(attempt.state.value == run.state_of(index).value, run, f"attempt of {index} differs in state")


def _check_tallies(run: Run) -> None:
    if run.state in RUN_TERMINAL or run.state in (RunState.CANCELLING, RunState.QUEUED):
        return
    size = len(run.states)
    expected = {
        state: array("i", bytes(4 * size))
        for state in (TaskRunState.SUCCEEDED, TaskRunState.FAILED, TaskRunState.UPSTREAM_FAILED, TaskRunState.SKIPPED)
    }
    for index in range(size):
        state = TaskRunState.FAILED if run.state_of(index) is TaskRunState.UNKNOWN else run.state_of(index)
        if state in expected:
            for child in run.graph.children_of(run.task_of(index)):
                expected[state][child] += 1
    for state, tally in expected.items():
        _demand(column(run, state) == tally, run, f"the count of {state} upstreams is off")


def _check_rules(run: Run) -> None:
    if run.state is not RunState.RUNNING:
        return
    for index in range(len(run.states)):
        state = run.state_of(index)
        verdict = judge(run.graph.rule(run.task_of(index)), run.tally(index))
        if state is TaskRunState.PENDING:
            _demand(verdict is Verdict.WAIT, run, f"{index} is pending though its rule says {verdict}")
        elif state is TaskRunState.UPSTREAM_FAILED:
            _demand(run.numbers[index] == 0, run, f"{index} is upstream_failed and was attempted")
        elif state in RULE_MET:
            _demand(verdict is Verdict.START, run, f"{index} is {state}, its rule says {verdict}")


def _check_end(run: Run) -> None:
    bad = any(STATES[code] in BAD and run.graph.decisive[run.task_of(index)] for index, code in enumerate(run.states))
    _demand(bad == run.doomed, run, f"doomed says {run.doomed}, states say {bad}")
    if run.state in RUN_TERMINAL:
        _demand(run.unended == 0 and not run.attempts, run, "it ended with work under way")
    elif run.state is not RunState.QUEUED:
        _demand(run.unended > 0, run, "nothing is left to do and it has not ended")
    if run.state is RunState.SUCCEEDED:
        _demand(not run.doomed, run, "it succeeded though a decisive task failed")
    _demand(
        run.state is not RunState.CANCELLING or run.unended == len(run.attempts),
        run,
        "it is being cancelled and something waits",
    )

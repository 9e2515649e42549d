"""The oracle itself: it is silent about a good run, and names every wrong that is done to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.evidence import (
    Acknowledged,
    AttemptRow,
    Evidence,
    Execution,
    RunRow,
    TaskKey,
    read_ledger,
)
from tests.cluster.oracle import violations

RUN = "01a2047e-b2af-78a8-8e71-0ef9629cd1df"


def key(task: str) -> TaskKey:
    return RUN, task, -1


def executed(task: str, started: int, ended: int | None, attempt: int = 1, output: object = None) -> Execution:
    digest = hashlib.sha256(json.dumps(output).encode()).hexdigest()
    return Execution(RUN, task, -1, attempt, started, ended, digest if ended is not None else "")


def stored(task: str, state: str = "succeeded", number: int = 1, output: object = None) -> AttemptRow:
    text = json.dumps(output).encode() if state == "succeeded" else None
    closes = state in {"succeeded", "cancelled"}
    return AttemptRow(RUN, task, -1, number, f"{task}-{number}", state, closes, text)


def good() -> Evidence:
    """A run of `one -> two`, whose first task needed a second attempt after its agent was lost."""
    return Evidence(
        ledger=(executed("one", 10, None), executed("one", 20, 30, 2, 5), executed("two", 40, 50, 1, 6)),
        runs={RUN: RunRow(RUN, "succeeded", {"one": (), "two": ("one",)})},
        attempts=(stored("one", "lost"), stored("one", number=2, output=5), stored("two", output=6)),
        acknowledged=Acknowledged(
            runs={RUN},
            ended_runs={RUN: "succeeded"},
            ended_tasks={key("one"): ("succeeded", 2), key("two"): ("succeeded", 1)},
            outputs={key("two"): 6},
        ),
        expected={key("two"): 6},
    )


def told(evidence: Evidence, **changed: object) -> Evidence:
    return replace(evidence, acknowledged=replace(evidence.acknowledged, **changed))  # type: ignore[arg-type]


Doctor = Callable[[Evidence], Evidence]

DOCTORED: dict[str, tuple[str, Doctor]] = {
    "an acknowledged run that is not stored": (
        "lost: run",
        lambda e: told(e, runs={RUN, "01a2047e-0000-7000-8000-000000000000"}),
    ),
    "a run that was told to have ended otherwise": ("lost: run", lambda e: told(e, ended_runs={RUN: "failed"})),
    "a task run that was told to have succeeded and is to be tried again": (
        "lost: 9cd1df/two was told to be succeeded",
        lambda e: replace(e, attempts=(*e.attempts[:2], replace(stored("two", "lost"), closes=False))),
    ),
    "a task run that was told to have failed and succeeded": (
        "lost: 9cd1df/two was told to be failed",
        lambda e: told(e, ended_tasks={key("two"): ("failed", 1)}),
    ),
    "a task run decided by another attempt than was told": (
        "lost: 9cd1df/one was told to be succeeded by attempt 1",
        lambda e: told(e, ended_tasks={key("one"): ("succeeded", 1)}),
    ),
    "an output that a client has and the database has not": (
        "lost: the output of 9cd1df/two was given",
        lambda e: replace(e, attempts=e.attempts[:2]),
    ),
    "an output that changed after a client read it": (
        "lost: the output of 9cd1df/two was 7",
        lambda e: told(e, outputs={key("two"): 7}),
    ),
    "two attempts that both succeeded": (
        "accepted twice: 2 attempts of 9cd1df/one succeeded",
        lambda e: replace(e, attempts=(stored("one", output=5), *e.attempts[1:])),
    ),
    "one token for two attempts": (
        "accepted twice: 2 attempts have the token",
        lambda e: replace(e, attempts=(*e.attempts[:2], replace(e.attempts[2], token="one-2"))),
    ),
    "a gap among the numbers of attempts": (
        "numbers: the attempts of 9cd1df/two are [2]",
        lambda e: replace(e, attempts=(*e.attempts[:2], stored("two", number=2, output=6))),
    ),
    "an attempt after the one that decided": (
        "numbers: 9cd1df/two was decided by an attempt before its last",
        lambda e: replace(e, attempts=(*e.attempts, stored("two", "lost", number=2))),
    ),
    "an execution without a committed row": (
        "uncommitted: 9cd1df/two attempt 2",
        lambda e: replace(e, ledger=(*e.ledger, executed("two", 60, 70, 2, 6))),
    ),
    "an attempt that executed twice": (
        "executed twice: 9cd1df/two attempt 1",
        lambda e: replace(e, ledger=(*e.ledger, executed("two", 60, 70, 1, 6))),
    ),
    "two attempts of one task run at once": (
        "overlap: attempts 1 and 2 of 9cd1df/one",
        lambda e: replace(e, ledger=(executed("one", 10, 25), *e.ledger[1:])),
    ),
    "an earlier attempt that starts after a later one": (
        "overlap: attempt 2 of 9cd1df/one started before attempt 1",
        lambda e: replace(e, ledger=(executed("one", 35, None), *e.ledger[1:])),
    ),
    "a result of something that never executed": (
        "unexecuted: 9cd1df/two attempt 1 succeeded without",
        lambda e: replace(e, ledger=e.ledger[:2]),
    ),
    "a result of something that did not end": (
        "unexecuted: 9cd1df/two attempt 1 succeeded without",
        lambda e: replace(e, ledger=(*e.ledger[:2], executed("two", 40, None))),
    ),
    "a stored result that is not what the task returned": (
        "unexecuted: 9cd1df/two attempt 1 returned another value",
        lambda e: replace(e, ledger=(*e.ledger[:2], executed("two", 40, 50, 1, 8))),
    ),
    "a task that started before its upstream had ended": (
        "order: 9cd1df/two attempt 1 started before one",
        lambda e: replace(e, ledger=(*e.ledger[:2], executed("two", 29, 50, 1, 6))),
    ),
    "a task that started on a result that was not accepted": (
        "order: 9cd1df/two attempt 1 started before one",
        lambda e: replace(e, ledger=(executed("one", 10, 20), executed("one", 30, 45, 2, 5), e.ledger[2])),
    ),
    "something that started after its run was cancelled": (
        "after cancel: 9cd1df/two started",
        lambda e: told(e, stopped={RUN: 35}),
    ),
    "a run that has not ended": (
        "unfinished: run",
        lambda e: replace(e, runs={RUN: replace(e.runs[RUN], state="running")}),
    ),
    "a task that was never decided in a run that succeeded": (
        "unfinished: three",
        lambda e: replace(e, runs={RUN: replace(e.runs[RUN], upstreams={"one": (), "two": ("one",), "three": ()})}),
    ),
    "a wrong output": ("wrong: the output of 9cd1df/two is 6, not 9", lambda e: replace(e, expected={key("two"): 9})),
    "an output that is missing": (
        "wrong: the output of 9cd1df/three is None",
        lambda e: replace(e, expected={key("three"): 1}),
    ),
    "an attempt left running": (
        "left over: 9cd1df/two attempt 2 is running",
        lambda e: replace(e, attempts=(*e.attempts, stored("two", "running", number=2))),
    ),
    "a command left waiting": ("left over: 1 commands", lambda e: replace(e, pending_commands=1)),
}


def test_the_oracle_is_silent_about_a_good_run() -> None:
    assert violations(good()) == []


@pytest.mark.parametrize("wrong", DOCTORED)
def test_the_oracle_names(wrong: str) -> None:
    words, doctor = DOCTORED[wrong]
    found = violations(doctor(good()))
    assert any(violation.startswith(words) for violation in found), found


def test_a_cancelled_run_may_leave_tasks_undecided() -> None:
    run = RunRow(RUN, "cancelled", {"one": (), "two": ("one",)})
    ended = {key("one"): ("cancelled", 1), key("two"): ("cancelled", 0)}
    cancelled = Evidence(
        ledger=(executed("one", 10, None),),
        runs={RUN: run},
        attempts=(stored("one", "cancelled"),),
        acknowledged=Acknowledged({RUN}, {RUN: "cancelled"}, ended, stopped={RUN: 20}),
    )
    assert violations(cancelled) == []


def test_the_ledger_tells_executions_that_ended_from_those_that_did_not(tmp_path: Path) -> None:
    line = {"run": RUN, "task": "one", "map_index": -1, "attempt": 1, "pid": 1}
    lines = [
        {**line, "kind": "start", "execution": "a", "time": 1},
        {**line, "kind": "start", "execution": "b", "time": 2, "attempt": 2},
        {**line, "kind": "end", "execution": "b", "time": 3, "attempt": 2, "output": "x"},
    ]
    path = tmp_path / "ledger"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    assert read_ledger(path) == (Execution(RUN, "one", -1, 1, 1), Execution(RUN, "one", -1, 2, 2, 3, "x"))


def test_an_end_without_a_start_is_a_fault_of_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_text(json.dumps({"kind": "end", "execution": "a"}) + "\n")
    with pytest.raises(AssertionError, match="never started"):
        read_ledger(path)

"""The oracle of every fault test: says what is wrong with what came out. Pure; it has tests of its own.

- nothing that was acknowledged is lost, and no result is accepted twice;
- nothing executes before its upstreams' accepted executions have ended, nor twice under one attempt, nor two attempts
  of a task run at once, nor without a committed row, nor after its run was told to be cancelled;
- every run has ended, its outputs are right, and no attempt or command is left.

It is for workflows whose tasks all wait for the success of their upstreams, and are not mapped.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from tests.cluster.evidence import AttemptRow, Evidence, Execution, TaskKey

ENDED_RUNS = {"succeeded", "failed", "cancelled"}
LIVE_ATTEMPTS = {"assigned", "running"}
SAME_NAME = {"succeeded", "skipped", "cancelled", "unknown"}
"""States of attempts that give the task run they decide a state of the same name; all others mean failed."""


def violations(evidence: Evidence) -> list[str]:
    """Return everything that is wrong; nothing when all is well."""
    checks = (
        _lost_runs,
        _lost_task_runs,
        _lost_outputs,
        _accepted_twice,
        _numbers,
        _uncommitted,
        _executed_twice,
        _overlaps,
        _unexecuted,
        _order,
        _after_cancel,
        _unfinished,
        _wrong_outputs,
        _left_over,
    )
    return [violation for check in checks for violation in check(evidence)]


def _lost_runs(evidence: Evidence) -> Iterator[str]:
    for run in sorted(evidence.acknowledged.runs - evidence.runs.keys()):
        yield f"lost: run {run} was acknowledged and is not stored"
    for run, state in evidence.acknowledged.ended_runs.items():
        if run in evidence.runs and evidence.runs[run].state != state:
            yield f"lost: run {run} was told to be {state} and is {evidence.runs[run].state}"


def _lost_task_runs(evidence: Evidence) -> Iterator[str]:
    for key, (state, number) in evidence.acknowledged.ended_tasks.items():
        stored, decided_by = _stored_end(evidence, key)
        if stored != state or (decided_by and decided_by != number):
            yield (
                f"lost: {show(key)} was told to be {state} by attempt {number}, and is {stored} by attempt {decided_by}"
            )


def _stored_end(evidence: Evidence, key: TaskKey) -> tuple[str, int]:
    """Return how a task run ended by its rows, and the number of the attempt that decided it, 0 for none."""
    for row in evidence.attempts:
        if row.key == key and row.closes:
            return (row.state if row.state in SAME_NAME else "failed"), row.number
    run = evidence.runs.get(key[0])
    if run is None:
        return "not stored", 0
    undecided = "cancelled" if run.state in {"failed", "cancelled"} else "undecided"
    return run.ended_without_attempt.get(key[1], undecided), 0


def _lost_outputs(evidence: Evidence) -> Iterator[str]:
    stored = _outputs(evidence)
    for key, value in evidence.acknowledged.outputs.items():
        if key not in stored:
            yield f"lost: the output of {show(key)} was given to a client and is not stored"
        elif stored[key] != value:
            yield f"lost: the output of {show(key)} was {value!r} for a client and is {stored[key]!r}"


def _outputs(evidence: Evidence) -> dict[TaskKey, Any]:
    return {
        row.key: json.loads(row.output) if row.output else None
        for row in evidence.attempts
        if row.closes and row.state == "succeeded"
    }


def _accepted_twice(evidence: Evidence) -> Iterator[str]:
    for kind, rows in (
        ("succeeded", [row for row in evidence.attempts if row.state == "succeeded"]),
        ("decided it", [row for row in evidence.attempts if row.closes]),
    ):
        for key, count in Counter(row.key for row in rows).items():
            if count > 1:
                yield f"accepted twice: {count} attempts of {show(key)} {kind}"
    for token, count in Counter(row.token for row in evidence.attempts).items():
        if count > 1:
            yield f"accepted twice: {count} attempts have the token {token}"


def _numbers(evidence: Evidence) -> Iterator[str]:
    by_task: dict[TaskKey, list[AttemptRow]] = defaultdict(list)
    for row in evidence.attempts:
        by_task[row.key].append(row)
    for key, rows in by_task.items():
        numbers = sorted(row.number for row in rows)
        if numbers != list(range(1, len(rows) + 1)):
            yield f"numbers: the attempts of {show(key)} are {numbers}"
        last = max(rows, key=lambda row: row.number)
        if any(row.closes for row in rows if row is not last):
            yield f"numbers: {show(key)} was decided by an attempt before its last"


def _uncommitted(evidence: Evidence) -> Iterator[str]:
    stored = {(row.key, row.number) for row in evidence.attempts}
    for execution in evidence.ledger:
        if (execution.key, execution.attempt) not in stored:
            yield f"uncommitted: {show(execution.key)} attempt {execution.attempt} executed without a row"


def _executed_twice(evidence: Evidence) -> Iterator[str]:
    for (key, number), count in Counter((item.key, item.attempt) for item in evidence.ledger).items():
        if count > 1:
            yield f"executed twice: {show(key)} attempt {number} executed {count} times"


def _overlaps(evidence: Evidence) -> Iterator[str]:
    for key, executions in _by_task(evidence).items():
        for before, after in itertools.pairwise(executions):
            if before.ended is not None and before.ended > after.started:
                yield f"overlap: attempts {before.attempt} and {after.attempt} of {show(key)} executed at once"
            if before.attempt > after.attempt:
                yield f"overlap: attempt {before.attempt} of {show(key)} started before attempt {after.attempt}"


def _by_task(evidence: Evidence) -> dict[TaskKey, list[Execution]]:
    found: dict[TaskKey, list[Execution]] = defaultdict(list)
    for execution in sorted(evidence.ledger, key=lambda item: item.started):
        found[execution.key].append(execution)
    return found


def _unexecuted(evidence: Evidence) -> Iterator[str]:
    executed = {(item.key, item.attempt): item for item in evidence.ledger}
    for row in evidence.attempts:
        if row.state != "succeeded":
            continue
        execution = executed.get((row.key, row.number))
        if execution is None or execution.ended is None:
            yield f"unexecuted: {show(row.key)} attempt {row.number} succeeded without executing to its end"
        elif execution.output and row.output is not None and execution.output != _digest(row.output):
            yield f"unexecuted: {show(row.key)} attempt {row.number} returned another value than is stored"


def _digest(output: bytes) -> str:
    text = json.dumps(json.loads(output), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _order(evidence: Evidence) -> Iterator[str]:
    accepted = {(row.key, row.number) for row in evidence.attempts if row.closes and row.state == "succeeded"}
    ends = {item.key: item.ended for item in evidence.ledger if (item.key, item.attempt) in accepted}
    for execution in evidence.ledger:
        run = evidence.runs.get(execution.run)
        for upstream in run.upstreams.get(execution.task, ()) if run else ():
            ended = ends.get((execution.run, upstream, -1))
            if ended is None or ended > execution.started:
                yield f"order: {show(execution.key)} attempt {execution.attempt} started before {upstream} had ended"


def _after_cancel(evidence: Evidence) -> Iterator[str]:
    for execution in evidence.ledger:
        stopped = evidence.acknowledged.stopped.get(execution.run)
        if stopped is not None and execution.started > stopped:
            yield f"after cancel: {show(execution.key)} started after its run had ended"


def _unfinished(evidence: Evidence) -> Iterator[str]:
    for row in evidence.runs.values():
        if row.state not in ENDED_RUNS:
            yield f"unfinished: run {row.run} is {row.state}"
        if row.state == "succeeded":
            done = {item.task for item in evidence.attempts if item.run == row.run and item.closes}
            for task in sorted(row.upstreams.keys() - done - row.ended_without_attempt.keys()):
                yield f"unfinished: {task} of run {row.run}, which succeeded, was never decided"


def _wrong_outputs(evidence: Evidence) -> Iterator[str]:
    stored = _outputs(evidence)
    for key, value in evidence.expected.items():
        if key not in stored or stored[key] != value:
            yield f"wrong: the output of {show(key)} is {stored.get(key)!r}, not {value!r}"


def _left_over(evidence: Evidence) -> Iterator[str]:
    for row in evidence.attempts:
        run = evidence.runs.get(row.run)
        if row.state in LIVE_ATTEMPTS and run is not None and run.state in ENDED_RUNS:
            yield f"left over: {show(row.key)} attempt {row.number} is {row.state} in a run that has ended"
    if evidence.pending_commands:
        yield f"left over: {evidence.pending_commands} commands wait"


def show(key: TaskKey) -> str:
    """Return a task run for a person."""
    run, task, map_index = key
    return f"{run[-6:]}/{task}" + ("" if map_index < 0 else f"[{map_index}]")

"""Judges each commit: the rows it writes, and how the runs it touches stand by their rows afterwards."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from uuid import UUID

from podium_coordinator.domain.lifecycle import Finish
from podium_coordinator.domain.records import (
    AttemptBorn,
    AttemptEnded,
    AttemptRecord,
    AttemptRuns,
    RunCancelling,
    RunEnded,
    TaskRunEnded,
)
from podium_coordinator.domain.states import AttemptState, FailureKind, RunState, TaskRunState
from podium_coordinator.store.batch import Batch
from tests.simulation.oracle.ledger import Ledger
from tests.simulation.tables import LIVE_ATTEMPT, LIVE_RUN, RunRows, Tables
from tests.simulation.view import by_rows, downs, losses, own_failures, stored_states
from tests.simulation.violation import demand
from tests.unit.domain.semantics import (
    ENDS,
    FINAL_KINDS,
    INFRASTRUCTURE_KINDS,
    INFRASTRUCTURE_RETRIES,
    INFRASTRUCTURE_WAITS,
    POISONOUS,
    outcome,
    possible_verdicts,
    upstreams,
    verdict,
)

A, R, T = AttemptState, RunState, TaskRunState
FAILED_ATTEMPT = frozenset({A.FAILED, A.TIMED_OUT, A.LOST})
ROUNDING = timedelta(milliseconds=1)


class RowJudge:
    """Judges one batch at a time: `before` it is applied, and `after`."""

    def __init__(self, tables: Tables, ledger: Ledger) -> None:
        self._tables = tables
        self._ledger = ledger
        self._final: dict[UUID, list[TaskRunState | None]] = {}
        self._was: dict[UUID, RunState] = {}

    def before(self, batch: Batch) -> None:
        self._was = {run_id: self._tables.runs[run_id].run.state for run_id in touched(batch)}

    def after(self, batch: Batch) -> None:
        for born in batch.attempts_born:
            self._judge_birth(born)
        for running in batch.attempts_running:
            self._judge_start(running)
        for ended in batch.attempts_ended:
            self._judge_end(ended)
        for task_run in batch.task_runs_ended:
            self._judge_end_without_attempt(task_run)
        for cancelling in batch.runs_cancelling:
            self._judge_cancelling(cancelling)
        for run_ended in batch.runs_ended:
            self._judge_run_end(run_ended)
        for command_id in batch.commands_applied:
            run = self._tables.runs[self._tables.commands[command_id].run_id].run
            demand(run.state not in (R.QUEUED, R.RUNNING), f"a cancel was applied and the run is {run.state}")
        for run_id in self._was:
            self._judge_whole(self._tables.runs[run_id])

    # Attempts.

    def _judge_birth(self, row: AttemptBorn) -> None:
        rows = self._tables.runs[row.run_id]
        where = f"attempt {row.number} of {row.task}"
        begun = self._was[row.run_id] is R.RUNNING or (self._was[row.run_id] is R.QUEUED and rows.run.started_at)
        demand(bool(begun) and rows.run.state is not R.CANCELLING, f"{where} was born in a run that does not run")
        attempts = rows.attempts[row.task]
        demand([birth.number for birth in attempts] == list(range(1, len(attempts) + 1)), f"{where} is not the next")
        ends = attempts[: row.number - 1]
        demand(all(end.state not in LIVE_ATTEMPT for end in ends), f"{where} was born while another was live")
        demand(not any(end.closes for end in ends), f"{where} was born after the task run had ended")
        demand(row.task not in rows.ended, f"{where} was born after the task run had ended")
        if ends and ends[-1].retry_at is not None:
            demand(row.at >= ends[-1].retry_at - ROUNDING, f"{where} was born before its time")
        task = rows.tasks[row.task]
        demand(own_failures(ends) <= task.retry.retries, f"{where} is over the budget of its own retries")
        demand(losses(ends) <= INFRASTRUCTURE_RETRIES, f"{where} is over the budget of losses")
        known = [by_rows(rows, parent) or T.PENDING for parent in rows.workflow.parents[row.task]]
        said = verdict(task.trigger_rule, upstreams(known))
        demand(said is T.SCHEDULED, f"{where} ({task.trigger_rule}) was born over {known}")

    def _judge_start(self, row: AttemptRuns) -> None:
        execution = self._ledger.executions.get(row.token)
        demand(execution is not None and execution.began == row.at, f"the start of {row} was invented")

    def _judge_end(self, row: AttemptEnded) -> None:
        where = f"the end of attempt {row.number} of {row.task}"
        self._judge_truth(row, where)
        if row.state is A.TAKEN_BACK:
            demand(not row.closes and row.retry_at is None and row.failure is None, f"{where} cost something")
        elif self._was[row.run_id] is R.CANCELLING or row.state not in FAILED_ATTEMPT:
            demand(row.closes and row.retry_at is None, f"{where} does not close its task run")
        elif not (row.closes and self._tables.runs[row.run_id].run.outcome is not None):
            self._judge_failure(row, where)

    def _judge_truth(self, row: AttemptEnded, where: str) -> None:
        """An end is what the attempt's own agent told, or that it was lost, or given back unstarted."""
        stored = self._tables.find(row.token)
        execution = self._ledger.executions.get(row.token)
        if row.state is A.TAKEN_BACK:
            executes = execution is not None and execution.began is not None and not execution.gone
            demand(not executes, f"{where}: taken back while it is executed")
            return
        if row.state is A.LOST:
            return
        demand(execution is not None and execution.end is not None, f"{where} was invented")
        assert execution is not None
        assert execution.end is not None
        demand(stored is not None and stored.agent_id == execution.agent_id, f"{where} came from another agent")
        demand(_tells(row, execution.end), f"{where} is not what its agent told: {execution.end}")

    def _judge_failure(self, row: AttemptEnded, where: str) -> None:
        rows = self._tables.runs[row.run_id]
        wait = self._wait(rows, row, rows.attempts[row.task][: row.number])
        if wait is None:
            demand(row.closes and row.retry_at is None, f"{where} is followed by another try")
            return
        demand(not row.closes and row.retry_at is not None, f"{where} gives up with tries left")
        assert row.retry_at is not None
        waited, (least, most) = row.retry_at - row.at, wait
        fits = timedelta(seconds=least) - ROUNDING <= waited <= timedelta(seconds=most) + ROUNDING
        demand(fits, f"{where} waits {waited}, not {least} to {most} s")

    def _wait(self, rows: RunRows, row: AttemptEnded, ends: list[AttemptRecord]) -> tuple[float, float] | None:
        """Return the least and the most seconds until the next try; None when there is to be none."""
        assert row.failure is not None
        execution = self._ledger.executions.get(row.token)
        said = execution.end if execution is not None and row.state is not A.LOST else None
        kind = row.failure.kind
        if kind in FINAL_KINDS or (said is not None and said.no_retry):
            return None
        policy = rows.tasks[row.task].retry
        infrastructure = kind in INFRASTRUCTURE_KINDS
        failures = own_failures(ends)
        if losses(ends) > INFRASTRUCTURE_RETRIES if infrastructure else failures > policy.retries:
            return None
        if infrastructure and downs(ends) >= POISONOUS:
            return None
        if said is not None and said.retry_after is not None:
            return said.retry_after, said.retry_after
        if infrastructure:
            pause = INFRASTRUCTURE_WAITS[losses(ends) - 1]
            return pause, pause * 1.25
        plain = min(policy.max_delay, policy.delay * policy.factor ** (failures - 1))
        return plain, plain * 1.25

    # Task runs and runs.

    def _judge_end_without_attempt(self, row: TaskRunEnded) -> None:
        rows = self._tables.runs[row.run_id]
        where = f"the end of {row.task} without an attempt"
        demand(not any(attempt.state in LIVE_ATTEMPT for attempt in rows.attempts[row.task]), f"{where}: it is live")
        if row.state is T.FAILED:
            self._judge_start_timeout(rows, row, where)
            return
        demand(row.state in {T.SKIPPED, T.UPSTREAM_FAILED}, f"{where} is {row.state}")
        demand(row.failure is None and not rows.attempts[row.task], f"{where} is no verdict")
        parents, before = rows.workflow.parents[row.task], self._final.get(row.run_id)
        known = [by_rows(rows, parent) or T.PENDING for parent in parents]
        new = [before is None or before[parent] is None for parent in parents]
        said = possible_verdicts(rows.tasks[row.task].trigger_rule, known, new)
        demand(row.state in said, f"{where} ({rows.tasks[row.task].trigger_rule}) is {row.state} over {known}")

    def _judge_start_timeout(self, rows: RunRows, row: TaskRunEnded, where: str) -> None:
        kind = row.failure.kind if row.failure else None
        limit = rows.tasks[row.task].start_timeout
        demand(kind is FailureKind.TIMEOUT_START and limit is not None, f"{where} is no timeout")
        assert limit is not None
        waited = row.at - self._ready_since(rows, row.task)
        demand(waited >= timedelta(seconds=limit) - ROUNDING, f"{where} came after {waited}")

    def _ready_since(self, rows: RunRows, task: int) -> datetime:
        """Return the earliest instant at which a task run can have been ready for its next attempt."""
        assert rows.run.started_at is not None
        if rows.attempts[task]:
            newest = rows.attempts[task][-1]
            assert newest.finished_at is not None
            return newest.retry_at or newest.finished_at
        parents = rows.workflow.parents[task]
        ends = sorted((_ended_at(rows, parent), parent) for parent in parents if by_rows(rows, parent) in ENDS)
        states = dict.fromkeys(parents, T.PENDING)
        rule = rows.tasks[task].trigger_rule
        if verdict(rule, upstreams(states.values())) is T.SCHEDULED:
            return rows.run.started_at
        for at, parent in ends:
            states[parent] = by_rows(rows, parent) or T.PENDING
            if verdict(rule, upstreams(states.values())) is T.SCHEDULED:
                return at
        demand(False, f"{task} was ready though its rule says no")
        raise AssertionError

    def _judge_cancelling(self, row: RunCancelling) -> None:
        rows = self._tables.runs[row.run_id]
        demand(self._was[row.run_id] in (R.QUEUED, R.RUNNING), f"a run was cancelled that was {self._was[row.run_id]}")
        self._judge_stop(rows, row.outcome)

    def _judge_stop(self, rows: RunRows, stopped: RunState) -> None:
        """A run is stopped because a user asked for it, or because its time is over."""
        if stopped is R.CANCELLED:
            asked = any(command.run_id == rows.run.run_id for command in self._tables.commands.values())
            demand(asked, "a run was cancelled that nobody wanted to be")
            return
        limit, since = rows.workflow.spec.run_timeout, rows.run.started_at
        demand(stopped is R.FAILED and limit is not None and since is not None, f"a run was stopped as {stopped}")
        assert limit is not None
        assert since is not None
        now = self._tables.now()
        demand(now - since >= timedelta(seconds=limit) - ROUNDING, "a run timed out early")

    def _judge_run_end(self, row: RunEnded) -> None:
        rows = self._tables.runs[row.run_id]
        found = [by_rows(rows, index) for index in range(len(rows.tasks))]
        complete = all(state in ENDS for state in found)
        if rows.run.outcome is not None:
            demand(row.state is rows.run.outcome, f"a run bound for {rows.run.outcome} ended {row.state}")
        elif complete:
            expected = outcome(rows.tasks, self._ends(rows))
            demand(row.state is expected, f"a run ended {row.state}, not {expected}: {found}")
        else:
            self._judge_stop(rows, row.state)
        demand(all(state not in (T.ASSIGNED, T.RUNNING) for state in found), "a run ended while attempts were live")
        demand(row.counts == Counter(stored_states(rows)), f"a run ended with the counts {row.counts}: {found}")

    def _ends(self, rows: RunRows) -> dict[str, TaskRunState]:
        return {task.key: by_rows(rows, index) or T.PENDING for index, task in enumerate(rows.tasks)}

    def _judge_whole(self, rows: RunRows) -> None:
        """How a run stands by its rows, whatever led there."""
        run_id, state = rows.run.run_id, rows.run.state
        found = [by_rows(rows, index) for index in range(len(rows.tasks))]
        for index, attempts in enumerate(rows.attempts):
            live = sum(attempt.state in LIVE_ATTEMPT for attempt in attempts)
            closing = sum(attempt.closes for attempt in attempts) + (index in rows.ended)
            demand(live + closing <= 1, f"task {index} has {live} live attempts and {closing} ends")
            demand(all(not row.closes for row in attempts[:-1]), f"task {index} went on after it was closed")
        before = self._final.get(run_id, [None] * len(found))
        for index, (was, became) in enumerate(zip(before, found, strict=True)):
            demand(was is None or was is became, f"{index} had ended {was} and is {became}")
        self._final[run_id] = [became if became in ENDS else None for became in found]
        over = all(known in ENDS for known in found)
        if state is R.RUNNING:
            demand(not over, f"a run goes on though all its task runs have ended: {found}")
            due = stored_states(rows)
            late = [i for i, known in enumerate(found) if known is None and due[i] in ENDS]
            demand(not late, f"{late} should have ended with those before them: {due}")
            demand(any(known in ALIVE for known in due), f"a run waits for nothing: {due}")
        demand(state is not R.CANCELLING or any(s in (T.ASSIGNED, T.RUNNING) for s in found), "a run waits for a stop")
        demand(state in LIVE_RUN or self._was[run_id] in LIVE_RUN, "a run that had ended was written to")


ALIVE = frozenset({T.SCHEDULED, T.ASSIGNED, T.RUNNING, T.RETRYING})


def touched(batch: Batch) -> list[UUID]:
    """Return the runs a batch writes to, each once."""
    found: dict[UUID, None] = {}
    for rows in (
        batch.runs_started,
        batch.runs_cancelling,
        batch.attempts_born,
        batch.attempts_running,
        batch.attempts_ended,
        batch.task_runs_ended,
        batch.runs_ended,
    ):
        found.update((row.run_id, None) for row in rows)
    return list(found)


def _ended_at(rows: RunRows, index: int) -> datetime:
    if index in rows.ended:
        return rows.ended[index].at
    at = rows.attempts[index][-1].finished_at
    assert at is not None
    return at


def _tells(row: AttemptEnded, said: Finish) -> bool:
    """Whether a row says what an agent said."""
    if said.state is A.CANCELLED and row.state is A.FAILED:
        return row.failure is not None and row.failure.kind is FailureKind.PREEMPTED
    return row.state is said.state and row.output == said.output and (said.failure in (None, row.failure))

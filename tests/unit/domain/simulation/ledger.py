"""The independent ledger: judges every step of the product by the written semantics and by the rows it makes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from podium.model.spec import TaskSpec
from podium_coordinator.domain.invariants import check_invariants
from podium_coordinator.domain.lifecycle import Answer, Finish
from podium_coordinator.domain.records import AttemptBorn, AttemptEnded, RunEnded, TaskRunEnded
from podium_coordinator.domain.run import Effects, Run
from podium_coordinator.domain.states import AttemptState, FailureKind, RunState, TaskRunState
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
from tests.unit.domain.simulation.agents import Report, Said
from tests.unit.domain.simulation.database import Database
from tests.unit.domain.simulation.view import End, View, downs, losses, own_failures, parents

T = TaskRunState
ALIVE = frozenset({T.SCHEDULED, T.ASSIGNED, T.RUNNING, T.RETRYING})
FAILED_ATTEMPT = frozenset({AttemptState.FAILED, AttemptState.TIMED_OUT, AttemptState.LOST})
RUN_ENDS = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
ROUNDING = timedelta(milliseconds=1)


class ViolationError(AssertionError):
    """The product did what the semantics forbid."""


def demand(holds: bool, what: str) -> None:
    if not holds:
        raise ViolationError(what)


@dataclass(frozen=True)
class Seen:
    """How a run stood after a step."""

    state: RunState
    states: list[TaskRunState]
    numbers: list[int]


def seen(run: Run) -> Seen:
    return Seen(run.state, [run.state_of(index) for index in range(len(run.states))], list(run.numbers))


class Ledger:
    """What has been seen so far. `stopped` says where the runs that were stopped are bound."""

    def __init__(self, database: Database) -> None:
        self.view = View(database)
        self.stopped: dict[UUID, RunState] = {}
        self._seen: dict[UUID, Seen] = {}
        self._ready_since: dict[tuple[UUID, int, int], datetime] = {}
        self._said: dict[bytes, Finish] = {}
        self._judged: Counter[str] = Counter()

    def expects(self, report: Report, under_way: bool) -> Answer:
        """Return what a report deserves: accepted only for the current attempt, with its token, from its agent."""
        name = report.name
        current = self.view.current(name.run_id, name.index) if under_way else None
        if current is None or current.named != (name.number, name.token, report.agent_id):
            return Answer.STALE
        if report.said is Said.RETURNED and current.running:
            return Answer.STALE
        if report.finish is not None:
            self._said[name.token] = report.finish
        return Answer.ACCEPTED

    def committed(self, batch: Effects) -> None:
        """All rows so far are stored; `batch` takes what comes next."""
        self.view.pending = batch
        self._judged.clear()

    def taken_over(self, runs: list[Run], batch: Effects, now: datetime) -> None:
        """A new owner has read these runs back: what was not committed never was."""
        self.committed(batch)
        stored = self.view.database.runs
        self.stopped = {run_id: run.outcome for run_id, run in stored.items() if run.outcome is not None}
        self._seen.clear()
        for run in runs:
            check_invariants(run)
            self._remember(run, seen(run), now)

    def after_step(self, runs: list[Run], now: datetime) -> None:
        """Judge all that a step has decided."""
        batch = self.view.pending
        for born in batch.attempts_born[self._judged["born"] :]:
            self._judge_birth(born)
        for ended in batch.attempts_ended[self._judged["ended"] :]:
            self._judge_end(ended)
        for task_run in batch.task_runs_ended[self._judged["task runs"] :]:
            self._judge_end_without_attempt(task_run)
        for run in runs:
            self._judge_run(run, now)
        for run_ended in batch.runs_ended[self._judged["runs"] :]:
            self._judge_run_end(run_ended)
        self._judged["born"] = len(batch.attempts_born)
        self._judged["ended"] = len(batch.attempts_ended)
        self._judged["task runs"] = len(batch.task_runs_ended)
        self._judged["runs"] = len(batch.runs_ended)

    # Rows.

    def _judge_birth(self, row: AttemptBorn) -> None:
        where = f"attempt {row.number} of {row.task}"
        demand(self._seen[row.run_id].state is RunState.RUNNING, f"{where} was born in a run that does not run")
        births = self.view.births(row.run_id, row.task)
        demand([birth.number for birth in births] == list(range(1, row.number + 1)), f"{where} is not the next")
        ends = self.view.ends(row.run_id, row.task)
        demand(len(ends) == row.number - 1, f"{where} was born while another was live")
        demand(not any(end.closes for end in ends), f"{where} was born after the task run had ended")
        if ends and ends[-1].retry_at is not None:
            demand(row.at >= ends[-1].retry_at - ROUNDING, f"{where} was born before its time")
        task = self._task(row.run_id, row.task)
        demand(own_failures(ends) <= task.retry.retries, f"{where} is over the budget of its own retries")
        demand(losses(ends) <= INFRASTRUCTURE_RETRIES, f"{where} is over the budget of losses")

    def _judge_end(self, row: AttemptEnded) -> None:
        where = f"the end of attempt {row.number} of {row.task}"
        if row.state is AttemptState.TAKEN_BACK:
            demand(not row.closes and row.retry_at is None and row.failure is None, f"{where} cost something")
        elif self._seen[row.run_id].state is RunState.CANCELLING or row.state not in FAILED_ATTEMPT:
            demand(row.closes and row.retry_at is None, f"{where} does not close its task run")
        else:
            self._judge_failure(row, where)

    def _judge_failure(self, row: AttemptEnded, where: str) -> None:
        ends = self.view.ends(row.run_id, row.task)[: row.number]
        wait = self._wait(row, ends)
        if wait is None:
            demand(row.closes and row.retry_at is None, f"{where} is followed by another try")
            return
        demand(not row.closes and row.retry_at is not None, f"{where} gives up with tries left")
        assert row.retry_at is not None
        waited, (least, most) = row.retry_at - row.at, wait
        fits = timedelta(seconds=least) - ROUNDING <= waited <= timedelta(seconds=most) + ROUNDING
        demand(fits, f"{where} waits {waited}, not {least} to {most} s")

    def _wait(self, row: AttemptEnded, ends: list[End]) -> tuple[float, float] | None:
        """Return the least and the most seconds until the next try; None when there is to be none."""
        assert row.failure is not None
        kind, said = row.failure.kind, self._said.get(row.token)
        if kind in FINAL_KINDS or (said is not None and row.state is not AttemptState.LOST and said.no_retry):
            return None
        policy = self._task(row.run_id, row.task).retry
        infrastructure = kind in INFRASTRUCTURE_KINDS
        failures = own_failures(ends)
        if losses(ends) > INFRASTRUCTURE_RETRIES if infrastructure else failures > policy.retries:
            return None
        if infrastructure and downs(ends) >= POISONOUS:
            return None
        if said is not None and row.state is not AttemptState.LOST and said.retry_after is not None:
            return said.retry_after, said.retry_after
        if infrastructure:
            plain = INFRASTRUCTURE_WAITS[losses(ends) - 1]
            return plain, plain * 1.25
        plain = min(policy.max_delay, policy.delay * policy.factor ** (failures - 1))
        return plain, plain * 1.25

    def _judge_end_without_attempt(self, row: TaskRunEnded) -> None:
        where = f"the end of {row.task} without an attempt"
        demand(row.state in {T.SKIPPED, T.UPSTREAM_FAILED, T.FAILED}, f"{where} is {row.state}")
        demand(self.view.current(row.run_id, row.task) is None, f"{where} has a live attempt")
        if row.state is not T.FAILED:
            demand(row.failure is None, f"{where} has a failure")
            return
        demand(row.failure is not None and row.failure.kind is FailureKind.TIMEOUT_START, f"{where} is no timeout")
        number = len(self.view.births(row.run_id, row.task))
        since = self._ready_since.get((row.run_id, row.task, number))
        limit = self._task(row.run_id, row.task).start_timeout
        demand(since is not None and limit is not None, f"{where} had no start timeout to run out")
        assert since is not None
        assert limit is not None
        demand(row.at - since >= timedelta(seconds=limit) - ROUNDING, f"{where} came after {row.at - since}")

    def _judge_run_end(self, row: RunEnded) -> None:
        last = self._seen[row.run_id]
        tasks = self.view.database.workflows[row.run_id].spec.tasks
        demand(all(state in ENDS for state in last.states), "a run ended before its task runs")
        ends = {task.key: state for task, state in zip(tasks, last.states, strict=True)}
        expected = self.stopped.get(row.run_id) or outcome(tasks, ends)
        demand(row.state is expected, f"a run ended {row.state}, not {expected}: {ends}")
        demand(row.counts == Counter(last.states), f"a run ended with the counts {row.counts}")

    def _task(self, run_id: UUID, index: int) -> TaskSpec:
        return self.view.database.workflows[run_id].spec.tasks[index]

    # Runs in memory.

    def _judge_run(self, run: Run, now: datetime) -> None:
        check_invariants(run)
        before, after = self._seen.get(run.run_id), seen(run)
        if before == after:
            return
        if before is not None:
            self._judge_changes(run, before, after, now)
        self._judge_rules(run, before, after)
        self._judge_whole(run, after)
        self._remember(run, after, now)

    def _remember(self, run: Run, last: Seen, now: datetime) -> None:
        for index, state in enumerate(last.states):
            if state is T.SCHEDULED:
                self._ready_since.setdefault((run.run_id, index, last.numbers[index]), now)
        self._seen[run.run_id] = last

    def _judge_changes(self, run: Run, before: Seen, after: Seen, now: datetime) -> None:
        demand(before.state not in RUN_ENDS, f"a run that was {before.state} went on")
        if before.state is RunState.CANCELLING:
            demand(after.state is not RunState.RUNNING, "a run that was being cancelled runs again")
            demand(before.numbers == after.numbers, "a run that is being cancelled started something")
        for index, (was, became) in enumerate(zip(before.states, after.states, strict=True)):
            demand(was not in ENDS or was is became, f"{index} had ended {was} and is {became}")
            grown = after.numbers[index] - before.numbers[index]
            demand(grown == 0 or (grown == 1 and was is T.SCHEDULED), f"the attempts of {index} grew by {grown}")
            if was is T.RETRYING and became is T.SCHEDULED:
                due = self.view.ends(run.run_id, index)[-1].retry_at
                demand(due is not None and now >= due - ROUNDING, f"{index} was made ready before its time")

    def _judge_rules(self, run: Run, before: Seen | None, after: Seen) -> None:
        tasks = self.view.database.workflows[run.run_id].spec.tasks
        for index, waits_for in enumerate(parents(tasks)):
            rule, became = tasks[index].trigger_rule, after.states[index]
            was = before.states[index] if before else T.PENDING
            known = [after.states[parent] for parent in waits_for]
            if was is not T.PENDING or became is T.CANCELLED or after.state is RunState.QUEUED:
                continue
            if became in {T.SKIPPED, T.UPSTREAM_FAILED}:
                new = [not before or before.states[parent] not in ENDS for parent in waits_for]
                said = possible_verdicts(rule, known, new)
            else:
                said = {verdict(rule, upstreams(known))}
            demand(became in said, f"{index} ({rule}) became {became} over {known}")

    def _judge_whole(self, run: Run, after: Seen) -> None:
        tasks = self.view.database.workflows[run.run_id].spec.tasks
        over = all(state in ENDS for state in after.states)
        demand(over == (after.state in RUN_ENDS), f"a run is {after.state} with {after.states}")
        if after.state is RunState.RUNNING:
            demand(any(state in ALIVE for state in after.states), f"a run waits for nothing: {after.states}")
        if over and run.run_id not in self.stopped:
            ends = {task.key: state for task, state in zip(tasks, after.states, strict=True)}
            demand(after.state is outcome(tasks, ends), f"a run is {after.state} with {ends}")

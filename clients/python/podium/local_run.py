"""Runs a workflow in this process: the same DAG, rules and data as on a cluster, without one.

Tasks run one after the other, larger priority first. What they return goes through JSON and files through copies, so
that what would fail on a cluster fails here. Waits between tries are left out, and so are the timeouts of Python tasks.
"""

from __future__ import annotations

import heapq
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from podium.errors import RunFailedError, TaskFailedError
from podium.local_attempt import Attempts, Ended
from podium.model.parameters import resolve
from podium.model.rules import Tally, Verdict, judge
from podium.model.spec import JsonValue, TaskSpec, WorkflowSpec
from podium.model.states import Failure, RunState, TaskRunState
from podium.results import decode_result, with_files

_BAD = frozenset({TaskRunState.FAILED, TaskRunState.UPSTREAM_FAILED, TaskRunState.UNKNOWN})
_ENDED_BY = {Verdict.SKIP: TaskRunState.SKIPPED, Verdict.UPSTREAM_FAILED: TaskRunState.UPSTREAM_FAILED}


class LocalRun:
    """What came of a run in this process. Files among the outputs stay for as long as this object does."""

    def __init__(self, workflow: str, params: Mapping[str, JsonValue]) -> None:
        self.workflow = workflow
        self.params = params
        self.state = RunState.RUNNING
        self.states: dict[str, TaskRunState] = {}
        self.outputs: dict[str, Any] = {}
        self.failures: dict[str, Failure] = {}
        self.exceptions: dict[str, BaseException] = {}
        self.attempts: dict[str, int] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="podium-test-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def __repr__(self) -> str:
        return f"<local run of {self.workflow}: {self.state}>"

    def result(self) -> dict[str, Any]:
        """Return the outputs of all succeeded tasks.

        Raises:
            RunFailedError: The run failed; its cause is the first failed task's own exception.
        """
        if self.state is RunState.SUCCEEDED:
            return self.outputs
        tasks = tuple(
            TaskFailedError(f"Task {key} failed ({failure.kind}): {failure.message}", failure, task=key)
            for key, failure in self.failures.items()
        )
        raise RunFailedError(f"The local run of {self.workflow} failed.", tasks) from next(
            iter(self.exceptions.values()), None
        )


def run_locally(
    spec: WorkflowSpec,
    given: Mapping[str, object],
    functions: Mapping[str, Callable[..., Any]],
    project: Path,
) -> LocalRun:
    """Run a checked workflow to its end.

    Args:
        spec: The definition.
        given: The run's parameters.
        functions: What each Python task calls, by the task's key.
        project: The folder that working folders of shell tasks are relative to.

    Raises:
        InvalidParametersError: The parameters do not fit.
    """
    run = LocalRun(spec.name, resolve(spec, given))
    attempts = Attempts(run.params, functions, project, run.folder)
    _Course(spec, run, attempts).finish()
    return run


class _Course:
    """Where the tasks of one run stand, and what follows from each end."""

    def __init__(self, spec: WorkflowSpec, run: LocalRun, attempts: Attempts) -> None:
        self._tasks = spec.tasks
        self._run = run
        self._attempts = attempts
        self._positions = {task.key: index for index, task in enumerate(spec.tasks)}
        self._ready: list[tuple[int, int]] = []
        self._ended: dict[str, Counter[TaskRunState]] = {task.key: Counter() for task in spec.tasks}
        self._downstream: dict[str, list[TaskSpec]] = {task.key: [] for task in spec.tasks}
        for task in spec.tasks:
            run.states[task.key] = TaskRunState.PENDING
            for key in task.upstream:
                self._downstream[key].append(task)

    def finish(self) -> None:
        """Run everything that is to run, and say how the whole ended."""
        self._judge(self._tasks)
        while self._ready:
            _, index = heapq.heappop(self._ready)
            task = self._tasks[index]
            self._end(task, self._attempts.execute(task))
        bad = any(self._run.states[task.key] in _BAD for task in self._tasks if self._decides(task))
        self._run.state = RunState.FAILED if bad else RunState.SUCCEEDED

    def _decides(self, task: TaskSpec) -> bool:
        return task.required or not self._downstream[task.key]

    def _judge(self, tasks: Iterable[TaskSpec]) -> None:
        """Start or end the tasks that can be, and those that follow from these ends."""
        pending = list(tasks)
        while pending:
            task = pending.pop()
            if self._run.states[task.key] is not TaskRunState.PENDING:
                continue
            verdict = judge(task.trigger_rule, self._tally(task))
            if verdict is Verdict.START:
                self._run.states[task.key] = TaskRunState.SCHEDULED
                heapq.heappush(self._ready, (-task.priority, self._positions[task.key]))
            elif verdict in _ENDED_BY:
                pending.extend(self._settle(task, _ENDED_BY[verdict]))

    def _tally(self, task: TaskSpec) -> Tally:
        ended = self._ended[task.key]
        return Tally(
            len(task.upstream),
            ended[TaskRunState.SUCCEEDED],
            ended[TaskRunState.FAILED],
            ended[TaskRunState.UPSTREAM_FAILED],
            ended[TaskRunState.SKIPPED],
        )

    def _settle(self, task: TaskSpec, state: TaskRunState) -> list[TaskSpec]:
        """Note a task's end; return those that wait for it."""
        self._run.states[task.key] = state
        for follower in self._downstream[task.key]:
            self._ended[follower.key][state] += 1
        return self._downstream[task.key]

    def _end(self, task: TaskSpec, ended: Ended) -> None:
        run = self._run
        run.attempts[task.key] = ended.attempts
        if ended.failure is not None:
            run.failures[task.key] = ended.failure
        if ended.exception is not None:
            run.exceptions[task.key] = ended.exception
        if ended.state is TaskRunState.SUCCEEDED:
            run.outputs[task.key] = with_files(decode_result(ended.output), self._attempts.files.keep)
        self._judge(self._settle(task, ended.state))

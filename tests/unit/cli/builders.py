"""What a coordinator tells, with defaults: a test names only what matters to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from podium.model.spec import (
    Literal,
    Output,
    Parameter,
    ParameterSpec,
    ParameterType,
    PythonAction,
    Resources,
    ShellAction,
    TaskSpec,
    WorkflowSpec,
)
from podium.model.states import AgentState, AttemptState, Failure, FailureKind, RunState, TaskRunState
from podium.resources import Agent, Attempt, RunInfo, TaskRun, WorkflowVersion

RUN = "0198f2c4-1111-7000-8000-000000000001"


def at(seconds: float) -> datetime:
    """Return a time so long after the run was created."""
    return datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC) + timedelta(seconds=seconds)


NOW = at(90)


def a_run(**given: Any) -> RunInfo:
    defaults: dict[str, Any] = {
        "run_id": RUN,
        "workflow": "flights",
        "version": 3,
        "state": RunState.RUNNING,
        "params": {},
        "create_time": at(0),
        "start_time": at(0.5),
        "end_time": None,
        "reason": "",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "task_count": 12,
        "counts": None,
        "request_id": "",
    }
    return RunInfo(**{**defaults, **given})


def a_failure(**given: Any) -> Failure:
    defaults: dict[str, Any] = {
        "kind": FailureKind.USER_ERROR,
        "message": "ValueError: no rows in 2013-02",
        "traceback": 'Traceback (most recent call last):\n  File "pipeline.py", line 7, in clean\n    check(rows)\n'
        "ValueError: no rows in 2013-02\n",
        "exception_type": "builtins.ValueError",
    }
    return Failure(**{**defaults, **given})


def a_task_run(task: str, state: TaskRunState = TaskRunState.SUCCEEDED, **given: Any) -> TaskRun:
    defaults: dict[str, Any] = {
        "map_index": -1,
        "attempt": 1,
        "failure": None,
        "assign_time": at(1),
        "start_time": at(1.01),
        "end_time": at(4.21),
        "retry_time": None,
        "agent": "agent-1",
    }
    return TaskRun(task=task, state=state, **{**defaults, **given})


def an_attempt(task: str, number: int = 1, state: AttemptState = AttemptState.SUCCEEDED, **given: Any) -> Attempt:
    defaults: dict[str, Any] = {
        "map_index": -1,
        "agent": "agent-1",
        "assign_time": at(1),
        "start_time": at(1.01),
        "end_time": at(4.21),
        "failure": None,
        "log_bytes": 2_345,
    }
    return Attempt(task=task, number=number, state=state, **{**defaults, **given})


def an_agent(name: str = "agent-1", **given: Any) -> Agent:
    defaults: dict[str, Any] = {
        "agent_id": "c6ad2d9c-4676-4e72-b921-8374b7cae7b8",
        "state": AgentState.CONNECTED,
        "hostname": "node1",
        "platform": "Linux-6.1-x86_64",
        "python_version": "3.11.7",
        "podium_version": "0.1.0",
        "cpu_millis": 4_000,
        "memory_bytes": 16 * 2**30,
        "disk_free_bytes": 80 * 10**9,
        "labels": {},
        "connect_time": at(0),
        "last_heard_time": at(89),
        "cpu_millis_used": 2_500,
        "memory_bytes_used": 512 * 2**20,
        "live_attempts": 2,
        "draining": False,
    }
    return Agent(name=name, **{**defaults, **given})


def a_spec() -> WorkflowSpec:
    return WorkflowSpec(
        name="flights",
        description="Delays out of New York.",
        parameters=(
            ParameterSpec("year", ParameterType.INTEGER, description="The year to look at."),
            ParameterSpec("carriers", ParameterType.ARRAY, Literal(["UA", "DL"])),
        ),
        tasks=(
            TaskSpec("extract", PythonAction("pipeline:extract", args=(Parameter("year"),))),
            TaskSpec(
                "clean",
                PythonAction("pipeline:clean", args=(Output("extract"),)),
                upstream=("extract",),
                resources=Resources(500, 2**30),
            ),
            TaskSpec("report", ShellAction(exec=("make", "report")), upstream=("extract", "clean")),
            TaskSpec("tidy", ShellAction(script="rm -f x"), upstream=("report",)),
        ),
        run_timeout=3600,
    )


def a_workflow(**given: Any) -> WorkflowVersion:
    defaults: dict[str, Any] = {
        "name": "flights",
        "version": 3,
        "digest": "5e" * 32,
        "bundle": "b0" * 32,
        "create_time": at(0),
        "task_count": 4,
        "spec": None,
        "created": False,
    }
    return WorkflowVersion(**{**defaults, **given})

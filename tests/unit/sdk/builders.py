"""Definitions with defaults; a test names only what matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from podium.model.spec import (
    Literal,
    ParameterSpec,
    ParameterType,
    PythonAction,
    ShellAction,
    TaskSpec,
    WorkflowSpec,
)


def a_task(key: str = "a", *upstream: str, **changes: Any) -> TaskSpec:
    action = changes.pop("action", PythonAction("steps:run"))
    return TaskSpec(key, action, upstream, **changes)


def a_shell_task(key: str = "a", **changes: Any) -> TaskSpec:
    return TaskSpec(key, ShellAction(**({"script": "true"} | changes)))


def a_workflow(*tasks: TaskSpec, **changes: Any) -> WorkflowSpec:
    return WorkflowSpec(changes.pop("name", "flow"), tasks or (a_task(),), **changes)


def a_parameter(name: str = "day", type: ParameterType = ParameterType.ANY, **changes: Any) -> ParameterSpec:  # noqa: A002 - its name
    if "default" in changes:
        changes["default"] = Literal(changes["default"])
    return ParameterSpec(name, type, **changes)


def a_chain(keys: Sequence[str]) -> tuple[TaskSpec, ...]:
    return tuple(a_task(key, *keys[max(0, index - 1) : index]) for index, key in enumerate(keys))

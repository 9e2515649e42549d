"""Workflows as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from podium.cli.show.quantity import cores, duration, moment, size
from podium.cli.show.table import Cell, Row, Table, card, number, render
from podium.model.spec import ParameterSpec, PythonAction, ShellAction, TaskSpec, WorkflowSpec

if TYPE_CHECKING:
    from podium.resources import WorkflowVersion


def table(workflows: Sequence[WorkflowVersion]) -> Table:
    """Return one row per version."""
    titles = ("WORKFLOW", "VERSION", "TASKS", "REGISTERED", "DIGEST")
    return Table(titles, [_row(workflow) for workflow in workflows])


def _row(workflow: WorkflowVersion) -> Row:
    return [
        workflow.name,
        number(workflow.version),
        number(workflow.task_count),
        moment(workflow.create_time),
        workflow.digest[:12],
    ]


def deployed(workflows: Sequence[WorkflowVersion]) -> Table:
    """Return one row per version that was deployed, and whether it is new."""
    return Table(("WORKFLOW", "VERSION", "DEPLOYED", "TASKS"), [_deployed(workflow) for workflow in workflows])


def _deployed(workflow: WorkflowVersion) -> Row:
    new = Cell("created", "green") if workflow.created else Cell("unchanged")
    return [workflow.name, number(workflow.version), new, number(workflow.task_count)]


def details(workflow: WorkflowVersion) -> str:
    """Return all that is known of a version: its parameters and its tasks."""
    spec = workflow.spec
    parts = [_head(workflow, spec)]
    if spec is not None and spec.parameters:
        parts.append(render(_parameters(spec)))
    if spec is not None:
        parts.append(render(_tasks(spec)))
    return "\n\n".join(parts)


def _head(workflow: WorkflowVersion, spec: WorkflowSpec | None) -> str:
    return card(
        [
            ("workflow", workflow.name),
            ("version", str(workflow.version)),
            ("description", spec.description if spec else ""),
            ("tasks", str(workflow.task_count)),
            ("timeout", duration(spec.run_timeout) if spec and spec.run_timeout else ""),
            ("registered", moment(workflow.create_time)),
            ("digest", workflow.digest),
            ("bundle", workflow.bundle),
        ]
    )


def _parameters(spec: WorkflowSpec) -> Table:
    return Table(("PARAMETER", "TYPE", "DEFAULT", "DESCRIPTION"), [_parameter(item) for item in spec.parameters])


def _parameter(parameter: ParameterSpec) -> Row:
    default = "(required)" if parameter.required else json.dumps(parameter.default.value, ensure_ascii=False)
    return [parameter.name, parameter.type, default, parameter.description]


def _tasks(spec: WorkflowSpec) -> Table:
    return Table(("TASK", "ACTION", "NEEDS", "AFTER"), [_task(task) for task in spec.tasks])


def _task(task: TaskSpec) -> Row:
    needs = f"{cores(task.resources.cpu_millis)} cpu"
    if task.resources.memory_bytes:
        needs += f", {size(task.resources.memory_bytes)}"
    return [task.key, _action(task.action), needs, ", ".join(task.upstream)]


def _action(action: PythonAction | ShellAction) -> str:
    if isinstance(action, PythonAction):
        return f"python {action.function}"
    return f"shell {' '.join(action.exec)}" if action.exec else "shell script"

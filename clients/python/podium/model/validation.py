"""When a workflow's definition is sound. Finds everything that is wrong, in time linear in tasks and edges."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from itertools import islice

from podium.errors import FieldViolation, InvalidWorkflowError
from podium.model.exactness import check_exact
from podium.model.graph import find_cycles
from podium.model.parameters import fits, json_type
from podium.model.problems import Problems, quoted
from podium.model.quantities import MAX_SECONDS, is_duration
from podium.model.spec import ParameterSpec, TaskSpec, WorkflowSpec
from podium.model.task_rules import check_task

MAX_TASKS = 100_000
MAX_EDGES = 2_000_000
MAX_PARAMETERS = 256
MAX_DESCRIPTION = 4_096

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_MAX_PARAMETER_NAME = 128
_MAX_CYCLES = 20
_SHOWN_OF_CYCLE = 20


def validate(spec: WorkflowSpec) -> None:
    """Return if the definition is sound.

    Raises:
        InvalidWorkflowError: With one violation per problem, at most `MAX_PROBLEMS` of them, each with the path of the
            field, as in "tasks[3].retry.retries".
    """
    problems = check(spec)
    if problems.count:
        raise InvalidWorkflowError(
            f"Workflow {quoted(spec.name)} is not sound: {problems.summary()}.",
            tuple(problems.found),
            workflow=spec.name,
            problems=problems.count,
        )


def violations(spec: WorkflowSpec) -> tuple[FieldViolation, ...]:
    """Return what `validate` would complain about; empty for a sound definition."""
    return tuple(check(spec).found)


def check(spec: WorkflowSpec) -> Problems:
    """Return everything that is wrong with the definition."""
    problems = Problems()
    _check_head(spec, problems)
    _check_parameters(spec.parameters, problems)
    if not spec.tasks:
        problems.add("tasks", "The workflow has no tasks; it needs at least one.")
    elif len(spec.tasks) > MAX_TASKS:
        problems.add("tasks", f"The workflow has {len(spec.tasks):,} tasks; the limit is {MAX_TASKS:,}. Split it.")
    else:
        _check_tasks(spec, problems)
    return problems


def _check_head(spec: WorkflowSpec, problems: Problems) -> None:
    if not _NAME.fullmatch(spec.name):
        problems.add(
            "name",
            f"{quoted(spec.name)} is no usable name: it takes 1 to 128 letters, digits, '_', '.' and '-' (ASCII), "
            "the first one a letter or a digit.",
        )
    _check_description(spec.description, "description", problems)
    if spec.run_timeout is not None and not is_duration(spec.run_timeout, zero=False):
        problems.add("run_timeout", f"{spec.run_timeout} is no timeout: more than 0, at most {MAX_SECONDS:,} seconds.")


def _check_description(text: str, path: str, problems: Problems) -> None:
    if len(text) > MAX_DESCRIPTION:
        problems.add(path, f"It has {len(text):,} characters; the limit is {MAX_DESCRIPTION:,}.")
    check_exact(text, path, problems.add)


def _check_parameters(parameters: Sequence[ParameterSpec], problems: Problems) -> None:
    if len(parameters) > MAX_PARAMETERS:
        problems.add("parameters", f"The workflow has {len(parameters):,} parameters; the limit is {MAX_PARAMETERS}.")
        return
    seen: dict[str, int] = {}
    for index, parameter in enumerate(parameters):
        path = f"parameters[{index}]"
        first = seen.setdefault(parameter.name, index)
        if first != index:
            problems.add(f"{path}.name", f"parameters[{first}] has the name {quoted(parameter.name)} already.")
        _check_parameter(parameter, path, problems)


def _check_parameter(parameter: ParameterSpec, path: str, problems: Problems) -> None:
    name = parameter.name
    if not name.isidentifier() or keyword.iskeyword(name) or len(name) > _MAX_PARAMETER_NAME:
        problems.add(
            f"{path}.name",
            f"{quoted(name)} is no usable name: a Python identifier of at most {_MAX_PARAMETER_NAME} characters.",
        )
    _check_description(parameter.description, f"{path}.description", problems)
    if not parameter.required:
        _check_default(parameter, f"{path}.default_value", problems)


def _check_default(parameter: ParameterSpec, path: str, problems: Problems) -> None:
    before = problems.count
    check_exact(parameter.default.value, path, problems.add)
    if problems.count == before and not fits(parameter.default.value, parameter.type):
        problems.add(
            path,
            f"The default is {json_type(parameter.default.value)}; the parameter's type is {parameter.type.value}.",
        )


def _check_tasks(spec: WorkflowSpec, problems: Problems) -> None:
    positions: dict[str, int] = {}
    for index, task in enumerate(spec.tasks):
        first = positions.setdefault(task.key, index)
        if first != index:
            problems.add(f"tasks[{index}].key", f"tasks[{first}] has the key {quoted(task.key)} already.")
    parameters = frozenset(parameter.name for parameter in spec.parameters)
    for index, task in enumerate(spec.tasks):
        if problems.full:
            return
        check_task(task, index, positions, parameters, problems)
    _check_graph(spec.tasks, positions, problems)


def _check_graph(tasks: Sequence[TaskSpec], positions: dict[str, int], problems: Problems) -> None:
    edges = sum(len(task.upstream) for task in tasks)
    if edges > MAX_EDGES:
        problems.add("tasks", f"The tasks have {edges:,} upstreams in all; the limit is {MAX_EDGES:,}.")
        return
    upstreams = [[positions[key] for key in task.upstream if key in positions] for task in tasks]
    for cycle in islice(find_cycles(upstreams), _MAX_CYCLES):
        first = min(cycle)
        turn = cycle.index(first)
        keys = [tasks[index].key for index in cycle[turn:] + cycle[: turn + 1]]
        problems.add(f"tasks[{first}].upstream", f"These tasks wait for each other: {_arrows(keys)}.")


def _arrows(keys: list[str]) -> str:
    if len(keys) > _SHOWN_OF_CYCLE:
        left_out = len(keys) - _SHOWN_OF_CYCLE
        keys = [*keys[: _SHOWN_OF_CYCLE - 1], f"({left_out:,} more)", keys[-1]]
    return " -> ".join(keys)

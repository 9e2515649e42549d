"""Definitions of workflows."""

from __future__ import annotations

from podium.errors import InvalidWorkflowError
from podium.model.exactness import Report
from podium.model.problems import Problems, quoted
from podium.model.spec import (
    MISSING,
    Action,
    Literal,
    ParameterSpec,
    ParameterType,
    PythonAction,
    Resources,
    RetryPolicy,
    TaskSpec,
    TriggerRule,
    WorkflowSpec,
)
from podium.v1 import workflow_pb2
from podium.wire.bindings import action_from_proto, action_to_proto
from podium.wire.enums import (
    parameter_type_from_proto,
    parameter_type_to_proto,
    trigger_rule_from_proto,
    trigger_rule_to_proto,
)
from podium.wire.times import duration_to_seconds, seconds_to_duration
from podium.wire.values import fill_value, read_value

_NO_RETRY = RetryPolicy()
_ONE_CORE = Resources()
_NO_ACTION = PythonAction("")


def workflow_to_proto(spec: WorkflowSpec) -> workflow_pb2.WorkflowSpec:
    """Return a validated definition as its message; what equals a default is left unset."""
    message = workflow_pb2.WorkflowSpec(name=spec.name, description=spec.description)
    for parameter in spec.parameters:
        _fill_parameter(message.parameters.add(), parameter)
    for task in spec.tasks:
        _fill_task(message.tasks.add(), task)
    if spec.run_timeout is not None:
        message.run_timeout.CopyFrom(seconds_to_duration(spec.run_timeout))
    return message


def workflow_bytes(spec: WorkflowSpec) -> bytes:
    """Return a validated definition serialized, equal definitions as equal bytes."""
    return workflow_to_proto(spec).SerializeToString(deterministic=True)


def workflow_from_proto(message: workflow_pb2.WorkflowSpec) -> WorkflowSpec:
    """Return the definition, not validated yet. Maps become pairs ordered by key.

    Raises:
        InvalidWorkflowError: Some of it cannot be read: an unknown enum value, a binding or an action without content,
            a number beyond 2^53 - 1; one violation each.
    """
    problems = Problems()
    spec = WorkflowSpec(
        message.name,
        tuple(_read_task(task, f"tasks[{index}]", problems.add) for index, task in enumerate(message.tasks)),
        tuple(
            _read_parameter(parameter, f"parameters[{index}]", problems.add)
            for index, parameter in enumerate(message.parameters)
        ),
        message.description,
        duration_to_seconds(message.run_timeout) if message.HasField("run_timeout") else None,
    )
    if problems.count:
        raise InvalidWorkflowError(
            f"Workflow {quoted(spec.name)} cannot be read: {problems.summary()}.",
            tuple(problems.found),
            workflow=spec.name,
            problems=problems.count,
        )
    return spec


def task_to_proto(task: TaskSpec) -> workflow_pb2.TaskSpec:
    """Return a task as its message."""
    message = workflow_pb2.TaskSpec()
    _fill_task(message, task)
    return message


def _fill_parameter(message: workflow_pb2.ParameterSpec, parameter: ParameterSpec) -> None:
    message.name = parameter.name
    message.type = parameter_type_to_proto(parameter.type)
    message.description = parameter.description
    if not parameter.required:
        fill_value(message.default_value, parameter.default.value)


def _read_parameter(message: workflow_pb2.ParameterSpec, path: str, report: Report) -> ParameterSpec:
    kind = parameter_type_from_proto(message.type)
    if kind is None:
        report(f"{path}.type", f"{message.type} is no parameter type of this version.")
    default = MISSING
    if message.HasField("default_value"):
        default = Literal(read_value(message.default_value, f"{path}.default_value", report))
    return ParameterSpec(message.name, kind or ParameterType.ANY, default, message.description)


def _fill_task(message: workflow_pb2.TaskSpec, task: TaskSpec) -> None:
    message.key = task.key
    _fill_action(message, task.action)
    message.upstream.extend(task.upstream)
    if task.trigger_rule is not TriggerRule.ALL_SUCCESS:
        message.trigger_rule = trigger_rule_to_proto(task.trigger_rule)
    if task.retry != _NO_RETRY:
        _fill_retry(message.retry, task.retry)
    if task.resources != _ONE_CORE:
        message.resources.cpu_millis = task.resources.cpu_millis
        message.resources.memory_bytes = task.resources.memory_bytes
    if task.run_timeout is not None:
        message.run_timeout.CopyFrom(seconds_to_duration(task.run_timeout))
    if task.start_timeout is not None:
        message.start_timeout.CopyFrom(seconds_to_duration(task.start_timeout))
    message.priority = task.priority
    message.required = task.required
    message.agent_labels.update(task.agent_labels)


def _fill_action(message: workflow_pb2.TaskSpec, action: Action) -> None:
    part = action_to_proto(action)
    if isinstance(part, workflow_pb2.PythonAction):
        message.python.CopyFrom(part)
    else:
        message.shell.CopyFrom(part)


def _fill_retry(message: workflow_pb2.RetryPolicy, retry: RetryPolicy) -> None:
    message.retries = retry.retries
    message.factor = retry.factor
    message.delay.CopyFrom(seconds_to_duration(retry.delay))
    message.max_delay.CopyFrom(seconds_to_duration(retry.max_delay))


def _read_task(message: workflow_pb2.TaskSpec, path: str, report: Report) -> TaskSpec:
    rule = trigger_rule_from_proto(message.trigger_rule)
    if rule is None:
        report(f"{path}.trigger_rule", f"{message.trigger_rule} is no trigger rule of this version.")
    return TaskSpec(
        message.key,
        _read_action(message, path, report),
        tuple(message.upstream),
        rule or TriggerRule.ALL_SUCCESS,
        _read_retry(message.retry) if message.HasField("retry") else _NO_RETRY,
        _read_resources(message.resources) if message.HasField("resources") else _ONE_CORE,
        duration_to_seconds(message.run_timeout) if message.HasField("run_timeout") else None,
        duration_to_seconds(message.start_timeout) if message.HasField("start_timeout") else None,
        message.priority,
        message.required,
        tuple(sorted(message.agent_labels.items())),
    )


def _read_action(message: workflow_pb2.TaskSpec, path: str, report: Report) -> Action:
    match message.WhichOneof("action"):
        case "python":
            return action_from_proto(message.python, f"{path}.python", report)
        case "shell":
            return action_from_proto(message.shell, f"{path}.shell", report)
        case _:
            report(path, "The task has no action; exactly one of python and shell must be set.")
            return _NO_ACTION


def _read_retry(message: workflow_pb2.RetryPolicy) -> RetryPolicy:
    return RetryPolicy(
        message.retries,
        duration_to_seconds(message.delay) if message.HasField("delay") else _NO_RETRY.delay,
        message.factor or _NO_RETRY.factor,
        duration_to_seconds(message.max_delay) if message.HasField("max_delay") else _NO_RETRY.max_delay,
    )


def _read_resources(message: workflow_pb2.Resources) -> Resources:
    return Resources(
        message.cpu_millis if message.HasField("cpu_millis") else _ONE_CORE.cpu_millis,
        message.memory_bytes if message.HasField("memory_bytes") else _ONE_CORE.memory_bytes,
    )

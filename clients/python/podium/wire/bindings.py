"""Actions and the bindings of their inputs."""

from __future__ import annotations

from collections.abc import Iterable

from podium.bindings import Plain
from podium.model.exactness import Report
from podium.model.spec import (
    Action,
    Binding,
    ListBinding,
    Literal,
    ObjectBinding,
    Output,
    Parameter,
    PythonAction,
    ShellAction,
)
from podium.v1 import workflow_pb2
from podium.wire.values import fill_value, read_value

_NOT_SET = Literal(None)


def action_to_proto(action: Action) -> workflow_pb2.PythonAction | workflow_pb2.ShellAction:
    """Return an action as its message."""
    if isinstance(action, PythonAction):
        python = workflow_pb2.PythonAction(function=action.function)
        for binding in action.args:
            _fill(python.args.add(), binding)
        for name, binding in action.kwargs:
            _fill(python.kwargs[name], binding)
        return python
    shell = workflow_pb2.ShellAction(exec=action.exec, script=action.script, env=dict(action.env), cwd=action.cwd)
    for name, binding in action.env_bindings:
        _fill(shell.env_bindings[name], binding)
    return shell


def action_from_proto(
    message: workflow_pb2.PythonAction | workflow_pb2.ShellAction, path: str, report: Report
) -> PythonAction | ShellAction:
    """Return an action, its maps ordered by key; what cannot be read is reported and reads as null."""
    if isinstance(message, workflow_pb2.PythonAction):
        args = tuple(_read(item, f"{path}.args[{index}]", report) for index, item in enumerate(message.args))
        kwargs = tuple(
            (name, _read(message.kwargs[name], f"{path}.kwargs.{name}", report)) for name in sorted(message.kwargs)
        )
        return PythonAction(message.function, args, kwargs)
    bindings = message.env_bindings
    return ShellAction(
        tuple(message.exec),
        message.script,
        tuple(sorted(message.env.items())),
        message.cwd,
        tuple((name, _read(bindings[name], f"{path}.env_bindings.{name}", report)) for name in sorted(bindings)),
    )


def plain_action(message: workflow_pb2.PythonAction | workflow_pb2.ShellAction) -> Plain:
    """Return an action in JSON's terms, as `podium.bindings` takes it, for a process without protobuf."""
    if isinstance(message, workflow_pb2.PythonAction):
        return {
            "function": message.function,
            "args": [plain_binding(item) for item in message.args],
            "kwargs": {name: plain_binding(message.kwargs[name]) for name in sorted(message.kwargs)},
        }
    return {
        "exec": list(message.exec),
        "script": message.script,
        "env": dict(message.env),
        "cwd": message.cwd,
        "env_bindings": {name: plain_binding(message.env_bindings[name]) for name in sorted(message.env_bindings)},
    }


def plain_binding(message: workflow_pb2.Binding) -> Plain:
    """Return a validated binding in JSON's terms, as `podium.bindings.resolve` takes it."""
    match message.WhichOneof("source"):
        case "parameter":
            return {"parameter": message.parameter}
        case "output":
            return {"output": {"task": message.output.task, "path": list(message.output.path)}}
        case "list":
            return {"list": [plain_binding(item) for item in message.list.items]}
        case "object":
            entries = message.object.entries
            return {"object": {key: plain_binding(entries[key]) for key in sorted(entries)}}
        case _:
            return {"literal": read_value(message.literal, "literal", _ignore)}


def _ignore(path: str, description: str) -> None:
    """Take a report about a definition that was checked when it was registered."""


def _fill(message: workflow_pb2.Binding, binding: Binding) -> None:
    match binding:
        case Literal(value):
            fill_value(message.literal, value)
        case Parameter(name):
            message.parameter = name
        case Output(task, path):
            message.output.task = task
            message.output.path.extend(path)
        case ListBinding(items):
            message.list.SetInParent()
            for item in items:
                _fill(message.list.items.add(), item)
        case ObjectBinding(entries):
            message.object.SetInParent()
            for key, item in entries:
                _fill(message.object.entries[key], item)


def _read(message: workflow_pb2.Binding, path: str, report: Report) -> Binding:
    match message.WhichOneof("source"):
        case "literal":
            return Literal(read_value(message.literal, path, report))
        case "parameter":
            return Parameter(message.parameter)
        case "output":
            return Output(message.output.task, tuple(message.output.path))
        case "list":
            return ListBinding(_read_all(message.list.items, path, report))
        case "object":
            entries = message.object.entries
            return ObjectBinding(tuple((key, _read(entries[key], f"{path}.{key}", report)) for key in sorted(entries)))
        case _:
            report(path, "Exactly one of literal, parameter, output, list and object must be set.")
            return _NOT_SET


def _read_all(messages: Iterable[workflow_pb2.Binding], path: str, report: Report) -> tuple[Binding, ...]:
    return tuple(_read(item, f"{path}[{index}]", report) for index, item in enumerate(messages))

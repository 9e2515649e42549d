"""Where a task's arguments come from, resolved. Standard library only, so that workers need no more.

A binding in JSON's terms ("plain") has exactly one key: {"literal": value}, {"parameter": name},
{"output": {"task": key, "path": [step, ...]}}, {"list": [binding, ...]} or {"object": {key: binding, ...}}.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, TypeAlias

from podium.errors import RejectedInputError
from podium.model.parameters import json_type
from podium.model.spec import (
    Action,
    Binding,
    JsonValue,
    ListBinding,
    Literal,
    ObjectBinding,
    Output,
    Parameter,
    PythonAction,
)
from podium.results import FileRef, with_files

Plain: TypeAlias = dict[str, Any]
OpenFile: TypeAlias = Callable[[FileRef], object]

_SHOWN_KEYS = 10


class Inputs:
    """What a task's bindings draw from."""

    def __init__(self, params: Mapping[str, JsonValue], outputs: Mapping[str, JsonValue], open_file: OpenFile) -> None:
        """Take a run's parameters and its tasks' outputs by key.

        Args:
            params: The run's parameters, defaults filled in.
            outputs: Values of upstream tasks, blobs already loaded; a task that has none (skipped, failed) is left out
                and reads as None, and so does each part of it.
            open_file: Makes what the task gets for a file in an output: a local path, as a rule.
        """
        self._params = params
        self._outputs = outputs
        self._open_file = open_file

    def resolve(self, binding: Plain) -> Any:
        """Return a binding's value.

        Raises:
            RejectedInputError: An output has no such part.
        """
        [(kind, source)] = binding.items()
        match kind:
            case "literal":
                return source
            case "parameter":
                return self._params[source]
            case "output":
                return self._output(source["task"], source["path"])
            case "list":
                return [self.resolve(item) for item in source]
            case "object":
                return {key: self.resolve(item) for key, item in source.items()}
            case _:
                raise RejectedInputError(f"A binding has the unknown kind {kind!r}.", kind=kind)

    def arguments(self, action: Plain) -> tuple[list[Any], dict[str, Any]]:
        """Return the positional and the keyword arguments of a python action in JSON's terms."""
        args = [self.resolve(binding) for binding in action["args"]]
        return args, {name: self.resolve(binding) for name, binding in action["kwargs"].items()}

    def environment(self, action: Plain) -> dict[str, str]:
        """Return the environment variables of a shell action in JSON's terms: text as it is, all else as JSON."""
        bound = {name: environment_value(self.resolve(item)) for name, item in action["env_bindings"].items()}
        return {**action["env"], **bound}

    def _output(self, task: str, path: Sequence[str]) -> Any:
        if task not in self._outputs:
            return None
        return with_files(part(self._outputs[task], path, task), self._open_file)


def part(value: JsonValue, path: Sequence[str], task: str) -> JsonValue:
    """Return the part of a task's output that `path` leads to.

    Raises:
        RejectedInputError: There is no such part; the message says which step fails, and what is there.
    """
    for position, step in enumerate(path):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            place = "".join(f"[{name!r}]" for name in path[:position])
            raise RejectedInputError(
                f"The output of {task!r}{f' at {place}' if place else ''} has no {step!r}: it is {_described(value)}.",
                task=task,
                step=step,
            )
    return value


def environment_value(value: object) -> str:
    """Return a value as a program finds it in its environment: text and paths as they are, all else as JSON."""
    if isinstance(value, str | PurePath):
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def plain(binding: Binding) -> Plain:
    """Return a binding of the model in JSON's terms."""
    match binding:
        case Literal(value):
            return {"literal": value}
        case Parameter(name):
            return {"parameter": name}
        case Output(task, path):
            return {"output": {"task": task, "path": list(path)}}
        case ListBinding(items):
            return {"list": [plain(item) for item in items]}
        case ObjectBinding(entries):
            return {"object": {key: plain(item) for key, item in entries}}


def plain_action(action: Action) -> Plain:
    """Return an action of the model in JSON's terms."""
    if isinstance(action, PythonAction):
        return {
            "function": action.function,
            "args": [plain(item) for item in action.args],
            "kwargs": {name: plain(item) for name, item in action.kwargs},
        }
    return {
        "exec": list(action.exec),
        "script": action.script,
        "env": dict(action.env),
        "cwd": action.cwd,
        "env_bindings": {name: plain(item) for name, item in action.env_bindings},
    }


def _described(value: JsonValue) -> str:
    if isinstance(value, dict):
        names = sorted(value)
        shown = ", ".join(names[:_SHOWN_KEYS]) + (", ..." if len(names) > _SHOWN_KEYS else "")
        return f"an object with the keys {shown}" if names else "an object without keys"
    if isinstance(value, list):
        return f"an array of {len(value):,} elements"
    return json_type(value)

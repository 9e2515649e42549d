"""What the tasks of a workflow version are in the agents' terms: JSON, made once for all tasks that agree in it."""

from __future__ import annotations

import json
from array import array
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration

from podium.v1 import workflow_pb2
from podium.wire import plain_action
from podium_coordinator.domain.graph import Graph

Action = workflow_pb2.PythonAction | workflow_pb2.ShellAction


@dataclass(frozen=True, slots=True)
class Common:
    """What the orders of several tasks have in common: what to do, what it holds, and how long it may take."""

    action: bytes
    resources: workflow_pb2.Resources
    run_timeout: Duration | None


@dataclass(slots=True)
class Wording:
    """The words for each task: `common_of` and `arguments_of` give, by task, which of the distinct ones it has."""

    commons: list[Common]
    common_of: array[int]
    arguments_of: array[int]
    _calls: list[workflow_pb2.PythonAction | None]
    """For each distinct call its action; None for programs, which are not called with anything."""
    _arguments: dict[int, bytes] = field(default_factory=dict)

    def arguments(self, task: int) -> bytes | None:
        """Return what a task's function is called with, as JSON; None for a program."""
        which = self.arguments_of[task]
        known = self._arguments.get(which)
        if known is not None:
            return known
        call = self._calls[which]
        if call is None:
            return None
        plain = plain_action(call)
        said = self._arguments[which] = _json({"args": plain["args"], "kwargs": plain["kwargs"]})
        return said


def word(tasks: Iterable[workflow_pb2.TaskSpec], graph: Graph) -> Wording:
    """Sort tasks by what they agree in. Takes a few microseconds per task."""
    commons: dict[Hashable, int] = {}
    calls: dict[bytes, int] = {}
    wording = Wording([], array("i"), array("i"), [])
    for task, message in enumerate(tasks):
        python = message.WhichOneof("action") != "shell"
        call = _call(message.python) if python else b""
        if call not in calls:
            calls[call] = len(calls)
            wording._calls.append(workflow_pb2.PythonAction.FromString(call) if python else None)  # noqa: SLF001 - its maker
        wording.arguments_of.append(calls[call])
        timeout = message.run_timeout.SerializeToString() if message.HasField("run_timeout") else None
        shared = (_what(message, python), graph.class_of[task], timeout)
        if shared not in commons:
            commons[shared] = len(commons)
            wording.commons.append(_common(message, python, graph, task))
        wording.common_of.append(commons[shared])
    return wording


def _call(action: workflow_pb2.PythonAction) -> bytes:
    called = workflow_pb2.PythonAction()
    called.CopyFrom(action)
    called.function = "-"  # never the empty message, which stands for programs
    return called.SerializeToString(deterministic=True)


def _what(message: workflow_pb2.TaskSpec, python: bool) -> str | bytes:
    return message.python.function if python else message.shell.SerializeToString(deterministic=True)


def _common(message: workflow_pb2.TaskSpec, python: bool, graph: Graph, task: int) -> Common:
    needs = graph.scheduling_class(task)
    action = {"function": message.python.function} if python else plain_action(message.shell)
    timeout = Duration.FromString(message.run_timeout.SerializeToString()) if message.HasField("run_timeout") else None
    resources = workflow_pb2.Resources(cpu_millis=needs.cpu_millis, memory_bytes=needs.memory_bytes)
    return Common(_json(action), resources, timeout)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

"""Workflows written in YAML or JSON.

    workflow: daily
    description: What it is for.
    timeout: 2h
    parameters:
      day: {type: string, default: "2013-01-01", description: The day to load.}
    tasks:
      extract:
        python: steps:extract
        args: [{$param: day}]
      report:
        script: wc -l "$FILE"
        env: {FILE: {$output: extract, $path: [file]}}
        after: [extract]
        retries: 2

A task has `python` (with `args` and `kwargs`), or `script`, or `exec` (with `env` and `cwd`); `after`; and the options
of `podium.options.TaskOptions`. Values are literals, `{$param: name}`, `{$output: task}`, or with `$path` a part of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from podium.errors import FieldViolation, InvalidWorkflowError
from podium.located import Located, UnreadableError, read_json, read_yaml
from podium.model.exactness import canonical
from podium.model.parameters import json_type
from podium.model.problems import MAX_PROBLEMS, did_you_mean
from podium.model.quantities import seconds
from podium.model.spec import (
    MISSING,
    Action,
    Binding,
    ListBinding,
    Literal,
    ObjectBinding,
    Output,
    Parameter,
    ParameterSpec,
    ParameterType,
    PythonAction,
    ShellAction,
    TaskSpec,
    WorkflowSpec,
)
from podium.model.validation import check
from podium.options import Options, TaskOptions, read_options

T = TypeVar("T")

SUFFIXES = (".yaml", ".yml", ".json")

_HEAD = ("workflow", "description", "timeout", "parameters", "tasks")
_PARAMETER = ("type", "default", "description")
_OPTIONS = tuple(name for name in TaskOptions.__annotations__ if name != "key")
_PYTHON = ("python", "args", "kwargs")
_SHELL = ("script", "exec", "env", "cwd")
_TASK = (*_PYTHON, *_SHELL, "after", *_OPTIONS)
_REFERENCE = ("$param", "$output", "$path")

# What a definition's fields are called in the text.
_FIELDS = {
    "retries": "retry.retries",
    "delay": "retry.delay",
    "factor": "retry.factor",
    "max_delay": "retry.max_delay",
    "cpu": "resources.cpu_millis",
    "memory": "resources.memory_bytes",
    "timeout": "run_timeout",
    "labels": "agent_labels",
    "after": "upstream",
    "python": "python.function",
    "args": "python.args",
    "kwargs": "python.kwargs",
    "script": "shell.script",
    "exec": "shell.exec",
    "env": "shell.env",
    "cwd": "shell.cwd",
}
_HEAD_FIELDS = {"workflow": "name", "timeout": "run_timeout"}
_WORKFLOW_KEY = re.compile(r'^\s*(?:\{\s*)?["\']?workflow["\']?\s*:', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TextWorkflow:
    """A workflow read from a file, and the line of each task."""

    spec: WorkflowSpec
    file: Path
    task_lines: dict[str, int] = field(default_factory=dict)


def looks_like_workflow(text: str) -> bool:
    """Tell whether a text has a line that begins with the key `workflow`, as every workflow has."""
    return _WORKFLOW_KEY.search(text) is not None


def read_workflow(path: Path) -> TextWorkflow:
    """Read a workflow from a YAML or JSON file, and check it.

    Raises:
        InvalidWorkflowError: With one violation, its line and what is wrong for each problem; `metadata` has the file.
        OSError: The file cannot be read.
    """
    reader = _Reader()
    try:
        text = path.read_bytes().decode()
        root = read_json(text) if path.suffix == ".json" else read_yaml(text)
    except UnicodeDecodeError as error:
        raise _invalid(
            path, [FieldViolation("", f"It is no UTF-8 text: {error.reason} at byte {error.start}.")]
        ) from None
    except UnreadableError as error:
        raise _invalid(path, [FieldViolation("", str(error), error.line)]) from None
    spec = reader.workflow(root)
    problems = reader.problems + reader.not_told(check(spec).found)
    if problems:
        raise _invalid(path, sorted(problems, key=lambda problem: problem.line))
    lines = {task.key: reader.task_lines[index] for index, task in enumerate(spec.tasks)}
    return TextWorkflow(spec, path, lines)


def _invalid(path: Path, problems: list[FieldViolation]) -> InvalidWorkflowError:
    count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
    return InvalidWorkflowError(
        f"{path} does not define a sound workflow: {count}.", tuple(problems[:MAX_PROBLEMS]), file=str(path)
    )


class _Reader:
    """Reads one workflow, and goes on after each problem."""

    def __init__(self) -> None:
        self.problems: list[FieldViolation] = []
        self.task_lines: list[int] = []
        self._places: dict[str, tuple[str, int]] = {}
        self._keys: frozenset[str] = frozenset()

    def workflow(self, root: Located) -> WorkflowSpec:
        """Read a definition; it is of use only when there are no problems."""
        head = self._object(root, "", _HEAD, required=("workflow", "tasks"))
        self._places = {"": ("", root.line)}
        for shown in _HEAD:
            self._places[_HEAD_FIELDS.get(shown, shown)] = (shown, root.key_lines.get(shown, root.line))
        return WorkflowSpec(
            self._text(head.get("workflow"), "workflow"),
            self._tasks(head.get("tasks")),
            self._parameters(head.get("parameters")),
            self._text(head.get("description"), "description"),
            self._converted(head.get("timeout"), "timeout", seconds),
        )

    def not_told(self, found: list[FieldViolation]) -> list[FieldViolation]:
        """Return violations of the definition in the text's terms, without those that follow from other problems."""
        told = tuple(problem.field for problem in self.problems)
        return [problem for problem in map(self._translate, found) if not problem.field.startswith(told)]

    def _translate(self, violation: FieldViolation) -> FieldViolation:
        known = violation.field
        while known not in self._places:
            known = known[: max(known.rfind("."), known.rfind("["), 0)]
        shown, line = self._places[known]
        rest = "" if known.endswith(".upstream") else violation.field[len(known) :]
        return FieldViolation(f"{shown}{rest}".removeprefix("."), violation.description, line)

    def _parameters(self, node: Located | None) -> tuple[ParameterSpec, ...]:
        if node is None:
            return ()
        found = []
        for index, (name, item) in enumerate(self._object(node, "parameters").items()):
            self._places[f"parameters[{index}]"] = (f"parameters.{name}", node.key_lines[name])
            found.append(self._parameter(name, item, f"parameters.{name}"))
        return tuple(found)

    def _parameter(self, name: str, node: Located, path: str) -> ParameterSpec:
        if isinstance(node.content, str):
            return ParameterSpec(name, self._converted(node, path, _parameter_type) or ParameterType.ANY)
        fields = self._object(node, path, _PARAMETER)
        default = fields.get("default")
        return ParameterSpec(
            name,
            self._converted(fields.get("type"), f"{path}.type", _parameter_type) or ParameterType.ANY,
            MISSING if default is None else Literal(canonical(default.plain())),
            self._text(fields.get("description"), f"{path}.description"),
        )

    def _tasks(self, node: Located | None) -> tuple[TaskSpec, ...]:
        if node is None:
            return ()
        found = []
        tasks = self._object(node, "tasks")
        self._keys = frozenset(tasks)
        for index, (key, item) in enumerate(tasks.items()):
            self.task_lines.append(node.key_lines[key])
            self._places[f"tasks[{index}]"] = (f"tasks.{key}", node.key_lines[key])
            found.append(self._task(key, item, f"tasks.{key}", f"tasks[{index}]"))
        return tuple(found)

    def _task(self, key: str, node: Located, path: str, place: str) -> TaskSpec:
        fields = self._object(node, path, _TASK)
        for name in fields:
            self._places[f"{place}.{_FIELDS.get(name, name)}"] = (f"{path}.{name}", node.key_lines[name])
        self._places.setdefault(f"{place}.upstream", self._places[place])
        upstream: dict[str, None] = {}
        action = self._action(fields, node, path, place, upstream)
        for item in self._list(fields.get("after"), f"{path}.after"):
            upstream[self._text(item, f"{path}.after")] = None
        return self._options(fields, path).task_spec(key, action, tuple(upstream))

    def _action(
        self, fields: dict[str, Located], node: Located, path: str, place: str, upstream: dict[str, None]
    ) -> Action:
        kinds = [name for name in ("python", "script", "exec") if name in fields]
        if len(kinds) != 1:
            self._add(path, "A task has exactly one of python, script and exec.", node.line)
            return PythonAction("")
        others = _SHELL if kinds == ["python"] else _PYTHON
        for name in others:
            if name in fields:
                self._add(f"{path}.{name}", f"It does not go with {kinds[0]}.", fields[name].line)
        return (
            self._python(fields, path, place, upstream)
            if kinds == ["python"]
            else self._shell(fields, path, place, upstream)
        )

    def _python(self, fields: dict[str, Located], path: str, place: str, upstream: dict[str, None]) -> Action:
        args = []
        for index, item in enumerate(self._list(fields.get("args"), f"{path}.args")):
            self._places[f"{place}.python.args[{index}]"] = (f"{path}.args[{index}]", item.line)
            args.append(self._bind(item, f"{path}.args[{index}]", upstream))
        kwargs = []
        for name, item in sorted(self._mapping(fields.get("kwargs"), f"{path}.kwargs").items()):
            self._places[f"{place}.python.kwargs.{name}"] = (f"{path}.kwargs.{name}", item.line)
            kwargs.append((name, self._bind(item, f"{path}.kwargs.{name}", upstream)))
        return PythonAction(self._text(fields["python"], f"{path}.python"), tuple(args), tuple(kwargs))

    def _shell(self, fields: dict[str, Located], path: str, place: str, upstream: dict[str, None]) -> Action:
        plain: list[tuple[str, str]] = []
        bound: list[tuple[str, Binding]] = []
        for name, item in sorted(self._mapping(fields.get("env"), f"{path}.env").items()):
            for kind in ("env", "env_bindings"):
                self._places[f"{place}.shell.{kind}.{name}"] = (f"{path}.env.{name}", item.line)
            if isinstance(item.content, str):
                plain.append((name, item.content))
            else:
                bound.append((name, self._bind(item, f"{path}.env.{name}", upstream)))
        arguments = self._list(fields.get("exec"), f"{path}.exec")
        return ShellAction(
            tuple(self._text(item, f"{path}.exec[{index}]") for index, item in enumerate(arguments)),
            self._text(fields.get("script"), f"{path}.script"),
            tuple(plain),
            self._text(fields.get("cwd"), f"{path}.cwd"),
            tuple(bound),
        )

    def _options(self, fields: dict[str, Located], path: str) -> Options:
        sound: dict[str, Any] = {}
        for name in _OPTIONS:
            read = self._converted(fields.get(name), f"{path}.{name}", partial(_read_option, name))
            if read is not None:
                sound[name] = fields[name].plain()
        return read_options(TaskOptions(**sound))  # type: ignore[typeddict-item]  # each has just been read

    def _bind(self, node: Located, path: str, upstream: dict[str, None]) -> Binding:
        if isinstance(node.content, list):
            parts = [self._bind(item, f"{path}[{index}]", upstream) for index, item in enumerate(node.content)]
            if all(isinstance(part, Literal) for part in parts):
                return Literal(canonical(node.plain()))
            return ListBinding(tuple(parts))
        if isinstance(node.content, dict):
            if any(key.startswith("$") for key in node.content):
                return self._reference(node, path, upstream)
            entries = {key: self._bind(item, f"{path}.{key}", upstream) for key, item in sorted(node.content.items())}
            if all(isinstance(part, Literal) for part in entries.values()):
                return Literal(canonical(node.plain()))
            return ObjectBinding(tuple(entries.items()))
        return Literal(canonical(node.content))

    def _reference(self, node: Located, path: str, upstream: dict[str, None]) -> Binding:
        fields = self._object(node, path, _REFERENCE)
        if set(fields) == {"$param"}:
            return Parameter(self._text(fields["$param"], f"{path}.$param"))
        if "$output" not in fields or "$param" in fields:
            self._add(
                path, "A reference is {$param: NAME}, or {$output: TASK}, with $path for a part of it.", node.line
            )
            return Literal(None)
        task = self._text(fields["$output"], f"{path}.$output")
        if task in self._keys:
            upstream[task] = None
        steps = self._list(fields.get("$path"), f"{path}.$path")
        return Output(task, tuple(self._step(step, f"{path}.$path") for step in steps))

    def _step(self, node: Located, path: str) -> str:
        if isinstance(node.content, int) and not isinstance(node.content, bool) and node.content >= 0:
            return str(node.content)
        return self._text(node, path)

    def _object(
        self, node: Located, path: str, known: tuple[str, ...] = (), required: tuple[str, ...] = ()
    ) -> dict[str, Located]:
        """Return an object's fields; unknown ones are refused where some are known."""
        if not isinstance(node.content, dict):
            self._add(path, f"It must be an object, and is {json_type(node.plain())}.", node.line)
            return {}
        for name in required:
            if name not in node.content:
                self._add(f"{path}.{name}".removeprefix("."), "The key is missing.", node.line)
        if not known:
            return node.content
        for name in node.content:
            if name not in known:
                where = f"{path}.{name}".removeprefix(".")
                self._add(where, f"There is no key {name!r} here.{did_you_mean(name, known)}", node.key_lines[name])
        return {name: item for name, item in node.content.items() if name in known}

    def _mapping(self, node: Located | None, path: str) -> dict[str, Located]:
        return {} if node is None else self._object(node, path)

    def _list(self, node: Located | None, path: str) -> list[Located]:
        if node is None:
            return []
        if isinstance(node.content, list):
            return node.content
        self._add(path, f"It must be a list, and is {json_type(node.plain())}.", node.line)
        return []

    def _text(self, node: Located | None, path: str) -> str:
        if node is None:
            return ""
        if not isinstance(node.content, str):
            shown = (
                f"{json_type(node.plain())}; put it into quotes"
                if not isinstance(node.content, list | dict)
                else json_type(node.plain())
            )
            self._add(path, f"It must be text, and is {shown}.", node.line)
            return ""
        return node.content

    def _converted(self, node: Located | None, path: str, convert: Callable[[Any], T]) -> T | None:
        if node is None:
            return None
        try:
            return convert(node.plain())
        except ValueError as error:
            self._add(path, str(error), node.line)
            return None

    def _add(self, path: str, description: str, line: int) -> None:
        self.problems.append(FieldViolation(path, description, line))


def _read_option(name: str, value: object) -> Options:
    return read_options(TaskOptions(**{name: value}))  # type: ignore[misc]  # reading checks it


def _parameter_type(value: object) -> ParameterType:
    known = [kind.value for kind in ParameterType]
    if value not in known:
        raise ValueError(f"{value!r} is no type of a parameter. Known: {', '.join(known)}.")
    return ParameterType(value)

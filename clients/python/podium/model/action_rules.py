"""When a task's action is sound: its function or program, and where its inputs come from."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import PurePosixPath
from typing import assert_never

from podium.model.exactness import MAX_DEPTH, MAX_INTEGER, check_exact, json_bytes
from podium.model.problems import Problems, did_you_mean, quoted
from podium.model.spec import (
    Binding,
    ListBinding,
    Literal,
    ObjectBinding,
    Output,
    Parameter,
    PythonAction,
    ShellAction,
    TaskSpec,
)

MAX_LITERAL_BYTES = 256 * 1024
"""The most that one literal takes as JSON, in bytes."""

MAX_ARGUMENT_BYTES = 128 * 1024 - 1
"""The longest argument, script or environment entry that Linux passes to a program, in bytes."""

MAX_ARGUMENTS = 10_000
MAX_PATH_STEPS = 64

_FUNCTION = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_MAX_FUNCTION = 512
_MAX_SHORT_TEXT = 1_000
_FEW = 8


class Scope:
    """What the bindings of `task` may refer to. `outputs` says whether its trigger rule leaves upstreams any output."""

    __slots__ = ("key", "outputs", "parameters", "tasks", "upstream")

    def __init__(self, task: TaskSpec, tasks: Mapping[str, int], parameters: frozenset[str], *, outputs: bool) -> None:
        self.key = task.key
        self.upstream: Collection[str] = task.upstream if len(task.upstream) < _FEW else frozenset(task.upstream)
        self.tasks = tasks
        self.parameters = parameters
        self.outputs = outputs


def check_action(task: TaskSpec, path: str, scope: Scope, problems: Problems) -> None:
    """Report what is wrong with the action of the task at `path`, as in "tasks[3]"."""
    if isinstance(task.action, PythonAction):
        _check_python(task.action, f"{path}.python", scope, problems)
    else:
        _check_shell(task.action, f"{path}.shell", scope, problems)


def _check_python(action: PythonAction, path: str, scope: Scope, problems: Problems) -> None:
    if not _names_function(action.function):
        problems.add(
            f"{path}.function",
            f'{quoted(action.function)} names no function: write "module:function" in at most {_MAX_FUNCTION} letters.',
        )
    if len(action.args) + len(action.kwargs) > MAX_ARGUMENTS:
        problems.add(path, f"The call has more than {MAX_ARGUMENTS:,} arguments; pass a list instead.")
        return
    for index, binding in enumerate(action.args):
        if not _evident(binding, scope):
            _check_binding(binding, f"{path}.args[{index}]", scope, problems)
    for name, binding in action.kwargs:
        if not name.isidentifier():
            problems.add(f"{path}.kwargs", f"{quoted(name)} cannot be an argument's name.")
        if not _evident(binding, scope):
            _check_binding(binding, f"{path}.kwargs.{name}", scope, problems)
    _check_unique([name for name, _ in action.kwargs], f"{path}.kwargs", problems)


@lru_cache(maxsize=1_000)
def _names_function(text: str) -> bool:
    return len(text) <= _MAX_FUNCTION and _FUNCTION.fullmatch(text) is not None


def _check_shell(action: ShellAction, path: str, scope: Scope, problems: Problems) -> None:
    if bool(action.exec) == bool(action.script):
        problems.add(path, "Exactly one of exec (a program with its arguments) and script must be set.")
    if len(action.exec) > MAX_ARGUMENTS:
        problems.add(f"{path}.exec", f"The program has more than {MAX_ARGUMENTS:,} arguments.")
        return
    for index, argument in enumerate(action.exec):
        _check_program_text(argument, f"{path}.exec[{index}]", problems)
    if action.exec and not action.exec[0]:
        problems.add(f"{path}.exec[0]", "The program's name is empty.")
    _check_program_text(action.script, f"{path}.script", problems)
    _check_folder(action.cwd, f"{path}.cwd", problems)
    for name, value in action.env:
        _check_program_text(f"{name}={value}", f"{path}.env.{name}", problems)
    for name, binding in action.env_bindings:
        _check_binding(binding, f"{path}.env_bindings.{name}", scope, problems)
    names = [name for name, _ in (*action.env, *action.env_bindings)]
    for name in names:
        if not name or "=" in name or "\0" in name:
            problems.add(f"{path}.env", f"{quoted(name)} cannot be an environment variable's name.")
    _check_unique(names, f"{path}.env", problems)


def _check_unique(names: list[str], path: str, problems: Problems) -> None:
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    for name in names:
        if name in seen:
            problems.add(path, f"{quoted(name)} is set twice.")
        seen.add(name)


def _check_program_text(text: str, path: str, problems: Problems) -> None:
    if "\0" in text:
        problems.add(path, "It has a NUL character, which no program can be given.")
    size = len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
    if size > MAX_ARGUMENT_BYTES:
        problems.add(
            path,
            f"It has {size:,} bytes; programs can be given {MAX_ARGUMENT_BYTES:,}. Put it into a file of the bundle.",
        )
    check_exact(text, path, problems.add)


def _check_folder(cwd: str, path: str, problems: Problems) -> None:
    folder = PurePosixPath(cwd)
    if folder.is_absolute() or ".." in folder.parts or "\0" in cwd:
        problems.add(path, f"{quoted(cwd)} must be a folder inside the bundle: relative, and without '..'.")


def _evident(binding: Binding, scope: Scope) -> bool:
    """Tell whether the commonest kinds of binding are sound, at a fraction of the full check's cost."""
    match binding:
        case Output(task, path):
            return task in scope.upstream and task in scope.tasks and scope.outputs and len(path) < _FEW
        case Literal(value):
            return (
                value is None
                or (type(value) is int and -MAX_INTEGER <= value <= MAX_INTEGER)
                or (type(value) is str and value.isascii() and len(value) <= _MAX_SHORT_TEXT)
            )
        case _:
            return False


def _check_binding(binding: Binding, path: str, scope: Scope, problems: Problems, depth: int = 0) -> None:
    match binding:
        case Literal(value):
            _check_literal(value, path, problems, depth)
        case Parameter(name):
            if name not in scope.parameters:
                known = did_you_mean(name, scope.parameters)
                problems.add(path, f"The workflow has no parameter {quoted(name)}.{known}")
        case Output():
            _check_output(binding, path, scope, problems)
        case ListBinding(items):
            parts = ((f"{path}[{index}]", item) for index, item in enumerate(items))
            _check_parts(parts, path, scope, problems, depth)
        case ObjectBinding(entries):
            _check_parts(((f"{path}.{key}", item) for key, item in entries), path, scope, problems, depth)
            _check_unique([key for key, _ in entries], path, problems)
        case _:
            assert_never(binding)


def _check_parts(parts: Iterable[tuple[str, Binding]], path: str, scope: Scope, problems: Problems, depth: int) -> None:
    if depth >= MAX_DEPTH:
        problems.add(path, f"Arrays and objects are nested deeper than {MAX_DEPTH} levels; flatten the value.")
        return
    for part_path, part in parts:
        _check_binding(part, part_path, scope, problems, depth + 1)


def _check_literal(value: object, path: str, problems: Problems, depth: int) -> None:
    before = problems.count
    check_exact(value, path, problems.add, depth)
    if problems.count > before or (isinstance(value, str) and len(value) <= _MAX_SHORT_TEXT):
        return
    size = len(json_bytes(value))  # type: ignore[arg-type]  # check_exact found nothing but JSON
    if size > MAX_LITERAL_BYTES:
        problems.add(
            path,
            f"The value takes {size:,} bytes as JSON; the limit is {MAX_LITERAL_BYTES:,} (256 KiB). "
            "Put it into a file of the bundle, or let a task return it.",
        )


def _check_output(output: Output, path: str, scope: Scope, problems: Problems) -> None:
    task = quoted(output.task)
    if output.task not in scope.tasks:
        problems.add(path, f"There is no task {task}.{did_you_mean(output.task, scope.tasks)}")
    elif output.task not in scope.upstream:
        problems.add(
            path, f"It uses the output of {task}, which is not upstream of {quoted(scope.key)}. Add it to upstream."
        )
    elif not scope.outputs:
        problems.add(
            path,
            f"It uses the output of {task}, but the trigger rule of {quoted(scope.key)} starts it without one. "
            "Follow the task without using its output.",
        )
    if len(output.path) > MAX_PATH_STEPS:
        problems.add(path, f"The path into the output has {len(output.path):,} steps; the limit is {MAX_PATH_STEPS}.")

"""The decorators: tasks, workflows, and shell tasks within them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack, overload

from podium.annotations import read_parameters
from podium.building import Node, Reference, TaskNode, building, current_builder
from podium.errors import FieldViolation, InvalidWorkflowError
from podium.model.problems import quoted
from podium.model.quantities import seconds
from podium.model.spec import PythonAction, WorkflowSpec
from podium.model.validation import MAX_DESCRIPTION, check
from podium.options import TaskOptions, read_options
from podium.sites import Site, caller, site_of

if TYPE_CHECKING:
    from podium.local_run import LocalRun

P = ParamSpec("P")
R = TypeVar("R")

_MAIN = "__main__"


class Task(Generic[P, R]):
    """A function that agents can run. Called inside a workflow function it makes a node; elsewhere it just runs."""

    __name__: str
    __wrapped__: Callable[P, R]

    def __init__(self, function: Callable[P, R], options: TaskOptions, site: Site, *, key_is_final: bool) -> None:
        update_wrapper(self, function)
        self._given = options
        self._key_is_final = key_is_final
        try:
            self._options = read_options(options, key_is_final=key_is_final)
        except ValueError as error:
            raise site.error(f"Task {quoted(function.__name__)}: {error}") from None
        self._signature = inspect.signature(function)
        self._reference = f"{function.__module__}:{function.__qualname__.replace('.<locals>', '')}"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run the function; inside a workflow function, make a node and return its `TaskNode` instead."""
        builder = current_builder()
        if builder is None:
            return self.__wrapped__(*args, **kwargs)
        site = caller()
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise site.error(f"{self.__wrapped__.__name__}(): {error}.") from None
        return builder.add_python(self._reference, self.__wrapped__, args, kwargs, self._options, site)

    def __repr__(self) -> str:
        return f"<task {self._reference}>"

    def options(self, **options: Unpack[TaskOptions]) -> Task[P, R]:
        """Return the task with some options changed; a key given here must be free."""
        merged: TaskOptions = {**self._given, **options}
        return Task(self.__wrapped__, merged, caller(), key_is_final=self._key_is_final or "key" in options)


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(**options: Unpack[TaskOptions]) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(
    function: Callable[P, R] | None = None, /, **options: Unpack[TaskOptions]
) -> Task[P, R] | Callable[[Callable[P, R]], Task[P, R]]:
    """Make a task of a function: `@task`, or `@task(retries=3, timeout="5m")`.

    Raises:
        DefinitionError: The function cannot be a task, or an option is wrong.
    """
    site = caller()

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        _check_function(function, "task", site)
        return Task(function, options, site, key_is_final=False)

    return decorate if function is None else decorate(function)


def shell(
    command: str | Sequence[str],
    /,
    *,
    env: Mapping[str, object] | None = None,
    cwd: str = "",
    **options: Unpack[TaskOptions],
) -> TaskNode:
    """Make a node that runs a program, inside a workflow function.

    Args:
        command: Text for `/bin/sh -eu -c`, or a program and its arguments, which need no shell.
        env: Environment variables. Outputs, parameters and other values may stand here: text is given as it is, all
            else as JSON, files as their paths.
        cwd: The working folder, relative to the project's folder; a fresh scratch folder without.
        **options: As for `task`.

    Raises:
        DefinitionError: It is called outside of a workflow function, or an argument is wrong.
    """
    site = caller()
    builder = current_builder()
    if builder is None:
        raise site.error("shell(...) makes a node of a workflow; call it inside a function decorated with @workflow.")
    try:
        read = read_options(options, key_is_final=True)
    except ValueError as error:
        raise site.error(f"shell(): {error}") from None
    return builder.add_shell(_command(command, site), _environment(env, site), cwd, read, site)


@dataclass(frozen=True, slots=True)
class Built:
    """A workflow whose function has run: its definition, and for each task where it stands and what it calls."""

    spec: WorkflowSpec
    nodes: Mapping[str, Node]


class Workflow(Generic[P]):
    """A named DAG of tasks, defined by a function that is run once to see what it calls."""

    __wrapped__: Callable[P, object]

    def __init__(
        self, function: Callable[P, object], name: str, description: str, timeout: float | None, site: Site
    ) -> None:
        update_wrapper(self, function)
        self.name = name
        self.description = description
        self.site = site
        self._timeout = timeout
        self._built: Built | None = None

    def __call__(self, *_args: P.args, **_kwargs: P.kwargs) -> object:
        """Refuse: a workflow is run by a cluster, or in this process by `test`."""
        raise caller().error(
            f"Workflow {self.name} is not called. Run it here with .test(...), or on a cluster with client.run(...)."
        )

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"

    def spec(self) -> WorkflowSpec:
        """Return the definition, checked.

        Raises:
            DefinitionError: Its function uses tasks in a way that cannot be, or one that agents could not import.
            InvalidWorkflowError: The definition is not sound; one violation per problem.
        """
        built = self.build()
        for node in built.nodes.values():
            _check_importable(node)
        return built.spec

    def build(self) -> Built:
        """Run the function, the first time, and return what it defines. Raises as `spec`, but for imports."""
        if self._built is None:
            built = self._run_function()
            _check_sound(built, self.site)
            self._built = built
        return self._built

    def test(self, *args: P.args, **params: P.kwargs) -> LocalRun:
        """Run the whole DAG in this process, without a cluster and without waiting between tries.

        Raises:
            InvalidParametersError: The parameters do not fit.
        """
        from podium.local_run import run_locally

        built = self.build()
        names = [parameter.name for parameter in built.spec.parameters]
        if len(args) > len(names):
            raise caller().error(f"Workflow {self.name} takes {len(names)} parameters; {len(args)} are given.")
        given = {**dict(zip(names, args, strict=False)), **params}
        functions = {key: node.function for key, node in built.nodes.items() if node.function is not None}
        return run_locally(built.spec, given, functions, Path(self.site.file).parent)

    def _run_function(self) -> Built:
        try:
            parameters = read_parameters(self.__wrapped__)
        except ValueError as error:
            raise self.site.error(str(error)) from None
        with building(self.name) as builder:
            given: dict[str, Any] = {parameter.name: builder.parameter(parameter.name) for parameter in parameters}
            self.__wrapped__(**given)  # type: ignore[call-arg]  # references stand in for the values
        tasks = tuple(node.spec() for node in builder.nodes.values())
        spec = WorkflowSpec(self.name, tasks, parameters, self.description, self._timeout)
        return Built(spec, builder.nodes)


@overload
def workflow(function: Callable[P, object], /) -> Workflow[P]: ...
@overload
def workflow(
    *, name: str = "", description: str = "", timeout: float | timedelta | str | None = None
) -> Callable[[Callable[P, object]], Workflow[P]]: ...
def workflow(
    function: Callable[P, object] | None = None,
    /,
    *,
    name: str = "",
    description: str = "",
    timeout: float | timedelta | str | None = None,
) -> Workflow[P] | Callable[[Callable[P, object]], Workflow[P]]:
    """Make a workflow of a function: its parameters are those of a run, its calls of tasks are the DAG.

    Args:
        function: The function; what it returns is not used.
        name: The workflow's name; the function's by default.
        description: What it is for; the first paragraph of the docstring by default.
        timeout: The longest a run may take from its start.

    Raises:
        DefinitionError: The function cannot be a workflow, or an argument is wrong.
    """
    site = caller()

    def decorate(function: Callable[P, object]) -> Workflow[P]:
        _check_function(function, "workflow", site)
        try:
            limit = None if timeout is None else seconds(timeout)
        except ValueError as error:
            raise site.error(f"timeout: {error}") from None
        return Workflow(
            function, name or function.__name__, description or _summary(function), limit, site_of(function)
        )

    return decorate if function is None else decorate(function)


def _summary(function: Callable[..., Any]) -> str:
    paragraph = (inspect.getdoc(function) or "").split("\n\n", maxsplit=1)[0]
    return " ".join(paragraph.split())[:MAX_DESCRIPTION]


def _check_function(function: Callable[..., Any], what: str, site: Site) -> None:
    if not inspect.isfunction(function):
        raise site.error(f"@{what} goes on a function, and {function!r} is none.")
    if function.__name__ == "<lambda>":
        raise site.error(f"A lambda has no name that agents could import; write a def for the {what}.")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise site.error(f"An async function cannot be a {what}; write a def, and call asyncio.run(...) in it.")
    if inspect.isgeneratorfunction(function):
        raise site.error(f"A generator cannot be a {what}: what it yields is lost. Return a list.")


def _command(command: str | Sequence[str], site: Site) -> str | tuple[str, ...]:
    if isinstance(command, str):
        return command
    if isinstance(command, list | tuple) and all(isinstance(part, str) for part in command):
        return tuple(command)
    raise site.error(
        f"The command of shell(...) is text, or a list of text; it is {command!r}. Pass outputs and parameters by env."
    )


def _environment(env: Mapping[str, object] | None, site: Site) -> Mapping[str, object]:
    if env is None:
        return {}
    if isinstance(env, Mapping) and not isinstance(env, Reference) and all(isinstance(name, str) for name in env):
        return env
    raise site.error(f"The env of shell(...) is a mapping with text as keys, and is {env!r}.")


def _check_importable(node: Node) -> None:
    if not isinstance(node.action, PythonAction) or node.function is None:
        return
    name = node.function.__qualname__
    place = site_of(node.function)
    if "<locals>" in name:
        raise place.error(f"Task {quoted(name)} is defined inside a function; move it to the top of its module.")
    if node.function.__module__ == _MAIN:
        raise place.error(
            f"Task {quoted(name)} is defined in the program that runs, which agents cannot import. "
            "Deploy the file (podium deploy FILE), or move the task to a module that the program imports."
        )


def _check_sound(built: Built, site: Site) -> None:
    problems = check(built.spec)
    if not problems.count:
        return
    nodes = list(built.nodes.values())
    raise InvalidWorkflowError(
        f"{site}: Workflow {quoted(built.spec.name)} is not sound: {problems.summary()}.",
        tuple(_placed(violation, nodes) for violation in problems.found),
        workflow=built.spec.name,
        problems=problems.count,
    )


def _placed(violation: FieldViolation, nodes: list[Node]) -> FieldViolation:
    """Say where the task that a violation is about stands."""
    position = violation.field.removeprefix("tasks[").partition("]")[0]
    if not (violation.field.startswith("tasks[") and position.isdecimal() and int(position) < len(nodes)):
        return violation
    return FieldViolation(violation.field, f"{violation.description} ({nodes[int(position)].site})")

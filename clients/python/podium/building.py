"""What happens while a workflow function runs: calls of tasks become nodes, values become references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from podium.errors import DefinitionError
from podium.model.exactness import canonical, check_exact
from podium.model.problems import quoted
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
    TaskSpec,
)
from podium.options import Options
from podium.sites import Site, caller

Arguments = Mapping[str, object]


@dataclass(slots=True)
class Node:
    """A task of the workflow that is being built."""

    key: str
    action: Action
    options: Options
    site: Site
    function: Callable[..., Any] | None
    upstream: dict[str, None] = field(default_factory=dict)

    def spec(self) -> TaskSpec:
        """Return the task's definition."""
        return self.options.task_spec(self.key, self.action, tuple(self.upstream))


class Reference:
    """Stands for a value that is there only when the workflow runs; all it can do is be passed on."""

    __slots__ = ("_builder",)

    def __init__(self, builder: Builder) -> None:
        self._builder = builder

    def binding(self, builder: Builder, upstream: dict[str, None], site: Site) -> Binding:
        """Return where the value comes from, and note the task it comes from in `upstream`."""
        raise NotImplementedError

    def _check_builder(self, builder: Builder, site: Site) -> None:
        if self._builder is not builder:
            raise site.error(f"{self!r} belongs to another workflow; a value cannot go from one run to another.")

    def _misused(self, use: str) -> DefinitionError:
        return caller().error(
            f"{self!r} has no value while the workflow is built, so it cannot be {use}. Pass it to a task instead."
        )

    def __bool__(self) -> bool:
        raise self._misused("tested")

    def __iter__(self) -> Iterator[Any]:
        raise self._misused("iterated over")

    def __len__(self) -> int:
        raise self._misused("measured")

    def __contains__(self, item: object) -> bool:
        raise self._misused("searched")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Reference):
            return self is other
        raise self._misused("compared")

    def __hash__(self) -> int:
        return id(self)

    def __lt__(self, other: object) -> bool:
        raise self._misused("compared")

    __le__ = __gt__ = __ge__ = __lt__

    def __format__(self, spec: str) -> str:
        raise self._misused("put into text")

    def __int__(self) -> int:
        raise self._misused("made a number")

    __index__ = __int__

    def __float__(self) -> float:
        raise self._misused("made a number")


class RunParameter(Reference):
    """Stands for a parameter of the run."""

    __slots__ = ("name",)

    def __init__(self, builder: Builder, name: str) -> None:
        super().__init__(builder)
        self.name = name

    def __repr__(self) -> str:
        return f"<parameter {self.name}>"

    def binding(self, builder: Builder, upstream: dict[str, None], site: Site) -> Binding:
        """Return the reference to the parameter."""
        del upstream
        self._check_builder(builder, site)
        return Parameter(self.name)


class OutputPart(Reference):
    """Stands for the output of a task, or for a part of it; `[...]` leads to a part."""

    __slots__ = ("key", "path")

    def __init__(self, builder: Builder, key: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(builder)
        self.key = key
        self.path = path

    def __repr__(self) -> str:
        return f"<output of {self.key}{''.join(f'[{step!r}]' for step in self.path)}>"

    def __getitem__(self, step: str | int) -> OutputPart:
        if isinstance(step, bool) or not isinstance(step, str | int) or (isinstance(step, int) and step < 0):
            raise caller().error(f"{self!r} has no part {step!r}: use an object's key, or an index from 0.")
        return OutputPart(self._builder, self.key, (*self.path, str(step)))

    def binding(self, builder: Builder, upstream: dict[str, None], site: Site) -> Binding:
        """Return the reference to the output."""
        self._check_builder(builder, site)
        upstream[self.key] = None
        return Output(self.key, self.path)


class TaskNode(OutputPart):
    """A task of the workflow that is being built. Passed to another task, it stands for its output.

    `a >> b` and `b.after(a)` make `b` wait for `a` without using its output; both sides of `>>` may be lists.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<task {self.key}>"

    def after(self, *nodes: TaskNode | Iterable[TaskNode]) -> TaskNode:
        """Make this task wait for others; return it."""
        site = caller()
        for node in _nodes(nodes, site):
            self._builder.add_edge(node, self, site)
        return self

    def __rshift__(self, other: TaskNode | Iterable[TaskNode]) -> Any:
        for node in _nodes((other,), caller()):
            node.after(self)
        return other

    def __lshift__(self, other: TaskNode | Iterable[TaskNode]) -> Any:
        self.after(other)
        return other

    def __rrshift__(self, other: Iterable[TaskNode]) -> TaskNode:
        return self.after(other)

    def __rlshift__(self, other: Iterable[TaskNode]) -> TaskNode:
        for node in _nodes((other,), caller()):
            node.after(self)
        return self


class Builder:
    """Collects the tasks of one workflow while its function runs."""

    def __init__(self, workflow: str) -> None:
        self.workflow = workflow
        self.nodes: dict[str, Node] = {}
        self._numbers: dict[str, int] = {}
        self._closed = False

    def parameter(self, name: str) -> RunParameter:
        """Return what stands for a parameter of the run."""
        return RunParameter(self, name)

    def add_python(
        self,
        reference: str,
        function: Callable[..., Any],
        args: tuple[object, ...],
        kwargs: Arguments,
        options: Options,
        site: Site,
    ) -> TaskNode:
        """Add a call of a function; the default key is the function's name."""
        upstream: dict[str, None] = {}
        action = PythonAction(
            reference,
            tuple(self._bind(item, upstream, site, f"argument {index + 1}") for index, item in enumerate(args)),
            tuple((name, self._bind(kwargs[name], upstream, site, name)) for name in sorted(kwargs)),
        )
        return self._add(function.__name__, action, options, site, upstream, function)

    def add_shell(
        self, command: str | tuple[str, ...], env: Arguments, cwd: str, options: Options, site: Site
    ) -> TaskNode:
        """Add a program; text is a script, a tuple a program with its arguments."""
        upstream: dict[str, None] = {}
        bound = {name: item for name, item in env.items() if not isinstance(item, str)}
        action = ShellAction(
            command if isinstance(command, tuple) else (),
            command if isinstance(command, str) else "",
            tuple(sorted((name, item) for name, item in env.items() if isinstance(item, str))),
            cwd,
            tuple((name, self._bind(bound[name], upstream, site, f"env[{name!r}]")) for name in sorted(bound)),
        )
        return self._add("shell", action, options, site, upstream, None)

    def add_edge(self, upstream: TaskNode, node: TaskNode, site: Site) -> None:
        """Make `node` wait for `upstream`."""
        if self._closed:
            raise site.error(f"Workflow {self.workflow} is built already; order its tasks inside its function.")
        upstream.binding(self, self.nodes[node.key].upstream, site)

    def close(self) -> None:
        """Refuse further changes."""
        self._closed = True

    def _add(
        self,
        name: str,
        action: Action,
        options: Options,
        site: Site,
        upstream: dict[str, None],
        function: Callable[..., Any] | None,
    ) -> TaskNode:
        key = self._chosen_key(options, site) or self._free_key(options.key or name)
        self.nodes[key] = Node(key, action, options, site, function, upstream)
        return TaskNode(self, key)

    def _chosen_key(self, options: Options, site: Site) -> str:
        """Return the key that this very call asks for, which nothing else may have."""
        if not options.key_is_final:
            return ""
        taken = self.nodes.get(options.key)
        if taken is not None:
            raise site.error(f"The key {quoted(options.key)} is taken by the task at {taken.site}; choose another.")
        return options.key

    def _free_key(self, base: str) -> str:
        """Return `base`, or with the first number that makes it free: name, name_2, name_3."""
        while True:
            number = self._numbers.get(base, 0) + 1
            self._numbers[base] = number
            key = base if number == 1 else f"{base}_{number}"
            if key not in self.nodes:
                return key

    def _bind(self, value: object, upstream: dict[str, None], site: Site, path: str) -> Binding:
        if isinstance(value, Reference):
            return value.binding(self, upstream, site)
        if isinstance(value, list | tuple):
            items = [self._bind(item, upstream, site, f"{path}[{index}]") for index, item in enumerate(value)]
            return _list(items)
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            entries = {key: self._bind(value[key], upstream, site, f"{path}[{key!r}]") for key in sorted(value)}
            return _object(entries)
        return _literal(value, site, path)


_current: ContextVar[Builder | None] = ContextVar("podium_builder", default=None)


def current_builder() -> Builder | None:
    """Return the builder of the workflow function that is running; None outside of one."""
    return _current.get()


@contextmanager
def building(workflow: str) -> Iterator[Builder]:
    """Let calls of tasks make nodes of a new workflow."""
    builder = Builder(workflow)
    token = _current.set(builder)
    try:
        yield builder
    finally:
        _current.reset(token)
        builder.close()


def _list(items: list[Binding]) -> Binding:
    if all(isinstance(item, Literal) for item in items):
        return Literal([item.value for item in items if isinstance(item, Literal)])
    return ListBinding(tuple(items))


def _object(entries: dict[str, Binding]) -> Binding:
    if all(isinstance(item, Literal) for item in entries.values()):
        return Literal({key: item.value for key, item in entries.items() if isinstance(item, Literal)})
    return ObjectBinding(tuple(entries.items()))


def _literal(value: object, site: Site, path: str) -> Binding:
    if callable(getattr(value, "__wrapped__", None)):
        raise site.error(f"{path} is the task itself; call it, so that its output is passed on.")
    found: list[str] = []
    check_exact(value, path, lambda _path, description: found.append(description))
    if found:
        raise site.error(f"{path}: {found[0]}")
    return Literal(canonical(value))


def _nodes(values: Iterable[object], site: Site) -> Iterator[TaskNode]:
    for value in values:
        if isinstance(value, TaskNode):
            yield value
        elif isinstance(value, list | tuple | set | frozenset):
            yield from _nodes(value, site)
        else:
            raise site.error(f"{value!r} is no task of a workflow; order takes what calls of tasks return.")

"""A workflow version compiled for execution: flat arrays, shared by all its runs.

Tasks are named by their position in the definition. Edges are kept in compressed rows: the children of task `i` are
`children[child_start[i]:child_start[i + 1]]`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from podium.model.spec import (
    Binding,
    ListBinding,
    ObjectBinding,
    Output,
    PythonAction,
    RetryPolicy,
    TaskSpec,
    TriggerRule,
    WorkflowSpec,
)

RULES = tuple(TriggerRule)
ALWAYS = TriggerRule.ALWAYS
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SchedulingClass:
    """What placement looks at: tasks that agree in it are interchangeable to it. Larger `priority` goes first."""

    priority: int
    cpu_millis: int
    memory_bytes: int
    agent_labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """The times and tries a task is held to, shared by tasks that agree in them; seconds, None for no limit."""

    retry: RetryPolicy
    run_timeout: float | None
    start_timeout: float | None


@dataclass(frozen=True, slots=True)
class Graph:
    """A compiled workflow of `size` tasks; `roots` start, or not, without waiting for any end."""

    name: str
    keys: tuple[str, ...]
    parents: array[int]
    child_start: array[int]
    children: array[int]
    rules: bytes
    decisive: bytes
    classes: tuple[SchedulingClass, ...]
    class_of: array[int]
    terms: tuple[Terms, ...]
    terms_of: array[int]
    starts_limited: bool
    actions: tuple[str, ...]
    action_of: array[int]
    inputs: dict[int, tuple[int, ...]]
    consumers: array[int]
    roots: array[int]
    run_timeout: float | None

    @property
    def size(self) -> int:
        """Number of tasks."""
        return len(self.keys)

    def children_of(self, task: int) -> array[int]:
        """Return the tasks that wait for `task`."""
        return self.children[self.child_start[task] : self.child_start[task + 1]]

    def rule(self, task: int) -> TriggerRule:
        """Return when `task` starts."""
        return RULES[self.rules[task]]

    def scheduling_class(self, task: int) -> SchedulingClass:
        """Return what placement looks at for `task`."""
        return self.classes[self.class_of[task]]

    def terms_for(self, task: int) -> Terms:
        """Return the times and tries `task` is held to."""
        return self.terms[self.terms_of[task]]


def compile_graph(spec: WorkflowSpec) -> Graph:
    """Compile a definition that `podium.model.validation` found sound. Time and space O(tasks + edges)."""
    tasks = spec.tasks
    position = {task.key: i for i, task in enumerate(tasks)}
    child_start, children = _children(tasks, position)
    classes, class_of = _shared(scheduling_class(task) for task in tasks)
    terms, terms_of = _shared(Terms(task.retry, task.run_timeout, task.start_timeout) for task in tasks)
    actions, action_of = _shared(_action_name(task) for task in tasks)
    inputs = _inputs(tasks, position)
    return Graph(
        name=spec.name,
        keys=tuple(task.key for task in tasks),
        parents=array("i", (len(task.upstream) for task in tasks)),
        child_start=child_start,
        children=children,
        rules=bytes(RULES.index(task.trigger_rule) for task in tasks),
        decisive=bytes(task.required or child_start[i] == child_start[i + 1] for i, task in enumerate(tasks)),
        classes=classes,
        class_of=class_of,
        terms=terms,
        terms_of=terms_of,
        starts_limited=any(each.start_timeout is not None for each in terms),
        actions=actions,
        action_of=action_of,
        inputs=inputs,
        consumers=_consumers(len(tasks), inputs),
        roots=array("i", (i for i, task in enumerate(tasks) if not task.upstream or task.trigger_rule is ALWAYS)),
        run_timeout=spec.run_timeout,
    )


def scheduling_class(task: TaskSpec) -> SchedulingClass:
    """Return what placement looks at."""
    needs = task.resources
    return SchedulingClass(task.priority, needs.cpu_millis, needs.memory_bytes, tuple(sorted(task.agent_labels)))


def outputs_used(task: TaskSpec) -> frozenset[str]:
    """Return the keys of the upstream tasks whose outputs the task's action refers to."""
    action = task.action
    bindings: list[Binding] = []
    if isinstance(action, PythonAction):
        bindings += [*action.args, *(binding for _, binding in action.kwargs)]
    else:
        bindings += [binding for _, binding in action.env_bindings]
    used: set[str] = set()
    while bindings:
        binding = bindings.pop()
        if isinstance(binding, Output):
            used.add(binding.task)
        elif isinstance(binding, ListBinding):
            bindings += binding.items
        elif isinstance(binding, ObjectBinding):
            bindings += [entry for _, entry in binding.entries]
    return frozenset(used)


def _children(tasks: tuple[TaskSpec, ...], position: dict[str, int]) -> tuple[array[int], array[int]]:
    starts = array("i", bytes(4 * (len(tasks) + 1)))
    for task in tasks:
        for key in task.upstream:
            starts[position[key] + 1] += 1
    for i in range(len(tasks)):
        starts[i + 1] += starts[i]
    children = array("i", bytes(4 * starts[-1]))
    fill = starts[:-1]
    for i, task in enumerate(tasks):
        for key in task.upstream:
            parent = position[key]
            children[fill[parent]] = i
            fill[parent] += 1
    return starts, children


def _inputs(tasks: tuple[TaskSpec, ...], position: dict[str, int]) -> dict[int, tuple[int, ...]]:
    used = ((i, outputs_used(task)) for i, task in enumerate(tasks) if task.upstream)
    return {i: tuple(sorted(position[key] for key in keys)) for i, keys in used if keys}


def _consumers(size: int, inputs: dict[int, tuple[int, ...]]) -> array[int]:
    consumers = array("i", bytes(4 * size))
    for parents in inputs.values():
        for parent in parents:
            consumers[parent] += 1
    return consumers


def _action_name(task: TaskSpec) -> str:
    return task.action.function if isinstance(task.action, PythonAction) else "shell"


def _shared(values: Iterable[T]) -> tuple[tuple[T, ...], array[int]]:
    """Return the distinct values, and for each position which of them it has."""
    seen: dict[T, int] = {}
    which = array("i", (seen.setdefault(value, len(seen)) for value in values))
    return tuple(seen), which

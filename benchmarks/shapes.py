"""The DAGs that are measured."""

from __future__ import annotations

import random

from podium.model.spec import Action, Literal, PythonAction, ShellAction, TaskSpec, WorkflowSpec

NOOP = PythonAction("noop:noop")
NOW = PythonAction("noop:now", (Literal(0),))
TRUE = ShellAction(exec=("true",))
LAYERS = 100


def fan_out(width: int, action: Action = NOOP, name: str = "fan_out") -> WorkflowSpec:
    """One task, then `width`, then one; each asks for one cpu."""
    middle = [TaskSpec(f"t{i}", action, ("first",)) for i in range(width)]
    last = TaskSpec("last", action, tuple(task.key for task in middle))
    return WorkflowSpec(f"{name}_{width}", (TaskSpec("first", action), *middle, last))


def fan_out_of(tasks: int, action: Action = NOOP) -> WorkflowSpec:
    """A fan-out of so many tasks in all."""
    return fan_out(tasks - 2, action)


def chain(length: int) -> WorkflowSpec:
    tasks = (TaskSpec(f"t{i}", NOW, (f"t{i - 1}",) if i else ()) for i in range(length))
    return WorkflowSpec(f"chain_{length}", tuple(tasks))


def diamond() -> WorkflowSpec:
    """Ten tasks: one, then eight, then one."""
    spec = fan_out(8)
    return WorkflowSpec("diamond", spec.tasks)


def single() -> WorkflowSpec:
    return WorkflowSpec("single", (TaskSpec("only", NOW),))


def layered(tasks: int, edges: int, seed: int = 4) -> WorkflowSpec:
    """A random DAG of about 100 layers: each task follows `edges / tasks` tasks of the layer before."""
    chance = random.Random(seed)  # noqa: S311 - it guards nothing
    width = max(1, tasks // LAYERS)
    inner = max(1, tasks - width)
    specs = []
    for i in range(tasks):
        begin = (i // width - 1) * width
        before = range(begin, begin + width) if i >= width else range(0)
        wanted = edges * (i - width + 1) // inner - edges * (i - width) // inner if before else 0
        chosen = sorted(chance.sample(before, min(wanted, len(before))))
        specs.append(TaskSpec(f"t{i}", NOOP, tuple(f"t{parent}" for parent in chosen)))
    return WorkflowSpec(f"layered_{tasks}", tuple(specs))


def edges_of(spec: WorkflowSpec) -> int:
    return sum(len(task.upstream) for task in spec.tasks)

"""A workflow's definition as plain, frozen values, the same on every side of the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"


class TriggerRule(StrEnum):
    """When a task starts, judged over its direct upstream task runs."""

    ALL_SUCCESS = "all_success"
    ALL_FAILED = "all_failed"
    ALL_DONE = "all_done"
    ALL_DONE_MIN_ONE_SUCCESS = "all_done_min_one_success"
    ONE_SUCCESS = "one_success"
    ONE_FAILED = "one_failed"
    ONE_DONE = "one_done"
    NONE_FAILED = "none_failed"
    NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success"
    NONE_SKIPPED = "none_skipped"
    ALL_SKIPPED = "all_skipped"
    ALWAYS = "always"


class ParameterType(StrEnum):
    """The JSON type of a run parameter."""

    ANY = "any"
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ARRAY = "array"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Literal:
    """A value written into the definition."""

    value: JsonValue


@dataclass(frozen=True, slots=True)
class Parameter:
    """A reference to a run parameter."""

    name: str


@dataclass(frozen=True, slots=True)
class Output:
    """A reference to an upstream task's output, or to the part of it that `path` leads to."""

    task: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListBinding:
    """A list with bindings in it."""

    items: tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class ObjectBinding:
    """An object with bindings in it."""

    entries: tuple[tuple[str, Binding], ...]


Binding: TypeAlias = Literal | Parameter | Output | ListBinding | ObjectBinding


@dataclass(frozen=True, slots=True)
class PythonAction:
    """Calls `function` ("module:qualname") out of the workflow's bundle."""

    function: str
    args: tuple[Binding, ...] = ()
    kwargs: tuple[tuple[str, Binding], ...] = ()


@dataclass(frozen=True, slots=True)
class ShellAction:
    """Runs a program (`exec`) or a `/bin/sh` script (`script`); exactly one of the two is set."""

    exec: tuple[str, ...] = ()
    script: str = ""
    env: tuple[tuple[str, str], ...] = ()
    cwd: str = ""
    env_bindings: tuple[tuple[str, Binding], ...] = ()


Action: TypeAlias = PythonAction | ShellAction


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How failures of the task's own code are tried again; times in seconds."""

    retries: int = 0
    delay: float = 1.0
    factor: float = 2.0
    max_delay: float = 300.0


@dataclass(frozen=True, slots=True)
class Resources:
    """What a task sets aside on an agent while it executes: thousandths of a core, and bytes."""

    cpu_millis: int = 1000
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A node of the DAG; times in seconds, None for no limit."""

    key: str
    action: Action
    upstream: tuple[str, ...] = ()
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    resources: Resources = field(default_factory=Resources)
    run_timeout: float | None = None
    start_timeout: float | None = None
    priority: int = 0
    required: bool = False
    agent_labels: tuple[tuple[str, str], ...] = ()


MISSING = Literal("\0missing")
"""Stands for "no default" in `ParameterSpec.default`; compared by identity."""


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """A parameter that a run may be given; `default` is `MISSING` when it must be given."""

    name: str
    type: ParameterType = ParameterType.ANY
    default: Literal = MISSING
    description: str = ""

    @property
    def required(self) -> bool:
        """Whether a run must give it."""
        return self.default is MISSING


@dataclass(frozen=True, slots=True)
class WorkflowSpec:
    """A named DAG definition."""

    name: str
    tasks: tuple[TaskSpec, ...]
    parameters: tuple[ParameterSpec, ...] = ()
    description: str = ""
    run_timeout: float | None = None

"""What can be said about a task beside what it does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypedDict, TypeVar

from podium.model.problems import did_you_mean, quoted
from podium.model.quantities import memory_bytes, seconds
from podium.model.spec import Action, Resources, RetryPolicy, TaskSpec, TriggerRule

T = TypeVar("T")

Length = float | timedelta | str
"""A length of time: seconds, a timedelta, or text such as "30s" or "1h30m"."""


_NO_RETRY = RetryPolicy()
_ONE_CORE = Resources()
_KINDS: dict[type, str] = {str: "text", int: "a whole number", bool: "True or False"}


class TaskOptions(TypedDict, total=False):
    """Options of a task; the defaults are those of `podium.model.spec.TaskSpec`.

    key: The node's key; numbered (name_2, name_3) where a task is called more than once.
    retries: Further attempts after the first.
    delay: Wait before the first retry; each further wait is `factor` times longer, up to `max_delay`.
    timeout: The longest one attempt may execute.
    start_timeout: The longest it may wait for capacity once it is ready.
    cpu: Cores set aside, in steps of a thousandth; 1 by default.
    memory: Memory set aside: bytes, or text such as "512MiB".
    priority: Larger starts first among ready tasks, -1,000 to 1,000.
    trigger_rule: When to start, judged by how its upstreams ended.
    required: Its failure fails the run even when other tasks follow it.
    labels: What an agent's labels must be.
    """

    key: str
    retries: int
    delay: Length
    factor: float
    max_delay: Length
    timeout: Length | None
    start_timeout: Length | None
    cpu: float
    memory: int | str
    priority: int
    trigger_rule: TriggerRule | str
    required: bool
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Options:
    """A task's options, read. `key_is_final` says that the key must be free as it is."""

    key: str = ""
    key_is_final: bool = False
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS
    retry: RetryPolicy = _NO_RETRY
    resources: Resources = _ONE_CORE
    run_timeout: float | None = None
    start_timeout: float | None = None
    priority: int = 0
    required: bool = False
    agent_labels: tuple[tuple[str, str], ...] = ()

    def task_spec(self, key: str, action: Action, upstream: tuple[str, ...]) -> TaskSpec:
        """Return the definition of a task with these options."""
        return TaskSpec(
            key,
            action,
            upstream,
            self.trigger_rule,
            self.retry,
            self.resources,
            self.run_timeout,
            self.start_timeout,
            self.priority,
            self.required,
            self.agent_labels,
        )


def read_options(given: TaskOptions, *, key_is_final: bool = False) -> Options:
    """Read a task's options.

    Raises:
        ValueError: One of them is unknown, of another type or out of what can be written; the message names it.
    """
    values: dict[str, object] = dict(given)
    unknown = next((name for name in values if name not in TaskOptions.__annotations__), None)
    if unknown is not None:
        raise ValueError(f"There is no option {quoted(unknown)}.{did_you_mean(unknown, TaskOptions.__annotations__)}")
    return Options(
        key=_typed(values, "key", str, ""),
        key_is_final=key_is_final and "key" in values,
        trigger_rule=_rule(values.get("trigger_rule", TriggerRule.ALL_SUCCESS)),
        retry=_retry(values),
        resources=_resources(values),
        run_timeout=_length(values, "timeout", None),
        start_timeout=_length(values, "start_timeout", None),
        priority=_typed(values, "priority", int, 0),
        required=_typed(values, "required", bool, False),
        agent_labels=_labels(values.get("labels", {})),
    )


def _typed(values: Mapping[str, object], name: str, kind: type[T], default: T) -> T:
    value = values.get(name, default)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ValueError(f"{name} must be {_KINDS[kind]}, and is {value!r}.")
    return value


def _number(values: Mapping[str, object], name: str, default: float) -> float:
    value = values.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number, and is {value!r}.")
    return float(value)


def _length(values: Mapping[str, object], name: str, default: float | None) -> float | None:
    value = values.get(name, default)
    if value is None and default is None:
        return None
    try:
        return seconds(value)  # type: ignore[arg-type]  # it refuses what is no length
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _retry(values: Mapping[str, object]) -> RetryPolicy:
    return RetryPolicy(
        _typed(values, "retries", int, _NO_RETRY.retries),
        _length(values, "delay", _NO_RETRY.delay) or 0.0,
        _number(values, "factor", _NO_RETRY.factor),
        _length(values, "max_delay", _NO_RETRY.max_delay) or 0.0,
    )


def _resources(values: Mapping[str, object]) -> Resources:
    try:
        memory = memory_bytes(values.get("memory", 0))  # type: ignore[arg-type]  # it refuses what is no amount
    except ValueError as error:
        raise ValueError(f"memory: {error}") from None
    return Resources(round(_number(values, "cpu", 1.0) * 1000), memory)


def _rule(value: object) -> TriggerRule:
    known = [rule.value for rule in TriggerRule]
    if value not in known:
        raise ValueError(f"There is no trigger rule {quoted(value)}.{did_you_mean(str(value), known)}")
    return TriggerRule(value)


def _labels(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping) or not all(isinstance(part, str) for item in value.items() for part in item):
        raise ValueError(f"labels must be a mapping from text to text, and is {value!r}.")
    return tuple(sorted(value.items()))

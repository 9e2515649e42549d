"""When one task of a definition is sound, given the tasks and parameters around it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from podium.model.action_rules import Scope, check_action
from podium.model.problems import Problems, did_you_mean, quoted
from podium.model.quantities import MAX_SECONDS, is_duration
from podium.model.spec import Resources, RetryPolicy, TaskSpec, TriggerRule

MAX_CPU_MILLIS = 1_024_000
MAX_MEMORY_BYTES = 2**50
MAX_PRIORITY = 1_000
MAX_RETRIES = 1_000
MAX_FACTOR = 100.0
MAX_LABELS = 16
MAX_LABEL_NAME = 128
MAX_LABEL_VALUE = 256

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_NO_RETRY = RetryPolicy()
_ONE_CORE = Resources()
_WITHOUT_OUTPUTS = frozenset({TriggerRule.ALL_FAILED, TriggerRule.ALL_SKIPPED, TriggerRule.ALWAYS})


def check_task(
    task: TaskSpec, index: int, positions: Mapping[str, int], parameters: frozenset[str], problems: Problems
) -> None:
    """Report what is wrong with the task at `index`.

    Args:
        task: The task.
        index: Its position in the definition.
        positions: The position of each task by key.
        parameters: Names of the workflow's parameters.
        problems: Takes the reports.
    """
    path = f"tasks[{index}]"
    if not _KEY.fullmatch(task.key):
        problems.add(
            f"{path}.key",
            f"{quoted(task.key)} is no usable key: it takes 1 to 200 letters, digits, '_', '.' and '-' (ASCII), "
            "the first one a letter, a digit or '_'.",
        )
    if task.upstream:
        _check_upstream(task, path, positions, problems)
    if task.retry is not _NO_RETRY and task.retry != _NO_RETRY:
        _check_retry(task.retry, f"{path}.retry", problems)
    if task.resources is not _ONE_CORE and task.resources != _ONE_CORE:
        _check_resources(task.resources, f"{path}.resources", problems)
    _check_options(task, path, problems)
    scope = Scope(task, positions, parameters, outputs=task.trigger_rule not in _WITHOUT_OUTPUTS)
    check_action(task, path, scope, problems)


def _check_upstream(task: TaskSpec, path: str, positions: Mapping[str, int], problems: Problems) -> None:
    seen: set[str] = set()
    for number, key in enumerate(task.upstream):
        if key not in positions:
            problems.add(f"{path}.upstream[{number}]", f"There is no task {quoted(key)}.{did_you_mean(key, positions)}")
        elif key in seen:
            problems.add(f"{path}.upstream[{number}]", f"{quoted(key)} is listed twice.")
        seen.add(key)


def _check_retry(retry: RetryPolicy, path: str, problems: Problems) -> None:
    if not 0 <= retry.retries <= MAX_RETRIES:
        problems.add(f"{path}.retries", f"{retry.retries:,} is out of range: 0 to {MAX_RETRIES:,}.")
    if not 1 <= retry.factor <= MAX_FACTOR:
        problems.add(f"{path}.factor", f"{retry.factor} is out of range: 1 to {MAX_FACTOR:g}.")
    for name, value in (("delay", retry.delay), ("max_delay", retry.max_delay)):
        if not is_duration(value, zero=True):
            problems.add(f"{path}.{name}", f"{value} is out of range: 0 to {MAX_SECONDS:,} seconds.")


def _check_resources(resources: Resources, path: str, problems: Problems) -> None:
    if not 0 <= resources.cpu_millis <= MAX_CPU_MILLIS:
        problems.add(
            f"{path}.cpu_millis",
            f"{resources.cpu_millis:,} is out of range: 0 to {MAX_CPU_MILLIS:,} thousandths of a core.",
        )
    if not 0 <= resources.memory_bytes <= MAX_MEMORY_BYTES:
        problems.add(
            f"{path}.memory_bytes",
            f"{resources.memory_bytes:,} is out of range: 0 to {MAX_MEMORY_BYTES:,} bytes (1 PiB).",
        )


def _check_options(task: TaskSpec, path: str, problems: Problems) -> None:
    if not -MAX_PRIORITY <= task.priority <= MAX_PRIORITY:
        problems.add(f"{path}.priority", f"{task.priority:,} is out of range: -{MAX_PRIORITY:,} to {MAX_PRIORITY:,}.")
    for name, value in (("run_timeout", task.run_timeout), ("start_timeout", task.start_timeout)):
        if value is not None and not is_duration(value, zero=False):
            problems.add(f"{path}.{name}", f"{value} is no timeout: more than 0, at most {MAX_SECONDS:,} seconds.")
    if task.agent_labels:
        _check_labels(task.agent_labels, f"{path}.agent_labels", problems)


def _check_labels(labels: tuple[tuple[str, str], ...], path: str, problems: Problems) -> None:
    if len(labels) > MAX_LABELS:
        problems.add(path, f"The task asks for {len(labels)} labels; the limit is {MAX_LABELS}.")
    if len(dict(labels)) < len(labels):
        problems.add(path, "A label is listed twice.")
    for name, value in labels:
        if not 1 <= len(name) <= MAX_LABEL_NAME:
            problems.add(path, f"{quoted(name)} is no label's name: 1 to {MAX_LABEL_NAME} characters.")
        if len(value) > MAX_LABEL_VALUE:
            problems.add(
                path, f"The label {quoted(name)} has {len(value):,} characters; the limit is {MAX_LABEL_VALUE}."
            )

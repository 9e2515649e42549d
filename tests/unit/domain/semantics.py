"""The written semantics, once more and in another form, for tests to compare the product with.

Nothing here may be taken from the product's own rules: two statements of one table are worth something only while they
are independent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations

from podium.model.spec import TaskSpec, TriggerRule
from podium_coordinator.domain.states import FailureKind, RunState, TaskRunState

T = TaskRunState


@dataclass(frozen=True)
class Upstreams:
    """How many upstream task runs there are and how many ended in which way, by the letters of the written table."""

    n: int
    s: int = 0
    f: int = 0
    u: int = 0
    k: int = 0

    @property
    def d(self) -> int:
        return self.s + self.f + self.u + self.k


def upstreams(states: Iterable[TaskRunState]) -> Upstreams:
    """Count the states of upstream task runs; one whose outcome is unknown counts as failed."""
    seen = list(states)
    return Upstreams(
        len(seen),
        seen.count(T.SUCCEEDED),
        seen.count(T.FAILED) + seen.count(T.UNKNOWN),
        seen.count(T.UPSTREAM_FAILED),
        seen.count(T.SKIPPED),
    )


Condition = Callable[[Upstreams], bool]
Row = tuple[Condition, tuple[tuple[Condition, TaskRunState], ...]]

TABLE: dict[TriggerRule, Row] = {
    TriggerRule.ALL_SUCCESS: (
        lambda x: x.s == x.n,
        ((lambda x: x.f + x.u > 0, T.UPSTREAM_FAILED), (lambda x: x.k > 0, T.SKIPPED)),
    ),
    TriggerRule.ALL_FAILED: (lambda x: x.f + x.u == x.n, ((lambda x: x.s > 0 or x.k > 0, T.SKIPPED),)),
    TriggerRule.ALL_DONE: (lambda x: x.d == x.n, ()),
    TriggerRule.ALL_DONE_MIN_ONE_SUCCESS: (
        lambda x: x.d == x.n and x.s >= 1 and x.k == 0,
        ((lambda x: x.k > 0, T.SKIPPED), (lambda x: x.d == x.n and x.s == 0, T.UPSTREAM_FAILED)),
    ),
    TriggerRule.ONE_SUCCESS: (
        lambda x: x.s >= 1,
        ((lambda x: x.d == x.n and x.k == x.n, T.SKIPPED), (lambda x: x.d == x.n and x.s == 0, T.UPSTREAM_FAILED)),
    ),
    TriggerRule.ONE_FAILED: (
        lambda x: x.f + x.u >= 1,
        ((lambda x: x.d == x.n and x.f + x.u == 0, T.SKIPPED),),
    ),
    TriggerRule.ONE_DONE: (lambda x: x.s + x.f >= 1, ((lambda x: x.d == x.n and x.s + x.f == 0, T.SKIPPED),)),
    TriggerRule.NONE_FAILED: (lambda x: x.s + x.k == x.n, ((lambda x: x.f + x.u > 0, T.UPSTREAM_FAILED),)),
    TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS: (
        lambda x: x.s + x.k == x.n and x.s >= 1,
        ((lambda x: x.f + x.u > 0, T.UPSTREAM_FAILED), (lambda x: x.k == x.n, T.SKIPPED)),
    ),
    TriggerRule.NONE_SKIPPED: (lambda x: x.d == x.n and x.k == 0, ((lambda x: x.k > 0, T.SKIPPED),)),
    TriggerRule.ALL_SKIPPED: (lambda x: x.k == x.n, ((lambda x: x.s + x.f + x.u > 0, T.SKIPPED),)),
    TriggerRule.ALWAYS: (lambda _: True, ()),
}
"""For each rule: when the task starts, and else which end it comes to."""


def verdict(rule: TriggerRule, counted: Upstreams) -> TaskRunState:
    """Return what a rule makes of a task: scheduled, an end, or still pending."""
    starts, otherwise = TABLE[rule]
    if counted.n == 0 or starts(counted):
        return T.SCHEDULED
    return next((end for holds, end in otherwise if holds(counted)), T.PENDING)


def possible_verdicts(rule: TriggerRule, ends: list[TaskRunState], new: list[bool]) -> set[TaskRunState]:
    """Return all a rule may make of a task while its upstreams that are `new` come to their ends one by one."""
    early = [end for end, is_new in zip(ends, new, strict=True) if not is_new]
    late = [end for end, is_new in zip(ends, new, strict=True) if is_new]
    return {
        verdict(rule, upstreams([*early, *told, *[T.PENDING] * (len(late) - len(told))]))
        for count in range(len(late) + 1)
        for told in combinations(late, count)
    }


def outcome(tasks: tuple[TaskSpec, ...], ends: dict[str, TaskRunState]) -> RunState:
    """Return how a run whose task runs have all ended ends, if nobody cancelled it."""
    used = {key for task in tasks for key in task.upstream}
    deciding = (task.key for task in tasks if task.required or task.key not in used)
    bad = (T.FAILED, T.UPSTREAM_FAILED, T.UNKNOWN)
    return RunState.FAILED if any(ends[key] in bad for key in deciding) else RunState.SUCCEEDED


ENDS = frozenset({T.SUCCEEDED, T.FAILED, T.SKIPPED, T.UPSTREAM_FAILED, T.CANCELLED, T.UNKNOWN})
INFRASTRUCTURE_KINDS = frozenset({FailureKind.AGENT_LOST, FailureKind.PREEMPTED, FailureKind.INTERNAL})
INFRASTRUCTURE_RETRIES = 3
INFRASTRUCTURE_WAITS = (0.0, 0.2, 0.4)
"""Plain seconds from a loss to the next try, by how many losses there were before."""
POISONOUS = 3
"""Agents that a task run may take down."""
FINAL_KINDS = frozenset({FailureKind.REJECTED_INPUT, FailureKind.CANCELLED, FailureKind.TIMEOUT_START})
"""Kinds of failure that no further try could mend."""

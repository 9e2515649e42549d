"""Whether a failed attempt is followed by another, and how long after.

Two budgets: the task's own `retries` pay for failures of its code; `INFRASTRUCTURE_BUDGET` pays for losses it has no
part in, so that a bad night of the cluster eats nobody's retries.
"""

from __future__ import annotations

from dataclasses import dataclass

from podium.model.spec import RetryPolicy
from podium_coordinator.domain.states import INFRASTRUCTURE, FailureKind

INFRASTRUCTURE_BUDGET = 3
FIRST_PAUSE = 0.2
"""Seconds from a task run's second loss to its next try; twice as long after each further one, none after the first."""
POISONOUS = 3
"""A task run that has taken so many agents down is not let near another one."""
JITTER = 0.25
LONGEST_WAIT = 100 * 365 * 86_400.0
"""Seconds: a longer wait would lead beyond the dates there are."""
NEVER_RETRIED = frozenset({FailureKind.REJECTED_INPUT, FailureKind.CANCELLED, FailureKind.TIMEOUT_START})


@dataclass(slots=True)
class Tries:
    """How much of its two budgets a task run has used."""

    failures: int = 0
    losses: int = 0
    downs: int = 0
    """Losses of an agent while it was executing the task run."""


def charge(tries: Tries, kind: FailureKind, *, executing: bool = False) -> None:
    """Book a failed attempt on the budget that pays for it; `executing`: it had started."""
    if kind in INFRASTRUCTURE:
        tries.losses += 1
        tries.downs += executing and kind is FailureKind.AGENT_LOST
    else:
        tries.failures += 1


def next_delay(policy: RetryPolicy, tries: Tries, kind: FailureKind, jitter: float) -> float | None:
    """Return the seconds from the end of the failed attempt to the next, or None when no try is left.

    Args:
        policy: The task's own.
        tries: With the failed attempt already charged.
        kind: Why it failed.
        jitter: In [0, 1): where in the 25 % above the plain delay the result lies.
    """
    if kind in NEVER_RETRIED:
        return None
    if kind in INFRASTRUCTURE and tries.downs >= POISONOUS:
        return None
    if kind in INFRASTRUCTURE:
        return pause(tries.losses) * (1 + JITTER * jitter) if tries.losses <= INFRASTRUCTURE_BUDGET else None
    if tries.failures > policy.retries:
        return None
    return backoff(policy, tries.failures) * (1 + JITTER * jitter)


def pause(losses: int) -> float:
    """Return the plain delay in seconds after the given number of losses, 1 or more."""
    return 0.0 if losses == 1 else float(FIRST_PAUSE * 2 ** (losses - 2))


def backoff(policy: RetryPolicy, failures: int) -> float:
    """Return the plain delay in seconds after the given number of failures, 1 or more."""
    if policy.delay == 0:
        return 0.0
    growth = min(failures - 1, 1_000)
    try:
        return min(policy.max_delay, policy.delay * policy.factor**growth)
    except OverflowError:
        return policy.max_delay

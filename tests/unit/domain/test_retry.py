from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.model.spec import RetryPolicy
from podium_coordinator.domain.retry import INFRASTRUCTURE_BUDGET, JITTER, Tries, backoff, charge, next_delay
from podium_coordinator.domain.states import FailureKind
from tests.unit.domain.semantics import (
    FINAL_KINDS,
    INFRASTRUCTURE_KINDS,
    INFRASTRUCTURE_RETRIES,
    INFRASTRUCTURE_WAITS,
    POISONOUS,
)

OWN_KINDS = sorted(set(FailureKind) - INFRASTRUCTURE_KINDS - FINAL_KINDS)
policies = st.builds(
    RetryPolicy,
    retries=st.integers(0, 1000),
    delay=st.floats(0, 1e9),
    factor=st.floats(1, 100),
    max_delay=st.floats(0, 1e9),
)


def test_the_defaults_are_no_retry_one_second_twice_as_long_each_time_five_minutes_at_most() -> None:
    assert RetryPolicy() == RetryPolicy(retries=0, delay=1.0, factor=2.0, max_delay=300.0)
    assert [backoff(RetryPolicy(), n) for n in (1, 2, 3, 9, 10, 1000)] == [1, 2, 4, 256, 300, 300]


@pytest.mark.parametrize(
    ("policy", "failures", "expected"),
    [
        (RetryPolicy(delay=0), 5, 0),
        (RetryPolicy(delay=0, factor=100), 1000, 0),
        (RetryPolicy(delay=10, factor=1), 7, 10),
        (RetryPolicy(delay=10, factor=1.5), 3, 22.5),
        (RetryPolicy(delay=1000), 1, 300),
        (RetryPolicy(delay=1, factor=100, max_delay=1e12), 1000, 1e12),
        (RetryPolicy(delay=1, factor=100), 100_000, 300),
    ],
)
def test_the_plain_delay_grows_by_its_factor_up_to_its_limit(
    policy: RetryPolicy, failures: int, expected: float
) -> None:
    assert backoff(policy, failures) == expected


@given(policies, st.integers(1, 2000), st.floats(0, 1, exclude_max=True))
def test_jitter_adds_at_most_a_quarter_and_never_shortens_a_delay(
    policy: RetryPolicy, failures: int, jitter: float
) -> None:
    tries = Tries(failures=min(failures, policy.retries))
    delay = next_delay(policy, tries, FailureKind.USER_ERROR, jitter)
    plain = backoff(policy, max(1, tries.failures)) if tries.failures else None
    if plain is not None:
        assert delay is not None
        assert plain <= delay <= plain * (1 + JITTER)


@pytest.mark.parametrize("kind", FailureKind)
def test_a_failure_is_charged_to_the_one_budget_that_pays_for_it(kind: FailureKind) -> None:
    tries = Tries()
    charge(tries, kind)
    assert tries == (Tries(losses=1) if kind in INFRASTRUCTURE_KINDS else Tries(failures=1))


@pytest.mark.parametrize("kind", OWN_KINDS)
@pytest.mark.parametrize("retries", [0, 1, 5])
def test_a_tasks_own_failures_are_retried_as_often_as_it_says(kind: FailureKind, retries: int) -> None:
    policy = RetryPolicy(retries=retries, factor=1)
    delays = [next_delay(policy, Tries(failures=n, losses=99), kind, 0.0) for n in range(1, retries + 2)]
    assert delays == [1.0] * retries + [None]


@pytest.mark.parametrize("kind", sorted(INFRASTRUCTURE_KINDS))
def test_losses_have_a_budget_of_their_own_and_waits_that_grow(kind: FailureKind) -> None:
    delays = [next_delay(RetryPolicy(), Tries(failures=99, losses=n), kind, 0.0) for n in range(1, 5)]
    assert delays == [*INFRASTRUCTURE_WAITS, None]
    assert INFRASTRUCTURE_BUDGET == INFRASTRUCTURE_RETRIES
    assert next_delay(RetryPolicy(), Tries(losses=2), kind, 0.5) == INFRASTRUCTURE_WAITS[1] * (1 + JITTER / 2)


def test_a_task_run_is_charged_for_agents_that_went_down_while_they_executed_it() -> None:
    tries = Tries()
    charge(tries, FailureKind.AGENT_LOST, executing=False)
    charge(tries, FailureKind.INTERNAL, executing=True)
    charge(tries, FailureKind.AGENT_LOST, executing=True)
    assert tries == Tries(losses=3, downs=1)


@pytest.mark.parametrize("kind", sorted(INFRASTRUCTURE_KINDS))
def test_a_task_run_that_took_three_agents_down_is_not_tried_again(kind: FailureKind) -> None:
    assert next_delay(RetryPolicy(), Tries(losses=3, downs=POISONOUS - 1), kind, 0.0) is not None
    assert next_delay(RetryPolicy(retries=9), Tries(losses=3, downs=POISONOUS), kind, 0.0) is None


@pytest.mark.parametrize("kind", sorted(FINAL_KINDS))
def test_what_no_try_could_mend_is_never_tried_again(kind: FailureKind) -> None:
    assert next_delay(RetryPolicy(retries=1000), Tries(failures=1), kind, 0.0) is None

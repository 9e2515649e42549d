from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from podium.model.rules import Tally, Verdict, judge
from podium.model.spec import TriggerRule
from podium_coordinator.domain.states import TaskRunState
from tests.unit.domain.semantics import TABLE, Upstreams, verdict

MEANS = {
    Verdict.WAIT: TaskRunState.PENDING,
    Verdict.START: TaskRunState.SCHEDULED,
    Verdict.SKIP: TaskRunState.SKIPPED,
    Verdict.UPSTREAM_FAILED: TaskRunState.UPSTREAM_FAILED,
}


def tallies(most: int) -> Iterator[Upstreams]:
    """Yield every way in which up to `most` upstream task runs can stand."""
    for n in range(most + 1):
        for s, f, u, k in product(range(n + 1), repeat=4):
            if s + f + u + k <= n:
                yield Upstreams(n, s, f, u, k)


def judged(rule: TriggerRule, counted: Upstreams) -> TaskRunState:
    return MEANS[judge(rule, Tally(counted.n, counted.s, counted.f, counted.u, counted.k))]


def and_one_more(counted: Upstreams) -> list[Upstreams]:
    """Return how the same upstreams can stand once one more of them has ended."""
    n, s, f, u, k = counted.n, counted.s, counted.f, counted.u, counted.k
    more = [(s + 1, f, u, k), (s, f + 1, u, k), (s, f, u + 1, k), (s, f, u, k + 1)]
    return [Upstreams(n, *ended) for ended in more] if counted.d < n else []


def test_the_written_table_knows_every_rule() -> None:
    assert set(TABLE) == set(TriggerRule)


@pytest.mark.parametrize("rule", TriggerRule)
def test_a_rule_says_what_the_written_table_says_of_every_tally(rule: TriggerRule) -> None:
    wrong = {
        counted: (judged(rule, counted), verdict(rule, counted))
        for counted in tallies(4)
        if judged(rule, counted) is not verdict(rule, counted)
    }
    assert wrong == {}


@pytest.mark.parametrize("rule", TriggerRule)
def test_a_task_without_upstreams_starts_at_once(rule: TriggerRule) -> None:
    assert judged(rule, Upstreams(0)) is TaskRunState.SCHEDULED


@pytest.mark.parametrize("rule", TriggerRule)
def test_no_rule_waits_once_all_upstreams_are_done(rule: TriggerRule) -> None:
    waiting = [
        counted for counted in tallies(4) if counted.d == counted.n and judged(rule, counted) is MEANS[Verdict.WAIT]
    ]
    assert waiting == []


@pytest.mark.parametrize("rule", TriggerRule)
def test_what_may_start_may_still_start_after_further_ends(rule: TriggerRule) -> None:
    started = [counted for counted in tallies(4) if judged(rule, counted) is MEANS[Verdict.START]]
    turned = [(a, b) for a in started for b in and_one_more(a) if judged(rule, b) is not MEANS[Verdict.START]]
    assert turned == []


@pytest.mark.parametrize("rule", TriggerRule)
def test_what_must_not_start_never_may_after_further_ends(rule: TriggerRule) -> None:
    over = {MEANS[Verdict.SKIP], MEANS[Verdict.UPSTREAM_FAILED]}
    ended = [counted for counted in tallies(4) if judged(rule, counted) in over]
    turned = [(a, b) for a in ended for b in and_one_more(a) if judged(rule, b) not in over]
    assert turned == []

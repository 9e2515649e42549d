"""Trigger rules: when a task starts, judged by how its direct upstream task runs ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from podium.model.spec import TriggerRule


class Verdict(Enum):
    """What a rule says of a task."""

    WAIT = auto()
    START = auto()
    SKIP = auto()
    UPSTREAM_FAILED = auto()


@dataclass(frozen=True, slots=True)
class Tally:
    """How many direct upstream task runs there are, and how many ended in which way."""

    total: int
    succeeded: int
    failed: int
    upstream_failed: int
    skipped: int

    @property
    def bad(self) -> int:
        """Failed in either way."""
        return self.failed + self.upstream_failed

    @property
    def done(self) -> int:
        """Ended in any way."""
        return self.succeeded + self.bad + self.skipped


def judge(rule: TriggerRule, tally: Tally) -> Verdict:
    """Return what `rule` says; a task without upstreams starts at once."""
    return Verdict.START if tally.total == 0 else _RULES[rule](tally)


def _start_when_done(tally: Tally) -> Verdict:
    return Verdict.START if tally.done == tally.total else Verdict.WAIT


def _all_success(tally: Tally) -> Verdict:
    if tally.bad:
        return Verdict.UPSTREAM_FAILED
    return Verdict.SKIP if tally.skipped else _start_when_done(tally)


def _all_failed(tally: Tally) -> Verdict:
    return Verdict.SKIP if tally.succeeded or tally.skipped else _start_when_done(tally)


def _all_done_min_one_success(tally: Tally) -> Verdict:
    if tally.skipped:
        return Verdict.SKIP
    if tally.done == tally.total and not tally.succeeded:
        return Verdict.UPSTREAM_FAILED
    return _start_when_done(tally)


def _one_success(tally: Tally) -> Verdict:
    if tally.succeeded:
        return Verdict.START
    if tally.done < tally.total:
        return Verdict.WAIT
    return Verdict.SKIP if tally.skipped == tally.total else Verdict.UPSTREAM_FAILED


def _one_failed(tally: Tally) -> Verdict:
    if tally.bad:
        return Verdict.START
    return Verdict.WAIT if tally.done < tally.total else Verdict.SKIP


def _one_done(tally: Tally) -> Verdict:
    if tally.succeeded or tally.failed:
        return Verdict.START
    return Verdict.WAIT if tally.done < tally.total else Verdict.SKIP


def _none_failed(tally: Tally) -> Verdict:
    return Verdict.UPSTREAM_FAILED if tally.bad else _start_when_done(tally)


def _none_failed_min_one_success(tally: Tally) -> Verdict:
    if tally.skipped == tally.total:
        return Verdict.SKIP
    return _none_failed(tally)


def _none_skipped(tally: Tally) -> Verdict:
    return Verdict.SKIP if tally.skipped else _start_when_done(tally)


def _all_skipped(tally: Tally) -> Verdict:
    return Verdict.SKIP if tally.succeeded or tally.bad else _start_when_done(tally)


def _always(_: Tally) -> Verdict:
    return Verdict.START


_RULES: dict[TriggerRule, Callable[[Tally], Verdict]] = {
    TriggerRule.ALL_SUCCESS: _all_success,
    TriggerRule.ALL_FAILED: _all_failed,
    TriggerRule.ALL_DONE: _start_when_done,
    TriggerRule.ALL_DONE_MIN_ONE_SUCCESS: _all_done_min_one_success,
    TriggerRule.ONE_SUCCESS: _one_success,
    TriggerRule.ONE_FAILED: _one_failed,
    TriggerRule.ONE_DONE: _one_done,
    TriggerRule.NONE_FAILED: _none_failed,
    TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS: _none_failed_min_one_success,
    TriggerRule.NONE_SKIPPED: _none_skipped,
    TriggerRule.ALL_SKIPPED: _all_skipped,
    TriggerRule.ALWAYS: _always,
}

"""The workflows that are killed in the middle. All of them compute what is known beforehand."""

from __future__ import annotations

from podium import task, workflow

from .ledger import ledgered, pass_gate

BRANCHES = 8


@task(cpu=0.5)
@ledgered
def source(seed: int) -> int:
    """Where all begins."""
    pass_gate("source")
    return seed


@task(cpu=0.5)
@ledgered
def first(value: int, branch: int) -> list[int]:
    """The first hop of a branch: even ones wait at a gate."""
    pass_gate("even" if branch % 2 == 0 else "odd")
    return [value, branch]


@task(cpu=0.5)
@ledgered
def second(pair: list[int]) -> int:
    """The second hop of a branch."""
    value, branch = pair
    return value * 100 + branch


@task(cpu=0.5)
@ledgered
def total(values: list[int]) -> int:
    """Where all ends."""
    return sum(values)


@workflow
def ledgered_fan(seed: int = 7) -> None:
    """A source, branches of two hops each, and their sum: 18 tasks."""
    value = source(seed)
    ends = [second(first.options(key=f"first_{i}")(value, i)) for i in range(BRANCHES)]
    total(ends)

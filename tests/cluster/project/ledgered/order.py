"""Workflows that show who starts when, and where."""

from __future__ import annotations

from podium import task, workflow

from .ledger import ledgered, pass_gate


@task(cpu=4, labels={"name": "a1"})
@ledgered
def fills_an_agent(number: int) -> int:
    """Take all of the first agent's cores."""
    return number


@task(cpu=4, labels={"name": "a1"})
@ledgered
def opens() -> None:
    """Hold the others back until all of them can be seen."""
    pass_gate("priorities")


@workflow
def priorities() -> None:
    """Six tasks that become ready together and fit only one by one; the later half is more urgent."""
    first = opens()
    for number in range(6):
        urgent = fills_an_agent.options(key=f"task_{number}", priority=10 if number >= 3 else -10)
        urgent(number).after(first)


@task(cpu=1.5, labels={"name": "a1"})
@ledgered
def takes_cores() -> None:
    """Hold a core and a half."""
    pass_gate("cores")


@task(cpu=0.1, memory="900MiB", labels={"name": "a2"})
@ledgered
def takes_memory() -> None:
    """Hold some memory."""
    pass_gate("cores")


@workflow
def resources() -> None:
    """More than fits: two of the first kind fit on the first agent, two of the second on the second."""
    for number in range(4):
        takes_cores.options(key=f"cores_{number}")()
        takes_memory.options(key=f"memory_{number}")()


@task(cpu=0.5)
@ledgered
def waits(name: str) -> str:
    """Wait at a gate."""
    pass_gate(name)
    return name


@workflow
def waiting(gate: str) -> None:
    """One task at a gate."""
    waits(gate)


@workflow
def waiting_on_a3(gate: str) -> None:
    """One task at a gate, on the third agent."""
    waits.options(labels={"name": "a3"})(gate)


@workflow
def anywhere() -> None:
    """A few tasks that anybody may execute."""
    for number in range(6):
        waits.options(key=f"task_{number}")("open")

"""Where workloads are measured: how large, how often, and what they have in common."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cluster import Site, postgres_version, running_site
from benchmarks.costs import Reading
from benchmarks.results import Result


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything is measured; the defaults are those of the table of bars."""

    fan_out: int = 10_000
    growth: tuple[int, ...] = (100, 1_000, 10_000, 100_000)
    chain: int = 200
    diamonds: int = 1_000
    calls: int = 100
    big: int = 100_000
    edges: int = 300_000
    agents: int = 1_000
    agent_tasks: int = 10_000
    heartbeat_seconds: float = 20.0
    idle_agents: int = 100
    idle_seconds: float = 30.0
    history: int = 10_000_000
    shells: int = 1_000
    spawns: int = 1_000


FULL = Scale()
QUICK = Scale(
    fan_out=1_000,
    growth=(100, 1_000),
    chain=50,
    diamonds=100,
    calls=30,
    big=5_000,
    edges=15_000,
    agents=100,
    agent_tasks=1_000,
    heartbeat_seconds=6.0,
    idle_agents=20,
    idle_seconds=8.0,
    history=0,
    shells=100,
    spawns=200,
)
SMALLEST = Scale(fan_out=20, growth=(20,), chain=5, calls=3, diamonds=3, history=0)


@dataclass
class Lab:
    """What a workload is given. `shared` is what workloads leave for later ones, by name."""

    scale: Scale
    repeats: int
    warm_ups: int
    folder: Path
    traced: bool = True
    facts: dict[str, Any] = field(default_factory=dict)
    shared: dict[str, float] = field(default_factory=dict)

    @asynccontextmanager
    async def site(self, agents: int = 1) -> AsyncIterator[Site]:
        """Run a new cluster until the end of the block."""
        async with running_site(self.folder, agents, traced=self.traced) as site:
            self.facts.setdefault("postgres", postgres_version(site.meter))
            yield site

    async def repeat(self, work: Callable[[], Awaitable[Any]], repeats: int | None = None) -> list[Any]:
        """Do the work some times to warm up, then as often as asked for; return what the counted times gave."""
        for _ in range(self.warm_ups):
            await work()
        return [await work() for _ in range(repeats or self.repeats)]

    def say(self, text: str) -> None:
        """Tell the person who waits."""
        print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Workload:
    """One row of the table of bars."""

    name: str
    title: str
    measure: Callable[[Lab], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Timed:
    """How long something took, in seconds, and what it used."""

    seconds: float
    spent: Reading

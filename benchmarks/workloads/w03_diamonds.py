"""W3: many small runs at once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from benchmarks.cluster import Site
from benchmarks.costs import Reading, per_task
from benchmarks.lab import Lab, Workload
from benchmarks.results import Result
from benchmarks.runs import NotSucceededError
from benchmarks.shapes import diamond
from benchmarks.spread import at_least, figure
from podium import AsyncRun, RunRequest

PAUSE = 0.05
CALLERS = 16
SINGLE_SHARE = 5


@dataclass(frozen=True, slots=True)
class Flood:
    """Seconds until all runs were accepted, seconds until all had ended, and what that used."""

    submit: float
    whole: float
    spent: Reading


async def measure(lab: Lab) -> Result:
    runs, single = lab.scale.diamonds, max(1, lab.scale.diamonds // SINGLE_SHARE)
    tasks = len(diamond().tasks)
    async with lab.site() as site:
        await site.register(diamond())
        batches: list[Flood] = await lab.repeat(lambda: _flood(site, runs, batch=True))
        calls: list[Flood] = await lab.repeat(lambda: _flood(site, single, batch=False))
    return Result(
        {
            "tasks": figure("tasks/s", [runs * tasks / each.whole for each in batches], at_least(5_000)),
            "submit, batch call": figure("runs/s", [runs / each.submit for each in batches], at_least(1_000)),
            f"submit, {CALLERS} callers": figure("runs/s", [single / each.submit for each in calls]),
        },
        {runs * tasks: per_task([each.spent for each in batches], runs * tasks)},
        [f"{runs:,} runs a time by the batch call, {single:,} by single calls."],
    )


async def _flood(site: Site, count: int, *, batch: bool) -> Flood:
    before, clock, began = site.meter.read(), time.time(), time.perf_counter()
    made = await (_by_batch(site, count) if batch else _by_calls(site, count))
    submit = time.perf_counter() - began
    whole = await _end(site, made) - clock
    return Flood(submit, whole, site.meter.read() - before)


async def _by_batch(site: Site, count: int) -> list[str]:
    made = await site.client.run_many([RunRequest("diamond")] * count)
    return [run.run_id for run in made if isinstance(run, AsyncRun)]


async def _by_calls(site: Site, count: int) -> list[str]:
    gate = asyncio.Semaphore(CALLERS)

    async def one() -> str:
        async with gate:
            return (await site.client.run("diamond")).run_id

    return await asyncio.gather(*[one() for _ in range(count)])


async def _end(site: Site, made: list[str]) -> float:
    """Wait until all these runs have ended; return when the last one did, by this machine's clock."""
    while True:
        ((unfinished, succeeded, last),) = site.meter.query(
            "SELECT count(*) FILTER (WHERE finished_at IS NULL), count(*) FILTER (WHERE state = 'succeeded'),"
            " extract(epoch FROM max(finished_at)) FROM podium.run WHERE run_id = ANY (%s::uuid[])",
            made,
        )
        if not unfinished:
            if succeeded != len(made):
                raise NotSucceededError(f"Of {len(made)} runs {succeeded} succeeded.")
            return float(last)
        await asyncio.sleep(PAUSE)


WORKLOAD = Workload("W3", "runs of a 10-task diamond, submitted as fast as the API takes them", measure)

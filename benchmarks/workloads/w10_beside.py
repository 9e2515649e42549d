"""W10: small runs while a large one is under way."""

from __future__ import annotations

import asyncio
import time

from benchmarks.cluster import Site
from benchmarks.lab import Lab, Workload
from benchmarks.results import Result
from benchmarks.runs import LONGEST, succeeded, to_end
from benchmarks.shapes import diamond, fan_out_of
from benchmarks.spread import at_most, figure, quantile

PERIOD = 0.1


async def measure(lab: Lab) -> Result:
    spec = fan_out_of(lab.scale.big)
    async with lab.site() as site:
        await site.register(spec)
        await site.register(diamond())
        await to_end(site, "diamond")
        alone, _ = await _big(site, spec.name, beside=False)
        together, taken = await _big(site, spec.name, beside=True)
    return Result(
        {
            "diamond, median": figure("ms", quantile(taken, 0.5), at_most(100)),
            "diamond, p99": figure("ms", quantile(taken, 0.99), at_most(400)),
            "the large run's loss": figure("%", 100 * (1 - alone / together), at_most(15)),
            "large run alone": figure("tasks/s", len(spec.tasks) / alone),
        },
        notes=[f"{len(taken)} diamonds, one every {PERIOD:g} s, all succeeded; from the call to the end as told."],
    )


async def _big(site: Site, workflow: str, *, beside: bool) -> tuple[float, list[float]]:
    """Return the seconds of the large run, and the milliseconds of each small one that came meanwhile."""
    began = time.perf_counter()
    run = await site.client.run(workflow)
    ending = asyncio.create_task(run.wait(timeout=LONGEST))
    small = await _small_until(site, ending) if beside else []
    succeeded(await ending)
    seconds = time.perf_counter() - began
    return seconds, await asyncio.gather(*small)


async def _small_until(site: Site, ending: asyncio.Task[object]) -> list[asyncio.Task[float]]:
    small: list[asyncio.Task[float]] = []
    while not ending.done():
        small.append(asyncio.create_task(_timed(site)))
        await asyncio.wait({ending}, timeout=PERIOD)
    return small


async def _timed(site: Site) -> float:
    began = time.perf_counter()
    await to_end(site, "diamond")
    return 1000 * (time.perf_counter() - began)


WORKLOAD = Workload("W10", "a diamond every 100 ms while a large run is under way", measure)

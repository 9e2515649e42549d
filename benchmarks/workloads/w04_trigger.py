"""W4: from the client's call to the task's body, on an idle cluster."""

from __future__ import annotations

import time

from benchmarks.cluster import Site
from benchmarks.lab import Lab, Workload
from benchmarks.results import Result
from benchmarks.runs import to_end
from benchmarks.shapes import single
from benchmarks.spread import at_most, figure, quantile


async def measure(lab: Lab) -> Result:
    async with lab.site() as site:
        await site.register(single())
        found: list[list[float]] = await lab.repeat(lambda: calls(site, lab.scale.calls))
    return Result(
        {
            "call to body, median": figure("ms", [quantile(each, 0.5) for each in found], at_most(5)),
            "call to body, p99": figure("ms", [quantile(each, 0.99) for each in found], at_most(12)),
        },
        notes=[f"{lab.scale.calls} calls a time, each after the run before has ended."],
    )


async def calls(site: Site, count: int) -> list[float]:
    """Return the milliseconds of each of some calls."""
    return [await _call(site) for _ in range(count)]


async def _call(site: Site) -> float:
    called = time.time()
    run = await to_end(site, "single")
    outputs = await run.outputs("only")
    return 1000 * (float(outputs["only"]) - called)


WORKLOAD = Workload("W4", "idle cluster: client call to task body", measure)

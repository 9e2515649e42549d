"""W1: one task, then many, then one; and what each costs as they become more."""

from __future__ import annotations

from benchmarks.costs import per_task
from benchmarks.lab import Lab, Timed, Workload
from benchmarks.results import Result
from benchmarks.runs import timed
from benchmarks.shapes import fan_out, fan_out_of
from benchmarks.spread import at_least, figure

AT_ONCE = 1_000
"""Tasks of one measurement at least: small runs are measured several in a row."""
LARGE = 50_000
"""Tasks from which on a run is measured once."""


async def measure(lab: Lab) -> Result:
    result = Result()
    async with lab.site() as site:
        for width in sorted({*lab.scale.growth, lab.scale.fan_out}):
            spec = fan_out(width) if width < LARGE else fan_out_of(width)  # a definition has 100,000 tasks at most
            await site.register(spec)
            times, tasks = max(1, AT_ONCE // width), len(spec.tasks)
            found: list[Timed] = await _measured(lab, width, lambda name=spec.name, n=times: timed(site, name, n))
            result.costs[width] = per_task([each.spent for each in found], tasks * times)
            rates = [times * tasks / each.seconds for each in found]
            bar = at_least(10_000) if width == lab.scale.fan_out else None
            result.figures[f"tasks, {width:,} wide"] = figure("tasks/s", rates, bar)
            lab.shared[f"W1 {width} seconds per task"] = 1 / result.figures[f"tasks, {width:,} wide"].median
    return result


async def _measured(lab: Lab, width: int, work: object) -> list[Timed]:
    assert callable(work)
    if width >= LARGE:
        return [await work()]
    return await lab.repeat(work)


WORKLOAD = Workload("W1", "fan-out: 1 -> n no-op python tasks -> 1, each asking one cpu", measure)

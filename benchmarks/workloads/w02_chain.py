"""W2: one task after the other."""

from __future__ import annotations

from itertools import pairwise

from benchmarks.cluster import Site
from benchmarks.costs import per_task
from benchmarks.lab import Lab, Timed, Workload
from benchmarks.results import Result
from benchmarks.runs import to_end
from benchmarks.shapes import chain
from benchmarks.spread import at_most, figure, quantile


async def measure(lab: Lab) -> Result:
    spec = chain(lab.scale.chain)
    async with lab.site() as site:
        await site.register(spec)
        found: list[tuple[list[float], Timed]] = await lab.repeat(lambda: _hops(site, spec.name, len(spec.tasks)))
    hops = [each[0] for each in found]
    return Result(
        {
            "hop, median": figure("ms", [quantile(each, 0.5) for each in hops], at_most(2.5)),
            "hop, p99": figure("ms", [quantile(each, 0.99) for each in hops], at_most(8)),
            "run per hop": figure("ms", [1000 * each[1].seconds / len(spec.tasks) for each in found]),
        },
        {len(spec.tasks): per_task([each[1].spent for each in found], len(spec.tasks))},
        ["A hop is from one task's body to the next one's."],
    )


async def _hops(site: Site, workflow: str, length: int) -> tuple[list[float], Timed]:
    """Return the milliseconds from each task's first line to that of the next one."""
    before = site.meter.read()
    run = await to_end(site, workflow)
    spent = site.meter.read() - before
    values = await run.outputs(*(f"t{i}" for i in range(length)))
    bodies = [float(values[f"t{i}"]) for i in range(length)]
    return [1000 * (after - begin) for begin, after in pairwise(bodies)], Timed(spent.at, spent)


WORKLOAD = Workload("W2", "chain of no-op python tasks", measure)

"""W5: one large run, of two shapes."""

from __future__ import annotations

import time

from benchmarks.cluster import Site
from benchmarks.costs import peak_memory, per_task
from benchmarks.lab import Lab, Workload
from benchmarks.lag_log import lag_of
from benchmarks.results import Result
from benchmarks.runs import LONGEST, succeeded, timed
from benchmarks.shapes import edges_of, fan_out, fan_out_of, layered
from benchmarks.spread import at_most, figure
from podium.model.spec import WorkflowSpec

MB = 1_000_000


async def measure(lab: Lab) -> Result:
    """Measure each shape once, in a cluster of its own: the peak of memory is the process's."""
    result = Result()
    for name, spec in (
        ("fan-out", fan_out_of(lab.scale.big)),
        ("layered", layered(lab.scale.big, lab.scale.edges)),
    ):
        async with lab.site() as site:
            await _measure(lab, site, name, spec, result)
    result.notes.append("Submission is registering the definition and starting the run; once, after a run of W1.")
    return result


async def _measure(lab: Lab, site: Site, name: str, spec: WorkflowSpec, result: Result) -> None:
    usual = await _usual(lab, site)
    async with lag_of(site.log) as lag:
        before, began = site.meter.read(), time.perf_counter()
        await site.register(spec)
        run = await site.client.run(spec.name)
        submit = time.perf_counter() - began
        succeeded(await run.wait(timeout=LONGEST))
        seconds = time.perf_counter() - began - submit
        spent = site.meter.read() - before
    tasks = len(spec.tasks)
    lab.shared[f"W5 {name} seconds"] = seconds
    result.costs[name] = per_task([spent], tasks)
    result.notes.append(f"{name}: {tasks:,} tasks, {edges_of(spec):,} edges; latest tick {lag.most_ms:.0f} ms")
    result.figures |= {
        f"{name}: submit": figure("s", submit, at_most(5)),
        f"{name}: tasks": figure("tasks/s", tasks / seconds),
        f"{name}: per task, of W1's": figure("x", seconds / tasks / usual, at_most(1.5)),
        f"{name}: coordinator's peak RSS": figure("MB", peak_memory(site.meter.roots.coordinator) / MB, at_most(400)),
        f"{name}: loop lag, p99": figure("ms", lag.p99_ms, at_most(100)),
    }


async def _usual(lab: Lab, site: Site) -> float:
    """Return the seconds per task of a run of W1 on this cluster."""
    spec = fan_out(lab.scale.fan_out)
    await site.register(spec)
    found = await lab.repeat(lambda: timed(site, spec.name), 1)
    return float(found[0].seconds / len(spec.tasks))


WORKLOAD = Workload("W5", "one large run: fan-out, and layered random DAG", measure)

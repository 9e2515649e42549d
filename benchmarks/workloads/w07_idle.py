"""W7: nothing to do."""

from __future__ import annotations

import asyncio

from benchmarks.fleet import running_fleet
from benchmarks.lab import Lab, Workload
from benchmarks.results import Result
from benchmarks.spread import at_most, figure
from benchmarks.statements import but_the_lease, seen

SHOWN = 160


async def measure(lab: Lab) -> Result:
    agents, seconds = lab.scale.idle_agents, lab.scale.idle_seconds
    async with lab.site(agents=0) as site, running_fleet(site.address, agents, 1000):
        await asyncio.sleep(2)  # until what their coming has caused is behind us
        before = site.meter.read()
        found = await seen(site.meter, seconds)
        spent = site.meter.read() - before
    offending = but_the_lease(found)
    result = Result(
        {
            "statements but the lease": figure("per minute", offending.total() * 60 / seconds, at_most(0)),
            "statements, the lease's too": figure("per minute", found.total() * 60 / seconds),
            "coordinator": figure("% of a core", spent.cpu["coordinator"] / spent.at / 1e7, at_most(1)),
            "WAL": figure("bytes/s", spent.wal / spent.at),
        },
        notes=[f"{agents} simulated agents, watched for {seconds:g} s."],
    )
    result.notes += [f"{count}x {name}: {text[:SHOWN]}" for (name, text), count in found.most_common()]
    return result


WORKLOAD = Workload("W7", "idle cluster with agents", measure)

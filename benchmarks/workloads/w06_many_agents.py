"""W6: a thousand agents."""

from __future__ import annotations

import asyncio

from benchmarks.cluster import Site
from benchmarks.costs import Reading, per_task
from benchmarks.fleet import running_fleet
from benchmarks.lab import Lab, Timed, Workload
from benchmarks.results import Result
from benchmarks.runs import timed
from benchmarks.shapes import fan_out
from benchmarks.spread import at_most, figure

FEW = 10


async def measure(lab: Lab) -> Result:
    many, width, seconds = lab.scale.agents, lab.scale.agent_tasks, lab.scale.heartbeat_seconds
    _, few = await _with(lab, FEW, many * 1000 // FEW, width, 0)
    idle, crowd = await _with(lab, many, 1000, width, seconds)
    assert idle is not None
    cpu = [[each.spent.cpu["coordinator"] / width for each in found] for found in (few, crowd)]
    lost = lab.shared["W6 lost"]
    result = Result(
        {
            "coordinator while idle": figure("% of a core", idle.cpu["coordinator"] / idle.at / 1e7, at_most(5)),
            "tasks": figure("tasks/s", [width / each.seconds for each in crowd]),
            f"coordinator CPU per task, of that at {FEW} agents": figure(
                "x", [a / b for a, b in zip(cpu[1], cpu[0], strict=True)]
            ),
            "agents or attempts lost": figure("count", lost, at_most(0)),
        }
    )
    result.costs[width] = per_task([each.spent for each in crowd], width)
    result.notes.append(
        f"{many:,} agents of one core in one process; idle for {seconds:g} s, then {width:,} tasks a time."
    )
    return result


async def _with(lab: Lab, agents: int, cpu_millis: int, width: int, idle: float) -> tuple[Reading | None, list[Timed]]:
    """Return what the cluster uses while that many agents are idle, and what a fan-out takes on them."""
    spec = fan_out(width)
    async with lab.site(agents=0) as site:
        await site.register(spec)
        async with running_fleet(site.address, agents, cpu_millis) as fleet:
            spent = await _idle(site, idle) if idle else None
            found = await lab.repeat(lambda: timed(site, spec.name))
            lost = _lost(site, agents)
        lab.shared["W6 lost"] = lab.shared.get("W6 lost", 0) + lost + fleet.seen["ended"] + fleet.seen["stale"]
    return spent, found


async def _idle(site: Site, seconds: float) -> Reading:
    await asyncio.sleep(1)  # until the last one's coming is behind us
    before = site.meter.read()
    await asyncio.sleep(seconds)
    return site.meter.read() - before


def _lost(site: Site, agents: int) -> int:
    """Return how many agents are not connected, and how many attempts were lost, as the database tells."""
    ((connected, lost),) = site.meter.query(
        "SELECT (SELECT count(*) FROM podium.agent WHERE state = 'connected'),"
        " (SELECT count(*) FROM podium.attempt WHERE state = 'lost')"
    )
    return agents - int(connected) + int(lost)


WORKLOAD = Workload("W6", "simulated agents with real streams: heartbeats, then a fan-out", measure)

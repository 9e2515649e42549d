"""W9: programs, beside what the machine takes to start one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

from benchmarks.costs import per_task
from benchmarks.lab import Lab, Timed, Workload
from benchmarks.results import Result
from benchmarks.runs import timed
from benchmarks.shapes import TRUE, fan_out
from benchmarks.spread import at_least, at_most, figure

SPAWN = """
import os, sys
for _ in range(int(sys.argv[1])):
    os.waitpid(os.posix_spawnp("true", ["true"], os.environ), 0)
"""


async def measure(lab: Lab) -> Result:
    spec = fan_out(lab.scale.shells, TRUE, "shells")
    floors = await lab.repeat(lambda: asyncio.to_thread(floor, lab.scale.spawns))
    async with lab.site() as site:
        await site.register(spec)
        found: list[Timed] = await lab.repeat(lambda: timed(site, spec.name))
    rates = [len(spec.tasks) / each.seconds for each in found]
    tasks, starts = figure("tasks/s", rates, at_least(250)), figure("starts/s", floors)
    return Result(
        {
            "tasks": tasks,
            "floor of process start, all cores": starts,
            "times as slow as the floor": figure("x", starts.median / tasks.median, at_most(2)),
        },
        {lab.scale.shells: per_task([each.spent for each in found], len(spec.tasks))},
        ["The floor: one small process per core starts `true` by posix_spawn and waits for it, again and again."],
    )


def floor(count: int) -> float:
    """Return how many processes per second this machine starts and ends, with all cores at it."""
    cores = os.cpu_count() or 1
    each = max(1, count // cores)
    began = time.perf_counter()
    loops = [subprocess.Popen([sys.executable, "-S", "-E", "-c", SPAWN, str(each)]) for _ in range(cores)]
    assert not any([loop.wait() for loop in loops])  # noqa: C419 - all of them have to be waited for
    return cores * each / (time.perf_counter() - began)


WORKLOAD = Workload("W9", "shell tasks (`true`)", measure)

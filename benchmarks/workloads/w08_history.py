"""W8: a database with a long past."""

from __future__ import annotations

import shutil
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

from benchmarks.cluster import Site
from benchmarks.history import BYTES_PER_ATTEMPT, fill
from benchmarks.lab import Lab, Timed, Workload
from benchmarks.results import Result
from benchmarks.runs import timed
from benchmarks.shapes import fan_out, single
from benchmarks.spread import at_most, figure, quantile
from benchmarks.workloads.w04_trigger import calls
from podium import RunState

READS = 20


async def measure(lab: Lab) -> Result:
    attempts = lab.scale.history
    if not attempts:
        return Result(notes=["Not measured: --history says how many attempts to put into the database."])
    free = shutil.disk_usage(lab.folder).free
    if free < 2 * attempts * BYTES_PER_ATTEMPT:
        return Result(
            notes=[f"Not measured: {free:,} bytes are free, {2 * attempts * BYTES_PER_ATTEMPT:,} are needed."]
        )
    async with lab.site() as site:
        await site.register(fan_out(lab.scale.fan_out))
        await site.register(single())
        before = await _usual(lab, site)
        began = time.perf_counter()
        past = await fill(site, attempts, lab.say)
        filled = time.perf_counter() - began
        after = await _usual(lab, site)
        reads = await _reads(site, past[len(past) // 2])
    names = ("W1 seconds", "W1 CPU", "W4 milliseconds")
    result = Result(
        {
            f"{name}, of that without": figure("x", new / old, at_most(1.2))
            for name, new, old in zip(names, after, before, strict=True)
        }
    )
    result.figures |= {name: figure("ms", taken, at_most(50)) for name, taken in reads.items()}
    result.notes.append(f"{len(past):,} finished runs with {attempts:,} attempts, written in {filled:.0f} s.")
    return result


async def _usual(lab: Lab, site: Site) -> tuple[float, float, float]:
    """Return the medians of the seconds and the processor time of W1, and of the milliseconds of W4."""
    spec = fan_out(lab.scale.fan_out)
    runs: list[Timed] = await lab.repeat(lambda: timed(site, spec.name))
    found: list[list[float]] = await lab.repeat(lambda: calls(site, lab.scale.calls))
    return (
        quantile([run.seconds for run in runs], 0.5),
        quantile([run.spent.cpu.total() for run in runs], 0.5),
        quantile([quantile(each, 0.5) for each in found], 0.5),
    )


async def _reads(site: Site, run_id: UUID) -> dict[str, list[float]]:
    """Return how long reading takes each time, in milliseconds, by what is read."""
    client, name = site.client, str(run_id)
    reads: dict[str, Callable[[], Awaitable[object]]] = {
        "list runs": lambda: client.list_runs(limit=100),
        "list runs of a workflow": lambda: client.list_runs(workflow="single", limit=100),
        "list failed runs": lambda: client.list_runs(states=[RunState.FAILED], limit=100),
        "show an old run": lambda: client.get_run(name),
        "list its task runs": lambda: client.list_task_runs(name, limit=100),
        "list its attempts": lambda: client.list_attempts(name, limit=100),
        "read its outputs": lambda: client.get_outputs(name),
    }
    return {what: [await _ms(read) for _ in range(READS)] for what, read in reads.items()}


async def _ms(read: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await read()
    return 1000 * (time.perf_counter() - began)


WORKLOAD = Workload("W8", "many finished attempts in the database", measure)

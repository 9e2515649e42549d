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
from benchmarks.spread import Figure, at_most, figure, quantile
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
        old = await fill(site, attempts, lab.say)
        filled = time.perf_counter() - began
        after = await _usual(lab, site)
        reads = await _reads(site, old[len(old) // 2])
    result = Result({"W1, of that without": _of(after[0], before[0]), "W4, of that without": _of(after[1], before[1])})
    result.figures |= {f"{name}, slowest of {READS}": figure("ms", ms, at_most(50)) for name, ms in reads.items()}
    result.notes.append(f"{len(old):,} finished runs with {attempts:,} attempts, written in {filled:.0f} s.")
    return result


async def _usual(lab: Lab, site: Site) -> tuple[float, float]:
    """Return the medians of the seconds of W1 and the milliseconds of W4."""
    spec = fan_out(lab.scale.fan_out)
    runs: list[Timed] = await lab.repeat(lambda: timed(site, spec.name))
    found: list[list[float]] = await lab.repeat(lambda: calls(site, lab.scale.calls))
    return quantile([run.seconds for run in runs], 0.5), quantile([quantile(each, 0.5) for each in found], 0.5)


def _of(after: float, before: float) -> Figure:
    return figure("x", after / before, at_most(1.2))


async def _reads(site: Site, run_id: UUID) -> dict[str, float]:
    """Return how long reading takes at most, in milliseconds, by what is read."""
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
    return {what: max([await _ms(read) for _ in range(READS)]) for what, read in reads.items()}


async def _ms(read: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await read()
    return 1000 * (time.perf_counter() - began)


WORKLOAD = Workload("W8", "many finished attempts in the database", measure)

"""Runs from the call to the end."""

from __future__ import annotations

import time

from benchmarks.cluster import Site
from benchmarks.lab import Timed
from podium import AsyncRun, RunState

LONGEST = 1800.0


class NotSucceededError(Exception):
    """A run of a workload did not succeed."""


async def to_end(site: Site, workflow: str) -> AsyncRun:
    """Start a run and return it once it has succeeded."""
    run = await site.client.run(workflow)
    return succeeded(await run.wait(timeout=LONGEST))


def succeeded(run: AsyncRun) -> AsyncRun:
    if run.state is not RunState.SUCCEEDED:
        raise NotSucceededError(f"Run {run.run_id} of {run.workflow} {run.state}: {run.reason}")
    return run


async def timed(site: Site, workflow: str, times: int = 1) -> Timed:
    """Run a workflow some times, one after the other; return the time from the first call to the last end."""
    before = site.meter.read()
    began = time.perf_counter()
    for _ in range(times):
        await to_end(site, workflow)
    seconds = time.perf_counter() - began
    return Timed(seconds, site.meter.read() - before)

"""Clients that never stop asking while something is done to the cluster: which calls failed, how long they took."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from podium import AsyncClient
from podium.errors import PodiumError, RunAlreadyFinishedError
from podium.model.states import RunState
from tests.cluster.cluster import Cluster

FOLLOW_SECONDS = 60.0
PACE = 0.05
"""Seconds between two rounds of calls of one client."""
SMALL = "anywhere"
"""A workflow of six tasks that do nothing."""


@dataclass(slots=True)
class Calls:
    """What became of the calls: what those were told that failed, and the runs whose creation was acknowledged."""

    made: int = 0
    slowest: float = 0.0
    failed: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def calling(cluster: Cluster) -> AsyncIterator[Calls]:
    """Make calls of every kind all through the block; at its end those under way are waited for."""
    calls = Calls()
    enough = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(cluster.client()) for _ in (_submit, _read, _follow)]
        kinds = zip((_submit, _read, _follow), clients, strict=True)
        callers = [asyncio.create_task(_again_and_again(kind, client, calls, enough)) for kind, client in kinds]
        try:
            yield calls
        finally:
            enough.set()
            await asyncio.gather(*callers)


Kind = Callable[[AsyncClient, Calls], Awaitable[None]]


async def _again_and_again(kind: Kind, client: AsyncClient, calls: Calls, enough: asyncio.Event) -> None:
    while not enough.is_set():
        try:
            await kind(client, calls)
        except PodiumError as error:
            calls.failed.append(f"{kind.__name__}: {error!r}")
        await asyncio.sleep(PACE)  # leaves the cluster something of the machine


async def _timed(calls: Calls, call: Awaitable[object]) -> None:
    began = time.monotonic()
    await call
    calls.made += 1
    calls.slowest = max(calls.slowest, time.monotonic() - began)


async def _submit(client: AsyncClient, calls: Calls) -> None:
    """Create a run and cancel it, or let it go."""
    began = time.monotonic()
    run = await client.run(SMALL)
    calls.runs.append(run.run_id)
    calls.made += 1
    calls.slowest = max(calls.slowest, time.monotonic() - began)
    if len(calls.runs) % 5 == 0:
        with contextlib.suppress(RunAlreadyFinishedError):
            await _timed(calls, run.cancel("not wanted any more"))


async def _read(client: AsyncClient, calls: Calls) -> None:
    """Read what there is: workflows, agents, runs, task runs."""
    await _timed(calls, client.list_workflows())
    await _timed(calls, client.list_agents())
    if calls.runs:
        await _timed(calls, client.get_run(calls.runs[-1]))
        await _timed(calls, client.list_task_runs(calls.runs[-1]))
    await _timed(calls, client.put_blob(b"x" * 1000))


async def _follow(client: AsyncClient, calls: Calls) -> None:
    """See a run through: create it, watch it to its end, read its outputs and a log."""
    run = await client.run(SMALL)
    calls.runs.append(run.run_id)
    ended = await run.wait(FOLLOW_SECONDS)
    assert ended.state is RunState.SUCCEEDED, ended
    calls.made += 3
    assert await ended.outputs()
    async for _ in client.read_log(run.run_id, "task_0"):
        pass

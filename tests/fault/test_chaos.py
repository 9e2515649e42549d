"""Anything may die at any moment: while runs come and go, processes are killed one after the other, by chance."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator

import pytest

from podium.model.states import RunState
from tests.cluster import harm
from tests.cluster.cluster import Cluster
from tests.cluster.fixtures import running_cluster
from tests.cluster.processes import FileWatch
from tests.cluster.witness import Watched, Witness
from tests.fault.recording import Bound, Figures
from tests.fault.workload import EXPECTED, SEED

# Bounds in seconds.
UNTIL_SOMETHING_EXECUTES = 60.0
FROM_THE_LAST_FAULT_TO_THE_END = Bound("from the last of 8 kills by chance to the end of the runs", 90.0)

AT_ONCE = 4
KILLS = ("coordinator", "coordinator", "postgres", "postgres", "session", "session", "agent", "agent")
"""No task run can lose more attempts than its budget allows: agents are killed twice only."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


async def kill_agent(cluster: Cluster, name: str) -> None:
    await harm.kill_agent(cluster, name)
    cluster.agents[name].start()


async def kill_coordinator(cluster: Cluster, _: str) -> None:
    await harm.kill_coordinator(cluster)
    await cluster.restart_coordinator()


async def kill_postgres(cluster: Cluster, _: str) -> None:
    await harm.kill_postgres(cluster)


async def kill_session(cluster: Cluster, name: str) -> None:
    with contextlib.suppress(harm.NoSessionError):
        await harm.kill_session(cluster, name)


KILL: dict[str, Callable[[Cluster, str], Awaitable[None]]] = {
    "coordinator": kill_coordinator,
    "postgres": kill_postgres,
    "session": kill_session,
    "agent": kill_agent,
}


@pytest.mark.timeout(400)
async def test_anything_may_die_at_any_moment(
    cluster: Cluster, witness: Witness, chance: random.Random, figures: Figures
) -> None:
    runs: list[Watched] = []
    for victim in chance.sample(KILLS, len(KILLS)):
        runs += [await witness.start("ledgered_fan", EXPECTED, seed=SEED) for _ in range(AT_ONCE)]
        await lines_in_ledger(cluster, chance.randint(1, 40))
        await KILL[victim](cluster, chance.choice(["a1", "a2"]))
    figures.strike()
    for run in runs:
        assert (await run.ended(FROM_THE_LAST_FAULT_TO_THE_END.most)).state is RunState.SUCCEEDED
    figures.recovered(FROM_THE_LAST_FAULT_TO_THE_END)
    evidence = await witness.assert_clean()
    assert {row.state for row in evidence.attempts} <= {"succeeded", "lost", "taken_back"}
    await cluster.connected(*cluster.agents)


async def lines_in_ledger(cluster: Cluster, count: int) -> None:
    """Return when tasks have noted so many more starts and ends."""
    wanted = cluster.ledger.read_bytes().count(b"\n") + count
    async with asyncio.timeout(UNTIL_SOMETHING_EXECUTES):
        with FileWatch(cluster.ledger) as watch:
            while cluster.ledger.read_bytes().count(b"\n") < wanted:
                await watch.changed()

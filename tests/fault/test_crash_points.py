"""The coordinator dies at each declared crash point under a workload, and commits whose outcome is not told.

The outputs are the same, and the ledger is clean. A point that is declared and never hit fails its test: the
coordinator then goes on, and its death is waited for in vain.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Iterator

import psycopg
import pytest

from podium.errors import UnavailableError
from podium.model.states import RunState
from podium_coordinator.store.faults import CRASH_AT, CRASH_POINTS, RAISE_AFTER_COMMIT
from tests.cluster.cluster import BRISK, Cluster
from tests.cluster.fixtures import PROJECT
from tests.cluster.processes import EndedEarlyError
from tests.cluster.witness import Witness
from tests.fault.workload import EXPECTED, SEED

# Bounds in seconds.
DEATH = 60.0
"""From the start of the workload to the coordinator's death."""
AFTER_RESTART = 60.0
UNSURE_OF_ONE_PERCENT = 90.0
UNSURE_OF_EVERY_OTHER = 120.0

CRASHED = 137
SEVERAL = 8


@pytest.fixture
def fresh() -> Iterator[Cluster]:
    """A cluster that is not started: its database has never been migrated."""
    cluster = Cluster(BRISK)
    try:
        yield cluster
    finally:
        cluster.end()


def moment(point: str, chance: random.Random) -> str:
    """Return when to die at a point: at the first time of those of the start, later at those of the loop."""
    return f"{point}:{chance.randint(3, 9)}" if point.startswith("journal.") else point


async def work(cluster: Cluster, request_id: str) -> None:
    """Start the cluster and a run, as far as one gets before the coordinator dies."""
    await cluster.start()
    async with cluster.client() as client:
        await client.deploy(PROJECT)
        run = await client.run("ledgered_fan", request_id=request_id, seed=SEED)
        await run.wait()


@pytest.mark.parametrize("point", sorted(CRASH_POINTS))
async def test_the_coordinator_dies_at(point: str, fresh: Cluster, chance: random.Random) -> None:
    at = moment(point, chance)
    request_id = uuid.uuid4().hex
    fresh.coordinator.environment = {**fresh.coordinator.environment, CRASH_AT: at}
    working = asyncio.create_task(work(fresh, request_id))
    async with asyncio.timeout(DEATH):
        await fresh.started.wait()
        assert await fresh.coordinator.ended() == CRASHED
    working.cancel()
    with pytest.raises((asyncio.CancelledError, EndedEarlyError, UnavailableError)):
        await working
    await after_restart(fresh, request_id)


async def after_restart(cluster: Cluster, request_id: str) -> None:
    await cluster.restart_coordinator(**{CRASH_AT: ""})
    await cluster.connected(*cluster.agents)
    async with Witness(cluster) as witness:
        await witness.client.deploy(PROJECT)
        run = await witness.start("ledgered_fan", EXPECTED, request_id, seed=SEED)
        assert (await run.ended(AFTER_RESTART)).state is RunState.SUCCEEDED
        evidence = await witness.assert_clean()
        assert len(evidence.runs) == 1
    [runs] = sql(cluster, "SELECT count(*) FROM podium.run")
    assert runs == 1, "the request that was repeated made one run"


def sql(cluster: Cluster, query: str) -> tuple[int, ...]:
    with psycopg.connect(cluster.conninfo) as link:
        row = link.execute(query.encode()).fetchone()
        assert row is not None
        return row


async def test_one_commit_in_a_hundred_is_done_without_telling(chance: random.Random) -> None:
    unsure = [chance.randint(5, 40), *(number for number in range(41, 5000) if chance.random() < 0.01)]
    await run_unsure(unsure, UNSURE_OF_ONE_PERCENT, runs=SEVERAL)


async def test_every_other_commit_is_done_without_telling() -> None:
    await run_unsure(list(range(1, 4000, 2)), UNSURE_OF_EVERY_OTHER, runs=1)


async def run_unsure(unsure: list[int], seconds: float, runs: int) -> None:
    """Run a workload on a shard that takes a new epoch, and reads everything back, after each of these commits."""
    settings = {**BRISK, RAISE_AFTER_COMMIT: ",".join(map(str, unsure))}
    cluster = Cluster(settings)
    try:
        async with asyncio.timeout(seconds):
            await cluster.start()
            async with Witness(cluster) as witness:
                await witness.client.deploy(PROJECT)
                watched = [await witness.start("ledgered_fan", EXPECTED, seed=SEED) for _ in range(runs)]
                for run in watched:
                    assert (await run.ended(seconds)).state is RunState.SUCCEEDED
                evidence = await witness.assert_clean()
                states = {row.state for row in evidence.attempts}
                assert states <= {"succeeded", "taken_back"}, "no agent was lost, and no attempt"
        [epoch] = sql(cluster, "SELECT epoch FROM podium.leadership")
        assert epoch > 1, "not one of the commits was left untold"
    finally:
        cluster.end()

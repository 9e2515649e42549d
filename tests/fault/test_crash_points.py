"""The coordinator dies at each declared crash point under a workload, and commits whose outcome is not told.

The outputs are the same, and the ledger is clean. A point that is declared and never hit fails its test: the
coordinator then goes on, and its death is waited for in vain.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import uuid
from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest

from podium.errors import UnavailableError
from podium.model.states import RunState
from podium_coordinator.store.faults import CRASH_AT, CRASH_POINTS, RAISE_AFTER_COMMIT
from tests.cluster.cluster import BRISK, Cluster
from tests.cluster.fixtures import PROJECT
from tests.cluster.processes import EndedEarlyError
from tests.cluster.witness import Witness
from tests.fault.recording import Bound, Figures
from tests.fault.workload import EXPECTED, SEED, assert_nothing_lost

# Bounds in seconds.
DEATH = 60.0
"""From the start of the workload to the coordinator's death."""
AFTER_RESTART = Bound("from the start after a crash to the end of the run", 60.0)
UNSURE = Bound("from the start of runs, whose commits are done without telling, to their end", 90.0)

CRASHED = 137
SEVERAL = 24

AT_THE_START = ("migrate.before_commit", "migrate.after_commit", "leadership.after_epoch")
IN_THE_LOOP = ("journal.before_commit", "journal.after_commit")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of which nothing is started: its database has never been migrated."""
    made = Cluster(BRISK)
    try:
        yield made
    finally:
        made.end()


def test_every_declared_crash_point_is_hit_here() -> None:
    assert {*AT_THE_START, *IN_THE_LOOP} == CRASH_POINTS


async def test_the_coordinator_dies_again_and_again_while_it_starts(cluster: Cluster, figures: Figures) -> None:
    for point in AT_THE_START:
        cluster.coordinator.start(**{CRASH_AT: point})
        async with asyncio.timeout(DEATH):
            assert await cluster.coordinator.ended() == CRASHED, point
    figures.strike()
    await cluster.start()
    await run_to_the_end(cluster, uuid.uuid4().hex, figures)


@pytest.mark.parametrize("point", IN_THE_LOOP)
async def test_the_coordinator_dies_in_the_middle_of_its_work(
    point: str, cluster: Cluster, chance: random.Random, figures: Figures
) -> None:
    request_id = uuid.uuid4().hex
    await start_anew(cluster, **{CRASH_AT: f"{point}:{chance.randint(3, 9)}"})
    working = asyncio.create_task(work(cluster, request_id))
    async with asyncio.timeout(DEATH):
        assert await cluster.coordinator.ended() == CRASHED
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError, EndedEarlyError, UnavailableError):
        await working
    figures.strike()
    await cluster.restart_coordinator()
    await cluster.connected(*cluster.agents)
    await run_to_the_end(cluster, request_id, figures)


async def start_anew(cluster: Cluster, **faults: str) -> None:
    """Start the coordinator with faults; and agents, when there are none yet."""
    cluster.coordinator.tell(signal.SIGTERM)
    if cluster.coordinator.running:
        await cluster.coordinator.ended()
    cluster.coordinator.start(**faults)
    if not cluster.agents:
        cluster.start_agents()


async def work(cluster: Cluster, request_id: str) -> None:
    """Start a run, and wait for as long as there is a coordinator."""
    await cluster.serving()
    async with cluster.client() as client:
        await client.deploy(PROJECT)
        run = await client.run("ledgered_fan", request_id=request_id, seed=SEED)
        await run.wait()


async def run_to_the_end(cluster: Cluster, request_id: str, figures: Figures) -> None:
    """Ask for the run, perhaps for the second time, and see it end well."""
    before = sql(cluster, "SELECT count(*) FROM podium.run WHERE request_id = %s", request_id)
    async with Witness(cluster) as witness:
        await witness.client.deploy(PROJECT)
        run = await witness.start("ledgered_fan", EXPECTED, request_id, seed=SEED)
        assert (await run.ended(AFTER_RESTART.most)).state is RunState.SUCCEEDED
        figures.recovered(AFTER_RESTART)
        await witness.assert_clean()
    assert before <= 1
    assert sql(cluster, "SELECT count(*) FROM podium.run WHERE request_id = %s", request_id) == 1


def sql(cluster: Cluster, query: LiteralString, *parameters: object) -> int:
    """Return the one number that a query gives."""
    with psycopg.connect(cluster.conninfo) as link:
        row = link.execute(query, parameters).fetchone()
        assert row is not None
        return int(row[0])


async def test_one_commit_in_a_hundred_is_done_without_telling(
    cluster: Cluster, chance: random.Random, figures: Figures
) -> None:
    unsure = [chance.randint(4, 12), *(number for number in range(13, 5000) if chance.random() < 0.01)]
    await run_unsure(cluster, unsure, SEVERAL, figures)


async def test_every_other_commit_is_done_without_telling(cluster: Cluster, figures: Figures) -> None:
    await run_unsure(cluster, list(range(1, 4000, 2)), 1, figures)


async def run_unsure(cluster: Cluster, unsure: list[int], runs: int, figures: Figures) -> None:
    """Run a workload on a shard that takes a new epoch, and reads everything back, after each of these commits."""
    if not cluster.coordinator.running:
        await cluster.start()
    before = sql(cluster, "SELECT epoch FROM podium.leadership")
    async with asyncio.timeout(UNSURE.most):
        await start_anew(cluster, **{RAISE_AFTER_COMMIT: ",".join(map(str, unsure))})
        await cluster.connected(*cluster.agents)
        async with Witness(cluster) as witness:
            await witness.client.deploy(PROJECT)
            figures.strike()
            watched = [await witness.start("ledgered_fan", EXPECTED, seed=SEED) for _ in range(runs)]
            for run in watched:
                assert (await run.ended(UNSURE.most)).state is RunState.SUCCEEDED
            figures.recovered(UNSURE)
            evidence = await witness.assert_clean()
    assert_nothing_lost(evidence)
    assert sql(cluster, "SELECT epoch FROM podium.leadership") > before + 1, "not one of the commits was left untold"

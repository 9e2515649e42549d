"""Two coordinators on one database: when the owner of the shard dies or freezes, the other one goes on."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from podium.model.states import RunState
from podium_coordinator.store.embedded import EmbeddedPostgres
from tests.cluster import harm
from tests.cluster.cluster import BRISK, Cluster
from tests.cluster.fixtures import PROJECT
from tests.cluster.processes import Server
from tests.cluster.witness import Witness
from tests.fault.callers import calling
from tests.fault.recording import Bound, Figures
from tests.fault.workload import BEHIND_EVEN, a_run_in_the_middle, finish

# The lease is 5 s here.
NEXT_START = Bound("from kill -9 of the owner to the first start of what the next one assigned, median", 1.0)
OWNER_KILLED = Bound("from kill -9 of the owner to the end of the run", 60.0)
OWNER_FROZEN = Bound("from the owner's freeze to the end of the run", 60.0)
END = 30.0
TRIALS = 20
FAILED_CALLS = Bound("failed client calls", 0, "calls")
SLOWEST_CALL = Bound("slowest client call", 5.0)
HANDOVERS = 4


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(Path(tmp_path_factory.mktemp("database")))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def cluster(database: EmbeddedPostgres, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster that is not started, in a database of its own."""
    with psycopg.connect(database.conninfo, autocommit=True) as link:
        link.execute("DROP DATABASE IF EXISTS failover WITH (FORCE)")
        link.execute("CREATE DATABASE failover")
    settings = {**BRISK, "PODIUM_COORDINATOR__BLOB_STORE": f"file://{tmp_path}/blobs"}
    made = Cluster(settings, database_url=database.conninfo.replace("dbname=podium", "dbname=failover"))
    try:
        yield made
    finally:
        made.end()


async def start_with_standby(cluster: Cluster) -> Server:
    cluster.coordinator.start()
    await cluster.serving()
    standby = await cluster.start_standby()
    cluster.start_agents()
    await cluster.connected(*cluster.agents)
    async with cluster.client() as client:
        await client.deploy(PROJECT)
    return standby


async def stop(standby: Server) -> None:
    standby.tell(signal.SIGTERM)
    async with asyncio.timeout(END):
        assert await standby.ended() == 0


async def test_the_standby_goes_on_when_the_owner_is_killed(cluster: Cluster, figures: Figures) -> None:
    standby = await start_with_standby(cluster)
    async with Witness(cluster) as witness:
        run = await a_run_in_the_middle(cluster, witness, figures)
        await harm.kill_coordinator(cluster)
        cluster.gates.open("even")
        evidence = await finish(witness, run, OWNER_KILLED, figures)
    assert {row.number for row in evidence.attempts} == {1}
    await stop(standby)


async def test_an_owner_that_froze_finds_the_shard_taken_and_writes_nothing_more(
    cluster: Cluster, figures: Figures
) -> None:
    standby = await start_with_standby(cluster)
    async with Witness(cluster) as witness:
        run = await a_run_in_the_middle(cluster, witness, figures)
        cluster.coordinator.tell(signal.SIGSTOP)
        cluster.gates.open("even")
        await run.ended(OWNER_FROZEN.most)
        figures.recovered(OWNER_FROZEN)
        assert run.last.state is RunState.SUCCEEDED
        said = cluster.coordinator.log.stat().st_size
        cluster.coordinator.tell(signal.SIGCONT)
        async with asyncio.timeout(END):
            await cluster.coordinator.says("shard.ownership_ended", after=said)
        evidence = await witness.assert_clean()
        assert {row.number for row in evidence.attempts} == {1}
    await stop(standby)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_another_dispatches_soon_after_the_owner_is_killed(cluster: Cluster, figures: Figures) -> None:
    await start_with_standby(cluster)
    seconds = [await seconds_to_the_next_start(cluster) for _ in range(TRIALS)]
    figures.median_within(NEXT_START, seconds)


async def seconds_to_the_next_start(cluster: Cluster) -> float:
    """Kill the owner in the middle of a run; return when what waited for the next one began to execute."""
    owner = await cluster.owner()
    async with Witness(cluster) as witness:
        run = await a_run_in_the_middle(cluster, witness, Figures(lambda *_: None))
        killed = time.monotonic_ns()
        owner.tell(signal.SIGKILL)
        cluster.gates.open("even")
        assert (await run.ended(OWNER_KILLED.most)).state is RunState.SUCCEEDED
        evidence = await witness.assert_clean()
    assert {row.number for row in evidence.attempts} == {1}, "no attempt was lost"
    await cluster.restart(owner)
    first = min(item.started for item in evidence.ledger if item.run == run.run_id and item.task in BEHIND_EVEN)
    return (first - killed) / 1e9


async def test_no_call_fails_while_the_shard_is_handed_over(cluster: Cluster, figures: Figures) -> None:
    await start_with_standby(cluster)
    async with calling(cluster) as calls:
        for _ in range(HANDOVERS):
            owner = await cluster.owner()
            before = len(calls.runs)
            owner.tell(signal.SIGTERM)
            async with asyncio.timeout(END):
                assert await owner.ended() == 0
            await cluster.restart(owner)
            assert len(calls.runs) > before, "clients went on"
    figures.count_within(FAILED_CALLS, calls.failed, calls.made)
    figures.within(SLOWEST_CALL, calls.slowest, calls.made)
    await assert_all_ended(cluster, calls.runs)


async def test_no_call_fails_when_the_owner_is_killed(cluster: Cluster, figures: Figures) -> None:
    await start_with_standby(cluster)
    async with calling(cluster) as calls:
        for _ in range(HANDOVERS):
            owner = await cluster.owner()
            owner.tell(signal.SIGKILL)
            await owner.ended()
            await cluster.restart(owner)
    figures.count_within(FAILED_CALLS, calls.failed, calls.made)
    figures.within(SLOWEST_CALL, calls.slowest, calls.made)
    await assert_all_ended(cluster, calls.runs)


async def assert_all_ended(cluster: Cluster, run_ids: list[str]) -> None:
    """Assert that every run whose creation was acknowledged has ended well, and no attempt was lost."""
    with psycopg.connect(cluster.conninfo, autocommit=True) as link:
        rows = link.execute("SELECT run_id::text FROM podium.run WHERE state IN ('queued', 'running', 'cancelling')")
        async with cluster.client() as client:
            for [run_id] in rows.fetchall():
                await (await client.get_run(run_id)).wait(END)
        ended: dict[str, str] = dict(link.execute("SELECT run_id::text, state FROM podium.run").fetchall())
        states = {state for [state] in link.execute("SELECT DISTINCT state FROM podium.attempt")}
    assert {ended.get(run_id) for run_id in run_ids} <= {"succeeded", "cancelled"}
    assert states <= {"succeeded", "cancelled", "taken_back"}

"""Two coordinators on one database: when the owner of the shard dies or freezes, the other one goes on."""

from __future__ import annotations

import asyncio
import signal
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
from tests.fault.workload import a_run_in_the_middle, finish

# Bounds in seconds, from the fault to the end of the run. The lease is 5 s here.
OWNER_KILLED = 60.0
OWNER_FROZEN = 60.0
END = 30.0


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


async def test_the_standby_goes_on_when_the_owner_is_killed(cluster: Cluster) -> None:
    standby = await start_with_standby(cluster)
    async with Witness(cluster) as witness:
        run = await a_run_in_the_middle(cluster, witness)
        await harm.kill_coordinator(cluster)
        cluster.gates.open("even")
        evidence = await finish(witness, run, OWNER_KILLED)
    assert {row.number for row in evidence.attempts} == {1}
    await stop(standby)


async def test_an_owner_that_froze_finds_the_shard_taken_and_writes_nothing_more(cluster: Cluster) -> None:
    standby = await start_with_standby(cluster)
    async with Witness(cluster) as witness:
        run = await a_run_in_the_middle(cluster, witness)
        cluster.coordinator.tell(signal.SIGSTOP)
        cluster.gates.open("even")
        await run.ended(OWNER_FROZEN)
        assert run.last.state is RunState.SUCCEEDED
        said = cluster.coordinator.log.stat().st_size
        cluster.coordinator.tell(signal.SIGCONT)
        async with asyncio.timeout(END):
            await cluster.coordinator.says("shard.ownership_ended", after=said)
        evidence = await witness.assert_clean()
        assert {row.number for row in evidence.attempts} == {1}
    await stop(standby)

"""Two coordinators on one database: when the owner of the shard dies or freezes, the other one goes on."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from podium.model.states import RunState
from podium_coordinator.store.embedded import EmbeddedPostgres
from tests.cluster import harm
from tests.cluster.cluster import PATIENT, Cluster
from tests.cluster.fixtures import PROJECT
from tests.cluster.processes import Server
from tests.cluster.witness import Watched, Witness
from tests.fault.callers import calling
from tests.fault.network import Network, network
from tests.fault.recording import Bound, Figures
from tests.fault.stall import stalled
from tests.fault.workload import BEHIND_EVEN, a_run_in_the_middle, assert_undisturbed, finish

# The lease is 5 s here.
NEXT_START = Bound("from kill -9 of the owner to the first start of what the next one assigned, median", 1.0)
OWNER_KILLED = Bound("from kill -9 of the owner to the end of the run", 60.0)
OWNER_FROZEN = Bound("from the owner's freeze to the end of the run", 60.0)
OWNER_STALLED = Bound("from the stall of the owner's loop, whose sockets answer pings, to the end of the run", 60.0)
OWNER_CUT = Bound("from the owner's loss of the database, for it alone, to the end of the run", 60.0)
OWNER_CUT_INSIDE = Bound("from the owner's freeze inside a transaction to the end of the run", 60.0)
LATE_WRITES = Bound("rows that the old owner wrote after another had taken over", 0, "rows")
LEASES = 3
LEASE = 5.0
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
    settings = {**PATIENT, "PODIUM_COORDINATOR__BLOB_STORE": f"file://{tmp_path}/blobs"}
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
    assert_undisturbed(evidence)
    await stop(standby)


async def test_an_owner_that_froze_finds_the_shard_taken_and_writes_nothing_more(
    cluster: Cluster, figures: Figures
) -> None:
    await start_with_standby(cluster)
    owner = await cluster.owner()
    async with Witness(cluster) as witness:
        run = await a_run_in_the_middle(cluster, witness, figures)
        owner.tell(signal.SIGSTOP)
        cluster.gates.open("even")
        await survive_without(cluster, owner, run, OWNER_FROZEN, figures)
        await asyncio.sleep(max(0.0, LEASES * LEASE - figures.since()))  # the fault itself: three leases long
        rows = all_rows(cluster)
        said = owner.log.stat().st_size
        owner.tell(signal.SIGCONT)
        async with asyncio.timeout(END):
            await owner.says("shard.ownership_ended", after=said)
        figures.count_within(LATE_WRITES, sorted(set(all_rows(cluster)) - set(rows)), 1)
        evidence = await witness.assert_clean()
        assert_undisturbed(evidence)


@pytest.mark.long
async def test_an_owner_whose_loop_stalls_is_taken_over_though_its_sockets_answer(
    cluster: Cluster, figures: Figures
) -> None:
    await start_with_standby(cluster)
    owner = await cluster.owner()
    async with Witness(cluster) as witness:
        run = await a_run_in_the_middle(cluster, witness, figures)
        said = owner.log.stat().st_size
        with stalled(owner.pid):
            cluster.gates.open("even")
            await survive_without(cluster, owner, run, OWNER_STALLED, figures)
        async with asyncio.timeout(END):
            await owner.says("shard.ownership_ended", after=said)
        evidence = await witness.assert_clean()
        assert_undisturbed(evidence)


async def survive_without(cluster: Cluster, owner: Server, run: Watched, bound: Bound, figures: Figures) -> None:
    """See the run end under another owner."""
    ended = await run.ended(bound.most)
    assert ended.state is RunState.SUCCEEDED
    figures.recovered(bound)
    assert await cluster.owner() is not owner


def all_rows(cluster: Cluster) -> list[str]:
    """Return every row of runs, attempts and task runs as text, with the transaction that wrote it."""
    with psycopg.connect(cluster.conninfo) as link:
        return [
            text
            for table in ("run", "attempt", "task_run", "command")
            for [text] in link.execute(
                sql.SQL("SELECT t.xmin::text || t::text FROM podium.{} AS t").format(sql.Identifier(table))
            )
        ]


@pytest.fixture
def database_network(database: EmbeddedPostgres) -> Iterator[Network]:
    """A network between one coordinator and the database."""
    given = conninfo_to_dict(database.conninfo)
    with network(f"{given['host']}/.s.PGSQL.{given.get('port', 5432)}") as between:
        yield between


async def own_through(cluster: Cluster, database: EmbeddedPostgres, between: Network) -> Server:
    """Start two coordinators, the owner of which reaches the database through a network that can be broken."""
    way = make_conninfo(database.conninfo, dbname="failover", host="127.0.0.1", port=between.port)
    owner = await cluster.start_standby(way)
    cluster.coordinator.start()
    await cluster.serving()
    cluster.start_agents()
    await cluster.connected(*cluster.agents)
    async with cluster.client() as client:
        await client.deploy(PROJECT)
    assert await cluster.owner() is owner
    return owner


@pytest.mark.long
async def test_an_owner_that_alone_loses_the_database_is_taken_over(
    cluster: Cluster, database: EmbeddedPostgres, database_network: Network, figures: Figures
) -> None:
    owner = await own_through(cluster, database, database_network)
    async with Witness(cluster) as witness:
        run = await a_run_in_the_middle(cluster, witness, figures)
        database_network.cut()
        cluster.gates.open("even")
        await survive_without(cluster, owner, run, OWNER_CUT, figures)
        rows = all_rows(cluster)
        database_network.heal()
        async with asyncio.timeout(END):
            await owner.says("shard.ownership_ended")
        figures.count_within(LATE_WRITES, sorted(set(all_rows(cluster)) - set(rows)), 1)
        evidence = await witness.assert_clean()
        assert_undisturbed(evidence)


@pytest.mark.long
async def test_an_owner_cut_off_inside_a_transaction_does_not_hold_the_next_one_up(
    cluster: Cluster, database: EmbeddedPostgres, database_network: Network, figures: Figures, chance: random.Random
) -> None:
    owner = await own_through(cluster, database, database_network)
    async with Witness(cluster) as witness:
        run = await a_run_in_the_middle(cluster, witness, figures)
        database_network.up.hold_after = chance.randint(200, 500)
        cluster.gates.open("even")
        await survive_without(cluster, owner, run, OWNER_CUT_INSIDE, figures)
        database_network.heal()
        await witness.assert_clean()


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
    assert_undisturbed(evidence)
    await cluster.restart(owner)
    first = min(item.started for item in evidence.ledger if item.run == run.run_id and item.task in BEHIND_EVEN)
    return (first - killed) / 1e9


@pytest.mark.timeout(300)
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


@pytest.mark.long
@pytest.mark.timeout(300)
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

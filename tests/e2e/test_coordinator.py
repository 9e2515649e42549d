"""The coordinator's process: how it stops, what it refuses at its start, and how it lives with its database."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest

from podium.errors import UnavailableError
from podium.model.states import RunState, TaskRunState
from podium.remote_errors import from_rpc_error
from podium.v1 import blob_pb2, blob_pb2_grpc, workflow_pb2, workflow_pb2_grpc
from podium_coordinator.store.embedded import EmbeddedPostgres
from tests.cluster.cluster import BRISK, AgentPlan, Cluster, free_port
from tests.cluster.fixtures import PROJECT
from tests.cluster.processes import Server, gone
from tests.cluster.witness import Witness

RUN_SECONDS = 45.0
END_SECONDS = 30.0
REFUSED_SECONDS = 30.0
FAST = 130


async def test_a_coordinator_told_to_end_leaves_its_runs_to_the_next(cluster: Cluster, witness: Witness) -> None:
    cluster.gates.shut("stopping")
    run = await witness.start("waiting", {"waits": "stopping"}, gate="stopping")
    await run.until(lambda states: states.get("waits") is TaskRunState.RUNNING, RUN_SECONDS)
    cluster.coordinator.tell(signal.SIGTERM)
    async with asyncio.timeout(END_SECONDS):
        assert await cluster.coordinator.ended() == 0
    cluster.gates.open("stopping")
    await cluster.restart_coordinator()
    assert (await run.ended(RUN_SECONDS)).state is RunState.SUCCEEDED
    evidence = await witness.assert_clean()
    assert [row.number for row in evidence.attempts] == [1]
    await cluster.connected(*cluster.agents)


async def test_a_second_signal_does_not_wait_for_calls_under_way(cluster: Cluster) -> None:
    async with grpc.aio.insecure_channel(cluster.address) as channel:
        put = blob_pb2_grpc.BlobServiceStub(channel).PutBlob()
        await put.write(blob_pb2.PutBlobRequest(sha256="0" * 64, data=b"the rest never comes"))
        cluster.coordinator.tell(signal.SIGTERM)
        async with asyncio.timeout(END_SECONDS):
            await cluster.coordinator.says("rpc.draining")
            cluster.coordinator.tell(signal.SIGTERM)
            assert await cluster.coordinator.ended() == FAST
        put.cancel()
    await cluster.restart_coordinator()
    await cluster.connected(*cluster.agents)


async def refused(server: Server) -> str:
    """Start a server that must not come up; return what it said."""
    server.start()
    async with asyncio.timeout(REFUSED_SECONDS):
        assert await server.ended() == 1
    return server.words()


async def test_a_second_coordinator_on_the_port_is_refused(cluster: Cluster, witness: Witness, tmp_path: Path) -> None:
    command = cluster.coordinator_command(data_dir=cluster.folder / "other")
    words = await refused(cluster.server("second-port", command, BRISK))
    assert f"cannot listen on {cluster.address}: port {cluster.port} on 127.0.0.1 is taken" in words
    assert "Traceback" not in words
    run = await witness.client.run("diamond")
    assert (await run.wait(RUN_SECONDS)).state is RunState.SUCCEEDED


async def test_a_second_coordinator_on_the_data_folder_is_refused(cluster: Cluster) -> None:
    words = await refused(cluster.server("second-folder", cluster.coordinator_command(port=free_port()), BRISK))
    assert f"{cluster.data_dir}/postgres is in use by another coordinator. Stop it, choose another" in words
    assert "Traceback" not in words


async def test_a_database_that_is_not_there_is_told_at_the_start(cluster: Cluster) -> None:
    command = [*cluster.coordinator_command(port=free_port(), data_dir=cluster.folder / "none")]
    url = f"postgresql://podium@127.0.0.1:{free_port()}/podium"
    words = await refused(cluster.server("no-database", [*command, "--database-url", url], BRISK))
    assert "error:" in words
    assert "database" in words.lower()
    assert "refused" in words.lower()
    assert "Traceback" not in words


async def test_folders_and_sockets_are_closed_to_others(cluster: Cluster) -> None:
    for folder in (cluster.data_dir, cluster.data_dir / "postgres", cluster.data_dir / "postgres" / "socket"):
        assert folder.stat().st_mode & 0o777 == 0o700, folder
    for name in cluster.agents:
        assert cluster.agent_folder(name).stat().st_mode & 0o777 == 0o700
        assert (cluster.agent_folder(name) / "run").stat().st_mode & 0o777 == 0o700


@pytest.fixture
def external(short_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A Postgres that is not the coordinator's own."""
    server = EmbeddedPostgres(short_folder / "external")
    server.start()
    yield server
    server.stop()


async def test_a_coordinator_waits_for_an_external_database_that_went_away(external: EmbeddedPostgres) -> None:
    cluster = Cluster(BRISK, database_url=external.conninfo)
    try:
        await cluster.start([AgentPlan("a1")])
        async with Witness(cluster) as witness:
            await witness.client.deploy(PROJECT)
            cluster.gates.shut("away")
            run = await witness.start("waiting", {"waits": "away"}, gate="away")
            await run.until(lambda states: states.get("waits") is TaskRunState.RUNNING, RUN_SECONDS)
            await kill(external)
            assert "database" in (await refusal(cluster)).message
            cluster.gates.open("away")
            external.start()
            assert (await run.ended(RUN_SECONDS)).state is RunState.SUCCEEDED
            evidence = await witness.assert_clean()
            assert [row.number for row in evidence.attempts] == [1]
    finally:
        cluster.end()


async def refusal(cluster: Cluster) -> UnavailableError:
    """Ask for something, without the client's own retries; return what the coordinator says."""
    async with grpc.aio.insecure_channel(cluster.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await workflow_pb2_grpc.WorkflowServiceStub(channel).ListWorkflows(workflow_pb2.ListWorkflowsRequest())
    error = from_rpc_error(caught.value, cluster.address)
    assert isinstance(error, UnavailableError)
    return error


async def kill(postgres: EmbeddedPostgres) -> None:
    assert postgres.pid is not None
    pid = postgres.pid
    os.kill(pid, signal.SIGKILL)
    await gone(pid)

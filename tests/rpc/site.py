"""A coordinator's public face on loopback: real server, real Postgres, real folders; with or without a shard."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc.aio

from podium.model.spec import ParameterSpec, ShellAction, TaskSpec, WorkflowSpec
from podium.v1 import (
    agent_pb2_grpc,
    blob_pb2,
    blob_pb2_grpc,
    log_pb2_grpc,
    run_pb2,
    run_pb2_grpc,
    workflow_pb2,
    workflow_pb2_grpc,
)
from podium.wire import json_to_struct, workflow_to_proto
from podium_coordinator.blobs.folder import FolderStore
from podium_coordinator.blobs.keeper import BlobKeeper, BlobRules
from podium_coordinator.logs.finisher import LogFinisher, Patience
from podium_coordinator.logs.folder import LogFolder
from podium_coordinator.rpc.api import ApiParts, add_public_services
from podium_coordinator.rpc.database import Database
from podium_coordinator.rpc.owner import ShardView
from podium_coordinator.rpc.server import CoordinatorServer, ServerOptions
from podium_coordinator.store.journal import Journal, journal_connection
from podium_coordinator.store.pools import read_pool, write_pool
from tests.shard.cluster import Cluster, a_cluster

TRUE = ShellAction(exec=("true",))
LOG_QUOTA = 64 * 1024


class Unowned:
    """The view of a shard that another process owns: everything is read from the database."""

    owned = False

    def submit(self, record: object) -> None:
        """Nobody here takes hints."""

    def wake(self) -> None:
        """Nobody here takes hints."""

    async def subscribe(self, run_id: UUID, run_only: bool) -> None:
        del run_id, run_only

    def ready(self, run_id: UUID) -> frozenset[int]:
        del run_id
        return frozenset()

    def agents(self) -> list[Any]:
        return []

    async def agents_changed(self, version: int) -> int:
        await asyncio.Event().wait()
        return version


@dataclass
class Site:
    """What a test speaks to, and what it stands on. Stubs are typed for callers that wait."""

    database: Database
    conninfo: str
    blobs: BlobKeeper
    logs: LogFolder
    finisher: LogFinisher
    address: str
    channel: grpc.aio.Channel
    journal: Journal
    cluster: Cluster | None

    def __post_init__(self) -> None:
        self.workflows: Any = workflow_pb2_grpc.WorkflowServiceStub(self.channel)
        self.runs: Any = run_pb2_grpc.RunServiceStub(self.channel)
        self.agents: Any = agent_pb2_grpc.AgentServiceStub(self.channel)
        self.log: Any = log_pb2_grpc.LogServiceStub(self.channel)
        self.blob: Any = blob_pb2_grpc.BlobServiceStub(self.channel)

    async def register(self, *tasks: TaskSpec, name: str = "flow", parameters: Iterable[ParameterSpec] = ()) -> int:
        spec = WorkflowSpec(name, tasks or (a_task("a"),), tuple(parameters))
        request = workflow_pb2.RegisterWorkflowRequest(spec=workflow_to_proto(spec))
        answer = await self.workflows.RegisterWorkflow(request)
        return int(answer.workflow.version)

    async def create(self, name: str = "flow", **params: Any) -> run_pb2.Run:
        request = run_pb2.CreateRunRequest(workflow=name, params=json_to_struct(params))
        answer: run_pb2.CreateRunResponse = await self.runs.CreateRun(request)
        return answer.run

    async def put(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        await self.blob.PutBlob(iter([blob_pb2.PutBlobRequest(sha256=name, data=data)]))
        return name


def a_task(key: str, *upstream: str, **fields: Any) -> TaskSpec:
    return TaskSpec(key, TRUE, upstream, **fields)


@asynccontextmanager
async def a_site(
    conninfo: str, folder: Path, cluster: Cluster | None = None, max_outputs_bytes: int = 16 << 20
) -> AsyncIterator[Site]:
    """Serve the public API on a database until the end of the block."""
    pools = Database(read_pool(conninfo, 3), write_pool(conninfo, 3))
    await pools.read.open()
    await pools.write.open()
    shard: ShardView = cluster.owner if cluster else Unowned()
    blobs = BlobKeeper(FolderStore(folder / "blobs"), pools.write, BlobRules(16 << 20, timedelta(hours=1)))
    logs = LogFolder(folder / "logs", LOG_QUOTA)
    finisher = LogFinisher(logs, blobs, pools.write, Patience(missing=0.2, trouble=0.2))
    server = CoordinatorServer(ServerOptions(listen=["127.0.0.1:0"]))
    add_public_services(server, ApiParts(pools, shard, blobs, logs, max_outputs_bytes))
    (address,) = await server.start()
    await server.serving(True)
    journal = Journal(partial(journal_connection, conninfo, 0), 0)
    finishing = asyncio.create_task(finisher.run())
    channel = grpc.aio.insecure_channel(address, options=[("grpc.max_receive_message_length", 64 << 20)])
    try:
        yield Site(pools, conninfo, blobs, logs, finisher, address, channel, journal, cluster)
    finally:
        await channel.close()
        await server.stop(0)
        finishing.cancel()
        await asyncio.wait([finishing])
        await journal.close()
        await pools.read.close()
        await pools.write.close()


@asynccontextmanager
async def an_owning_site(conninfo: str, folder: Path) -> AsyncIterator[tuple[Site, Cluster]]:
    """Serve the public API beside the shard's owner."""
    async with a_cluster(conninfo) as cluster, a_site(conninfo, folder, cluster) as site:
        yield site, cluster

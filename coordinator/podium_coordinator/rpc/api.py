"""Puts the public services together and on the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from podium.v1 import agent_pb2_grpc, blob_pb2_grpc, log_pb2_grpc, run_pb2_grpc, workflow_pb2_grpc
from podium_coordinator.logs.reader import LogReader
from podium_coordinator.rpc.agent_service import AgentService
from podium_coordinator.rpc.blob_service import BlobService
from podium_coordinator.rpc.following import Follower
from podium_coordinator.rpc.log_service import LogService
from podium_coordinator.rpc.run_service import RunParts, RunService
from podium_coordinator.rpc.starting import Starter
from podium_coordinator.rpc.task_listing import TaskListing
from podium_coordinator.rpc.versions import Versions
from podium_coordinator.rpc.workflow_service import WorkflowService

if TYPE_CHECKING:
    from podium_coordinator.blobs.keeper import BlobKeeper
    from podium_coordinator.logs.folder import LogFolder
    from podium_coordinator.rpc.database import Database
    from podium_coordinator.rpc.owner import ShardView
    from podium_coordinator.rpc.server import CoordinatorServer


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the services work with; `max_outputs_bytes` bounds one answer of GetOutputs."""

    database: Database
    shard: ShardView
    blobs: BlobKeeper
    logs: LogFolder
    max_outputs_bytes: int = 16 << 20


def add_public_services(server: CoordinatorServer, parts: ApiParts) -> None:
    """Serve everything that people and programs call; the agents' own service is not among it."""
    pool = parts.database.read
    versions = Versions(pool)
    follower = Follower(pool, parts.shard)
    runs = RunParts(
        pool=pool,
        shard=parts.shard,
        versions=versions,
        follower=follower,
        starter=Starter(parts.database, parts.shard, versions, follower),
        listing=TaskListing(pool),
        max_outputs_bytes=parts.max_outputs_bytes,
    )
    logs = LogService(LogReader(parts.logs, parts.blobs, pool, follower), versions, pool)
    server.add(
        workflow_pb2_grpc.add_WorkflowServiceServicer_to_server,
        WorkflowService(parts.database, parts.blobs),
        "podium.v1.WorkflowService",
    )
    server.add(run_pb2_grpc.add_RunServiceServicer_to_server, RunService(runs), "podium.v1.RunService")
    server.add(
        agent_pb2_grpc.add_AgentServiceServicer_to_server, AgentService(pool, parts.shard), "podium.v1.AgentService"
    )
    server.add(log_pb2_grpc.add_LogServiceServicer_to_server, logs, "podium.v1.LogService")
    server.add(blob_pb2_grpc.add_BlobServiceServicer_to_server, BlobService(parts.blobs), "podium.v1.BlobService")

"""Puts the coordinator's services together: what each stands on, and what runs beside them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta

from podium.v1 import (
    agent_pb2_grpc,
    blob_pb2_grpc,
    log_pb2_grpc,
    run_pb2_grpc,
    session_pb2_grpc,
    workflow_pb2_grpc,
)
from podium_coordinator.app.owner import Owner
from podium_coordinator.app.tasks import Tasks
from podium_coordinator.blobs.contract import BlobStore
from podium_coordinator.blobs.folder import FolderStore
from podium_coordinator.blobs.keeper import BlobKeeper, BlobRules
from podium_coordinator.blobs.objects import ObjectStore
from podium_coordinator.housekeeping import Housekeeping
from podium_coordinator.logs.finisher import LogFinisher
from podium_coordinator.logs.folder import LogFolder
from podium_coordinator.logs.reader import LogReader
from podium_coordinator.rpc.agent_service import AgentService
from podium_coordinator.rpc.blob_service import BlobService
from podium_coordinator.rpc.database import Database
from podium_coordinator.rpc.following import Follower
from podium_coordinator.rpc.log_intake import LogIntake, verify_by
from podium_coordinator.rpc.log_service import LogService
from podium_coordinator.rpc.run_service import RunParts, RunService
from podium_coordinator.rpc.server import CoordinatorServer
from podium_coordinator.rpc.session import AgentSessions
from podium_coordinator.rpc.starting import Starter
from podium_coordinator.rpc.task_listing import TaskListing
from podium_coordinator.rpc.versions import Versions
from podium_coordinator.rpc.workflow_service import WorkflowService
from podium_coordinator.settings import CoordinatorSettings


def add_services(
    server: CoordinatorServer, settings: CoordinatorSettings, database: Database, owner: Owner, stack: AsyncExitStack
) -> None:
    """Add every service to `server`; what they start is ended by `stack`."""
    tasks = Tasks()
    stack.push_async_callback(tasks.close)
    blobs = _blobs(settings, database)
    versions = Versions(database.read)
    follower = Follower(database.read, owner)
    folder = LogFolder(settings.log_dir, settings.max_log_bytes)
    finisher = LogFinisher(folder, blobs, database.write)
    finisher.sweep()
    tasks.start(finisher.run(), "logs")
    _add_public(server, settings, database, owner, blobs, versions, follower, folder)
    intake = LogIntake(folder, finisher, verify_by(database.read))
    sessions = AgentSessions(owner, settings.heartbeat_interval, intake)
    server.add(session_pb2_grpc.add_AgentSessionServiceServicer_to_server, sessions, "podium.v1.AgentSessionService")
    _keep_house(settings, blobs, stack)


def _blobs(settings: CoordinatorSettings, database: Database) -> BlobKeeper:
    store: BlobStore = (
        ObjectStore.from_url(settings.blob_store) if settings.blob_store else FolderStore(settings.blob_dir)
    )
    rules = BlobRules(settings.max_blob_bytes, timedelta(seconds=settings.blob_grace))
    return BlobKeeper(store, database.write, rules)


def _add_public(
    server: CoordinatorServer,
    settings: CoordinatorSettings,
    database: Database,
    owner: Owner,
    blobs: BlobKeeper,
    versions: Versions,
    follower: Follower,
    folder: LogFolder,
) -> None:
    starter = Starter(database, owner, versions, follower)
    listing = TaskListing(database.read)
    parts = RunParts(database.read, owner, versions, follower, starter, listing, settings.max_outputs_bytes)
    reader = LogReader(folder, blobs, database.read, follower)
    server.add(
        workflow_pb2_grpc.add_WorkflowServiceServicer_to_server,
        WorkflowService(database, blobs),
        "podium.v1.WorkflowService",
    )
    server.add(run_pb2_grpc.add_RunServiceServicer_to_server, RunService(parts), "podium.v1.RunService")
    server.add(
        agent_pb2_grpc.add_AgentServiceServicer_to_server, AgentService(database.read, owner), "podium.v1.AgentService"
    )
    server.add(
        log_pb2_grpc.add_LogServiceServicer_to_server,
        LogService(reader, versions, database.read),
        "podium.v1.LogService",
    )
    server.add(blob_pb2_grpc.add_BlobServiceServicer_to_server, BlobService(blobs), "podium.v1.BlobService")


def _keep_house(settings: CoordinatorSettings, blobs: BlobKeeper, stack: AsyncExitStack) -> None:
    housekeeping = Housekeeping()
    housekeeping.every(settings.blob_collection_interval, "collect blobs", blobs.collect)
    housekeeping.start()
    stack.callback(housekeeping.stop)

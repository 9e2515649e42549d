"""Puts the coordinator's services together: what each stands on, and what runs beside them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final

from podium.v1 import session_pb2_grpc
from podium_coordinator.app.owner import Owner
from podium_coordinator.app.tasks import Tasks
from podium_coordinator.blobs.keeper import BlobKeeper, BlobRules
from podium_coordinator.blobs.opening import open_store
from podium_coordinator.housekeeping import Housekeeping
from podium_coordinator.logs.finisher import LogFinisher
from podium_coordinator.logs.folder import AttemptName, LogFolder
from podium_coordinator.rpc.api import ApiParts, add_public_services
from podium_coordinator.rpc.database import Database
from podium_coordinator.rpc.log_intake import LogIntake, verify_by
from podium_coordinator.rpc.server import CoordinatorServer
from podium_coordinator.rpc.session import AgentSessions
from podium_coordinator.settings import CoordinatorSettings

LOG_SWEEP_INTERVAL: Final = 3600.0
"""Seconds after which a log that nobody offered is found in the folder."""


def add_services(
    server: CoordinatorServer, settings: CoordinatorSettings, database: Database, owner: Owner, stack: AsyncExitStack
) -> None:
    """Add every service to `server`; what they start is ended by `stack`."""
    tasks = Tasks()
    stack.push_async_callback(tasks.close)
    rules = BlobRules(settings.max_blob_bytes, timedelta(seconds=settings.blob_grace))
    blobs = BlobKeeper(open_store(settings.blob_store, settings.blob_dir), database.write, rules)
    folder = LogFolder(settings.log_dir, settings.max_log_bytes)
    finisher = LogFinisher(folder, blobs, database.write)
    tasks.start(finisher.run(), "logs")
    owner.logged = lambda ended: finisher.offer(AttemptName(ended.run_id, ended.task, ended.map_index, ended.number))
    add_public_services(server, ApiParts(database, owner, blobs, folder, settings.max_outputs_bytes))
    intake = LogIntake(folder, finisher, verify_by(database.read))
    sessions = AgentSessions(owner, settings.heartbeat_interval, intake)
    server.add(session_pb2_grpc.add_AgentSessionServiceServicer_to_server, sessions, "podium.v1.AgentSessionService")
    _keep_house(settings, blobs, finisher, stack)


def _keep_house(settings: CoordinatorSettings, blobs: BlobKeeper, finisher: LogFinisher, stack: AsyncExitStack) -> None:
    housekeeping = Housekeeping()
    housekeeping.every(settings.blob_collection_interval, "collect blobs", blobs.collect)
    housekeeping.every(LOG_SWEEP_INTERVAL, "sweep logs", finisher.sweep)
    housekeeping.start()
    stack.callback(housekeeping.stop)

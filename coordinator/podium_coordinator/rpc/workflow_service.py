"""WorkflowService: registers and reads workflows."""

# ruff: noqa: N802 - the names are the contract's

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from podium.errors import BundleNotFoundError, FieldViolation, InvalidDigestError, InvalidWorkflowError
from podium.model.spec import PythonAction
from podium.model.validation import validate
from podium.v1 import workflow_pb2 as pb
from podium.v1 import workflow_pb2_grpc
from podium.wire import workflow_bytes, workflow_from_proto
from podium_coordinator.domain.records import WorkflowRecord
from podium_coordinator.rpc import pages, parse, render
from podium_coordinator.store import workflows

if TYPE_CHECKING:
    import grpc.aio

    from podium.model.spec import WorkflowSpec
    from podium_coordinator.blobs.keeper import BlobKeeper
    from podium_coordinator.rpc.database import Database

    Context = grpc.aio.ServicerContext[object, object]


@dataclass(frozen=True, slots=True)
class Definition:
    """A sound definition, ready to be stored. `spec` is serialized, equal for equal definitions."""

    name: str
    digest: bytes
    spec: bytes
    bundle: bytes | None
    task_count: int


class WorkflowService(workflow_pb2_grpc.WorkflowServiceServicer):
    """Serves podium.v1.WorkflowService."""

    def __init__(self, database: Database, blobs: BlobKeeper) -> None:
        self._database = database
        self._blobs = blobs
        self._checking = asyncio.Semaphore(2)

    async def RegisterWorkflow(
        self, request: pb.RegisterWorkflowRequest, context: Context
    ) -> pb.RegisterWorkflowResponse:
        """Register a workflow; see the contract."""
        del context
        async with self._checking:
            definition = await asyncio.to_thread(define, request)
        if request.validate_only:
            return pb.RegisterWorkflowResponse(workflow=render.workflow(_unstored(definition)))
        await self._keep_bundle(definition)
        async with self._database.write.connection() as conn:
            record, created = await workflows.register(
                conn, definition.name, definition.digest, definition.spec, definition.bundle, definition.task_count
            )
        return pb.RegisterWorkflowResponse(workflow=render.workflow(record), created=created)

    async def GetWorkflow(self, request: pb.GetWorkflowRequest, context: Context) -> pb.GetWorkflowResponse:
        """Read one version; see the contract."""
        del context
        name = parse.workflow_name(request.name)
        async with self._database.read.connection() as conn:
            record = await workflows.get(conn, name, parse.version(name, request.version))
        return pb.GetWorkflowResponse(workflow=await asyncio.to_thread(render.workflow, record))

    async def ListWorkflows(self, request: pb.ListWorkflowsRequest, context: Context) -> pb.ListWorkflowsResponse:
        """List the newest versions; see the contract."""
        del context
        size, after = pages.page_size(request), pages.place(request, str)
        async with self._database.read.connection() as conn:
            found = await workflows.list_newest(conn, after or "", size + 1)
        shown, last = pages.cut(found, size)
        return pb.ListWorkflowsResponse(
            workflows=[render.workflow(record) for record in shown],
            next_page_token=pages.token(request, last.workflow) if last else "",
        )

    async def ListWorkflowVersions(
        self, request: pb.ListWorkflowVersionsRequest, context: Context
    ) -> pb.ListWorkflowVersionsResponse:
        """List the versions of one workflow; see the contract."""
        del context
        name = parse.workflow_name(request.name)
        size, before = pages.page_size(request), pages.place(request, pages.Count)
        async with self._database.read.connection() as conn:
            found = await workflows.list_versions(conn, name, before, size + 1)
        shown, last = pages.cut(found, size)
        return pb.ListWorkflowVersionsResponse(
            workflows=[render.workflow(record) for record in shown],
            next_page_token=pages.token(request, last.version) if last else "",
        )

    async def _keep_bundle(self, definition: Definition) -> None:
        """See that the bundle is stored, and stays for the time it takes to refer to it."""
        bundle = definition.bundle
        if bundle is not None and not await self._blobs.stat([bundle]):
            raise BundleNotFoundError(
                f"The bundle {bundle.hex()} is not stored; upload it with BlobService.PutBlob first.",
                bundle=bundle.hex(),
                workflow=definition.name,
            )


def define(request: pb.RegisterWorkflowRequest) -> Definition:
    """Check a definition. Takes some tens of microseconds per task: call it off the event loop.

    Raises:
        InvalidWorkflowError: The definition is not sound, or its bundle's name is missing or malformed.
    """
    spec = workflow_from_proto(request.spec)
    validate(spec)
    bundle = _bundle(request.bundle, spec)
    stored = workflow_bytes(spec)
    digest = hashlib.sha256(stored + b"\0" + (bundle or b"")).digest()
    return Definition(spec.name, digest, stored, bundle, len(spec.tasks))


def _bundle(given: str, spec: WorkflowSpec) -> bytes | None:
    if not given:
        needs = next((task.key for task in spec.tasks if isinstance(task.action, PythonAction)), None)
        if needs is not None:
            raise _wrong_bundle(f'is missing: task "{needs}" runs Python code, which a bundle must carry', spec)
        return None
    try:
        return parse.digest(given, "bundle")
    except InvalidDigestError as error:
        raise _wrong_bundle(error.violations[0].description, spec) from error


def _wrong_bundle(what: str, spec: WorkflowSpec) -> InvalidWorkflowError:
    message = f'The bundle of workflow "{spec.name}" {what}.'
    return InvalidWorkflowError(message, (FieldViolation("bundle", what),), workflow=spec.name)


def _unstored(definition: Definition) -> WorkflowRecord:
    now = datetime.now(UTC)
    return WorkflowRecord(definition.name, 0, definition.digest, definition.bundle, definition.task_count, now)

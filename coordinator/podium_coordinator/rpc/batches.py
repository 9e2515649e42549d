"""Many requests in one call: each is parsed and answered by itself, and none keeps the event loop for long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from podium.errors import BatchTooLargeError, PodiumError
from podium.v1 import run_pb2 as pb
from podium.wire import struct_to_json
from podium_coordinator.rpc import parse, render
from podium_coordinator.rpc.errors import described, fitting
from podium_coordinator.rpc.starting import AT_ONE_GO, MOST_BATCH_BYTES, Wish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podium_coordinator.domain.records import RunRecord


def wish(request: pb.CreateRunRequest) -> Wish:
    """Return what a caller asks for. Raises InvalidArgumentError and NotFoundError for what cannot be."""
    name = parse.workflow_name(request.workflow)
    return Wish(
        workflow=name,
        version=parse.version(name, request.version),
        given=struct_to_json(request.params),
        request_id=parse.request_id(request.request_id),
    )


async def wishes(request: pb.CreateRunsRequest) -> list[Wish | PodiumError]:
    """Return what each request asks for, or why it cannot.

    Raises:
        InvalidArgumentError: There are too many of them.
        BatchTooLargeError: They are too large together.
    """
    parse.few_enough("requests", len(request.requests))
    size = request.ByteSize()
    if size > MOST_BATCH_BYTES:
        raise BatchTooLargeError(
            f"The requests have {size} bytes; the limit for one call is {MOST_BATCH_BYTES}: send them in several.",
            size=size,
            limit=MOST_BATCH_BYTES,
        )
    found: list[Wish | PodiumError] = []
    for position, one in enumerate(request.requests, 1):
        try:
            found.append(wish(one))
        except PodiumError as error:
            found.append(error)
        if position % AT_ONE_GO == 0:
            await asyncio.sleep(0)
    return found


async def answer(outcomes: Sequence[tuple[RunRecord, bool] | PodiumError]) -> pb.CreateRunsResponse:
    """Return the answer that tells of each request."""
    told = pb.CreateRunsResponse()
    for position, outcome in enumerate(outcomes, 1):
        told.results.append(_result(outcome))
        if position % AT_ONE_GO == 0:
            await asyncio.sleep(0)
    return told


def _result(outcome: tuple[RunRecord, bool] | PodiumError) -> pb.CreateRunResult:
    if not isinstance(outcome, PodiumError):
        run, created = outcome
        return pb.CreateRunResult(run=render.run(run), created=created)
    code, message, violations = described(outcome)
    error = pb.CreateRunError(code=code.value[0], reason=outcome.reason, message=message)
    error.metadata.update(outcome.metadata)
    for violation in fitting(violations):
        error.violations.add(field=violation.field, description=violation.description)
    return pb.CreateRunResult(error=error)

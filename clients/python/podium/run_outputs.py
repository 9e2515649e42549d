"""A run's outputs as values, and its failure as an error."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from podium.blob_transfer import AsyncBlobs
from podium.channels import Channels
from podium.errors import (
    OutputsTooLargeError,
    PodiumError,
    RunCancelledError,
    RunFailedError,
    TaskFailedError,
)
from podium.model.spec import JsonValue
from podium.model.states import Failure, FailureKind, RunState
from podium.resources import NOT_MAPPED, RunInfo, TaskRun
from podium.results import INLINE_BYTES, blob_reference, decode_result
from podium.v1 import run_pb2

SHOWN_FAILURES = 10
"""How many failed task runs the error of a failed run tells about."""

_MAX_TASKS = 1_000


async def read_outputs(
    channels: Channels, blobs: AsyncBlobs, run_id: str, tasks: Sequence[str]
) -> dict[str, JsonValue]:
    """Return the outputs of a run's succeeded tasks by key, blobs loaded; a mapped task's as a list.

    Args:
        channels: Where to ask.
        blobs: Where large outputs are.
        run_id: The run's id.
        tasks: Keys of the tasks; none of them for the leaves of the DAG.

    Raises:
        RunNotFoundError: No such run.
        TaskNotFoundError: The workflow has no such task.
        OutputsTooLargeError: The outputs of the leaves, or of one task, do not fit one answer.
    """
    messages = await _fetch(channels, run_id, list(tasks))
    outputs: dict[str, Any] = {}
    for message in sorted(messages, key=lambda item: item.map_index):
        value = await _value(message.json, blobs)
        if message.map_index == NOT_MAPPED:
            outputs[message.task] = value
        else:
            outputs.setdefault(message.task, []).append(value)
    return outputs


async def _fetch(channels: Channels, run_id: str, tasks: list[str]) -> list[run_pb2.Output]:
    if len(tasks) > _MAX_TASKS:
        return await _fetch_halves(channels, run_id, tasks)
    request = run_pb2.GetOutputsRequest(run_id=run_id, tasks=tasks)
    try:
        answer = await channels.call(lambda endpoint: endpoint.runs.GetOutputs, request, 120.0)
    except OutputsTooLargeError:
        if len(tasks) < 2:
            raise
        return await _fetch_halves(channels, run_id, tasks)
    return list(answer.outputs)


async def _fetch_halves(channels: Channels, run_id: str, tasks: list[str]) -> list[run_pb2.Output]:
    middle = len(tasks) // 2
    return await _fetch(channels, run_id, tasks[:middle]) + await _fetch(channels, run_id, tasks[middle:])


async def _value(data: bytes, blobs: AsyncBlobs) -> JsonValue:
    value: JsonValue = await _decoded(data)
    blob = blob_reference(value)
    return value if blob is None else await _decoded(await blobs.get(blob.sha256))


async def _decoded(data: bytes) -> Any:
    return decode_result(data) if len(data) <= INLINE_BYTES else await asyncio.to_thread(decode_result, data)


def run_error(run: RunInfo, failed: Iterable[TaskRun]) -> PodiumError | None:
    """Return the error that a finished run means; None when it succeeded.

    Args:
        run: The finished run.
        failed: Its task runs that failed, the first few.
    """
    reason = f": {run.reason}" if run.reason else "."
    if run.state is RunState.CANCELLED:
        return RunCancelledError(f"Run {run.run_id} of {run.workflow} was cancelled{reason}", run_id=run.run_id)
    if run.state is RunState.FAILED:
        tasks = tuple(task_error(task_run, run.run_id) for task_run in failed)
        return RunFailedError(f"Run {run.run_id} of {run.workflow} failed{reason}", tasks, run_id=run.run_id)
    return None


def task_error(task_run: TaskRun, run_id: str) -> TaskFailedError:
    """Return the error that a failed task run means."""
    failure = task_run.failure
    told = f" ({failure.kind}): {failure.message}" if failure else f": its state is {task_run.state}."
    return TaskFailedError(
        f"Task {task_run.label} failed{told}",
        failure or Failure(FailureKind.INTERNAL, f"Its state is {task_run.state}."),
        run_id=run_id,
        task=task_run.task,
        map_index=task_run.map_index,
        attempt=task_run.attempt,
    )

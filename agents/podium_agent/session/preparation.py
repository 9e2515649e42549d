"""Makes an assignment into the order a worker executes: bundle unpacked, blobs of its inputs fetched."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import grpc

from podium.errors import PodiumError
from podium.results import blob_reference, file_references
from podium_agent.rpc import messages

if TYPE_CHECKING:
    from pathlib import Path

    from podium.v1 import session_pb2
    from podium_agent.frames import Header
    from podium_agent.session.attempts import Attempt
    from podium_agent.store.blobs import BlobCache
    from podium_agent.store.bundles import BundleStore
    from podium_agent.store.folder import DataFolder

MARKS = (b'"$file"', b'"$blob"')


class PreparationError(Exception):
    """The attempt cannot be given what it needs; `kind` is a failure kind."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Preparer:
    """Knows where bundles, blobs and scratch space are."""

    def __init__(self, folder: DataFolder, bundles: BundleStore, blobs: BlobCache) -> None:
        self.bundles = bundles
        self.blobs = blobs
        self._logs, self._files, self._bundles = str(folder.logs), str(folder.files), str(folder.bundles)

    def ready(self, assignment: session_pb2.Assignment) -> bool:
        """Whether there is nothing to fetch."""
        return (not assignment.bundle or self.bundles.has(assignment.bundle)) and not _with_blobs(assignment)

    async def prepare(self, attempt: Attempt, assignment: session_pb2.Assignment) -> None:
        """Fetch what is missing; what is fetched stays pinned under `attempt.pinned`.

        Raises:
            PreparationError: Something cannot be fetched.
        """
        try:
            if assignment.bundle:
                await self.bundles.unpack(assignment.bundle)
            for output in _with_blobs(assignment):
                await self._hold_all(attempt, json.loads(output))
        except (PodiumError, grpc.aio.AioRpcError, OSError, ValueError) as error:
            text = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
            raise PreparationError("internal", f"The agent could not fetch what the task needs: {text}") from error

    async def _hold_all(self, attempt: Attempt, value: Any) -> None:
        """Pin the blobs a value refers to, and those that a value kept in a blob refers to."""
        whole = blob_reference(value)
        if whole is not None:
            path = await self._hold(attempt, whole.sha256)
            value = json.loads(await asyncio.to_thread(path.read_bytes))
        for file in file_references(value):
            await self._hold(attempt, file.sha256)

    async def _hold(self, attempt: Attempt, sha256: str) -> Path:
        path = await self.blobs.hold(sha256)
        attempt.pinned.append(sha256)
        return path

    def order(self, attempt: Attempt, assignment: session_pb2.Assignment) -> tuple[Header, bytes]:
        """Return the frame that has a worker execute the attempt."""
        name = attempt.reference
        header = {
            "op": "execute",
            "holding": attempt.holding,
            "action": messages.action(assignment),
            "params": len(assignment.params),
            "inputs": [(item.task, len(item.output)) for item in assignment.inputs],
            "blobs": {sha256: str(self.blobs.path(sha256)) for sha256 in attempt.pinned},
            "bundle": assignment.bundle,
            "bundle_folder": f"{self._bundles}/{assignment.bundle}" if assignment.bundle else "",
            "log": f"{self._logs}/{log_name(attempt.holding)}.log",
            "files": f"{self._files}/{attempt.token}",
            "environment": {
                "TRACEPARENT": attempt.holding["traceparent"],
                "PODIUM_RUN_ID": format_run_id(name.run_id),
                "PODIUM_TASK": assignment.task_key,
                "PODIUM_ATTEMPT": str(name.number),
            },
        }
        return header, b"".join((assignment.params, *(item.output for item in assignment.inputs)))


def _with_blobs(assignment: session_pb2.Assignment) -> list[bytes]:
    return [item.output for item in assignment.inputs if any(mark in item.output for mark in MARKS)]


def format_run_id(run_id: bytes) -> str:
    """Return a run's id as people write it."""
    digits = run_id.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def log_name(holding: Header) -> str:
    """Return the name of an attempt's log: all that is needed to send it."""
    return "{run}_{task}_{map_index}_{number}_{token}".format_map(holding)


def named_by(log: str) -> Header:
    """Return the attempt that a log's name names.

    Raises:
        ValueError: It is not such a name.
    """
    run, task, map_index, number, token = log.split("_")
    return {"run": run, "task": int(task), "map_index": int(map_index), "number": int(number), "token": token}

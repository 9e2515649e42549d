"""Values on their way between records and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podium.v1 import run_pb2
from podium_coordinator.domain.records import Failure
from podium_coordinator.domain.states import FailureKind

if TYPE_CHECKING:
    from datetime import datetime

_PREFIX = "FAILURE_KIND_"


def dump_failure(failure: Failure | None) -> bytes | None:
    """Return the failure as a serialized `podium.v1.Failure`."""
    if failure is None:
        return None
    return run_pb2.Failure(
        kind=run_pb2.FailureKind.Value(_PREFIX + failure.kind.name),
        message=text(failure.message),
        traceback=text(failure.traceback),
        exception_type=text(failure.exception_type),
        exit_code=failure.exit_code,
    ).SerializeToString()


def load_failure(stored: bytes | None) -> Failure | None:
    """Return what `dump_failure` was given."""
    if stored is None:
        return None
    message = run_pb2.Failure.FromString(stored)
    return Failure(
        kind=FailureKind[run_pb2.FailureKind.Name(message.kind).removeprefix(_PREFIX)],
        message=message.message,
        traceback=message.traceback,
        exception_type=message.exception_type,
        exit_code=message.exit_code if message.HasField("exit_code") else None,
    )


def text(value: str) -> str:
    """Return `value` as Postgres can hold it: without NUL and halves of surrogate pairs."""
    return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def utc(value: datetime) -> datetime:
    """Return an aware time as it is; a naive one is a fault of ours that Postgres would read in its own zone."""
    if value.tzinfo is None:
        message = f"{value} has no time zone"
        raise ValueError(message)
    return value

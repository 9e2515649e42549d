"""Why something failed."""

from __future__ import annotations

from podium.model.states import Failure
from podium.v1 import run_pb2
from podium.wire.enums import failure_kind_from_proto, failure_kind_to_proto


def failure_to_proto(failure: Failure) -> run_pb2.Failure:
    """Return a failure as its message."""
    return run_pb2.Failure(
        kind=failure_kind_to_proto(failure.kind),
        message=failure.message,
        traceback=failure.traceback,
        exception_type=failure.exception_type,
        exit_code=failure.exit_code,
    )


def failure_from_proto(message: run_pb2.Failure) -> Failure:
    """Return a failure; a kind this version does not know reads as internal."""
    return Failure(
        failure_kind_from_proto(message.kind),
        message.message,
        message.traceback,
        message.exception_type,
        message.exit_code if message.HasField("exit_code") else None,
    )

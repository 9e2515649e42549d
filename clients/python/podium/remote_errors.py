"""Rebuilds the error that a coordinator raised from what gRPC tells of it: the same class, by its reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # ships no types

from podium.errors import (
    ConflictError,
    DeadlineError,
    FieldViolation,
    InvalidArgumentError,
    LimitError,
    NotFoundError,
    PodiumError,
    StateError,
    UnavailableError,
)

if TYPE_CHECKING:
    from podium.v1 import run_pb2

DOMAIN = "podium"
DETAILS_KEY = "grpc-status-details-bin"

_CATEGORIES: dict[grpc.StatusCode, type[PodiumError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: StateError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.CANCELLED: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.UNIMPLEMENTED: StateError,
}


def from_rpc_error(error: grpc.aio.AioRpcError, address: str) -> PodiumError:
    """Return the error that a failed call means.

    Args:
        error: What gRPC raised.
        address: Where the call went, for words about the connection.

    Returns:
        An error of the class whose reason the answer names, with its metadata and violations; without a known reason
        one of the class that fits the status code.
    """
    details = _details(error)
    info = next((part for part in details if isinstance(part, error_details_pb2.ErrorInfo)), None)
    if info is None or info.domain != DOMAIN:
        return _without_reason(error, address)
    return _rebuilt(
        error.code(), info.reason, error.details() or info.reason, info.metadata, tuple(_violations(details))
    )


def from_batch_error(error: run_pb2.CreateRunError) -> PodiumError:
    """Return the error that one refused request of a batch means, as if it had been a call of its own."""
    code = next((known for known in grpc.StatusCode if known.value[0] == error.code), grpc.StatusCode.UNKNOWN)
    violations = tuple(FieldViolation(one.field, one.description) for one in error.violations)
    return _rebuilt(code, error.reason, error.message, error.metadata, violations)


def _rebuilt(
    code: grpc.StatusCode,
    reason: str,
    message: str,
    metadata: Mapping[str, str],
    violations: tuple[FieldViolation, ...],
) -> PodiumError:
    category = _classes().get(reason) or _CATEGORIES.get(code, PodiumError)
    rebuilt = category(message)
    rebuilt.metadata.update(metadata)
    if isinstance(rebuilt, InvalidArgumentError):
        rebuilt.violations = violations
    return rebuilt


def _without_reason(error: grpc.aio.AioRpcError, address: str) -> PodiumError:
    code = error.code()
    text = (error.details() or code.name).rstrip(".")
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            message = f"No coordinator answers at {address}: {text}."
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            message = f"The coordinator at {address} did not answer in time."
        case grpc.StatusCode.UNIMPLEMENTED:
            message = (
                f"The server at {address} does not know this call; it is no coordinator, or one of another version."
            )
        case _:
            message = f"The call to {address} failed: {text} ({code.name})."
    return _CATEGORIES.get(code, PodiumError)(message, address=address)


def _details(error: grpc.aio.AioRpcError) -> list[object]:
    """Return the parts of the google.rpc.Status in the trailing metadata that this version knows."""
    trailers = error.trailing_metadata() or ()
    raw = next((value for key, value in trailers if key == DETAILS_KEY), None)
    if not isinstance(raw, bytes):
        return []
    try:
        status = status_pb2.Status.FromString(raw)
        return list(_unpacked(status))
    except DecodeError:
        return []


def _unpacked(status: status_pb2.Status) -> Iterator[object]:
    for part in status.details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest):
            if part.Is(kind.DESCRIPTOR):
                message = kind()
                part.Unpack(message)
                yield message


def _violations(details: list[object]) -> Iterator[FieldViolation]:
    for part in details:
        if isinstance(part, error_details_pb2.BadRequest):
            for violation in part.field_violations:
                yield FieldViolation(violation.field, violation.description)


def _classes() -> dict[str, type[PodiumError]]:
    """Return the classes of the tree by reason; read anew, since the tree grows with what is imported."""
    found = {PodiumError.reason: PodiumError}
    pending: list[type[PodiumError]] = [PodiumError]
    while pending:
        for kind in pending.pop().__subclasses__():
            pending.append(kind)
            if "reason" in vars(kind) and kind.__init__ in (PodiumError.__init__, InvalidArgumentError.__init__):
                found.setdefault(kind.reason, kind)
    return found

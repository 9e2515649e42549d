"""How errors travel: one table from category to gRPC code, one shape on the wire (docs/adr/0004)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc
import psycopg
import psycopg_pool
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # ships no types

from podium.errors import (
    ConflictError,
    FieldViolation,
    InvalidArgumentError,
    LimitError,
    NotFoundError,
    OverloadedError,
    PodiumError,
    StateError,
    UnavailableError,
)
from podium_coordinator.store.errors import DatabaseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

DOMAIN: Final = "podium"
DETAILS_KEY: Final = "grpc-status-details-bin"

CODES: Final[tuple[tuple[type[PodiumError], grpc.StatusCode], ...]] = (
    (InvalidArgumentError, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFoundError, grpc.StatusCode.NOT_FOUND),
    (ConflictError, grpc.StatusCode.ALREADY_EXISTS),
    (StateError, grpc.StatusCode.FAILED_PRECONDITION),
    (LimitError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (UnavailableError, grpc.StatusCode.UNAVAILABLE),
)

# gRPC refuses answers whose trailers pass 8 KiB; base64 and percent-encoding stretch what we put in.
_MAX_MESSAGE_BYTES: Final = 1024
_MAX_VALUE_BYTES: Final = 256
_MAX_STATUS_BYTES: Final = 3584
_MORE: Final = "{count} more problems are not listed here: mend these first."
_MORE_BYTES: Final = 160


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as the caller gets it. `error_id` is set when its text stays here, to be found in the log."""

    code: grpc.StatusCode
    message: str
    details: bytes
    reason: str
    error_id: str = ""

    @property
    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        """The trailing metadata that carries the details."""
        return ((DETAILS_KEY, self.details),)


def refuse(error: BaseException) -> Refusal:
    """Return what the caller is told about `error`; anything that is not in the table is told only by an id."""
    known = _recognised(error)
    if known is None:
        return _hidden()
    code, message, violations = described(known)
    status = _status(code, message, known.reason, known.metadata, violations)
    return Refusal(code, message, status.SerializeToString(), known.reason)


def described(error: PodiumError) -> tuple[grpc.StatusCode, str, tuple[FieldViolation, ...]]:
    """Return the code, the message and the violations by which a caller is told of an error of ours."""
    code = next((code for category, code in CODES if isinstance(error, category)), grpc.StatusCode.INTERNAL)
    violations = error.violations if isinstance(error, InvalidArgumentError) else ()
    return code, _clip(error.message, _MAX_MESSAGE_BYTES), violations


def fitting(violations: Sequence[FieldViolation]) -> list[FieldViolation]:
    """Return as many of the violations, clipped, as one answer has room for; the last one counts those left out."""
    told = _bad_request(violations, _MAX_STATUS_BYTES - _MORE_BYTES).field_violations
    return [FieldViolation(one.field, one.description) for one in told]


def deadline(seconds: float) -> Refusal:
    """Return the refusal of a call that took longer than the server gives any."""
    message = f"The call took longer than the {seconds:g} s this coordinator gives one."
    status = _status(grpc.StatusCode.DEADLINE_EXCEEDED, message, "DEADLINE_EXCEEDED", {"seconds": f"{seconds:g}"}, ())
    return Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, message, status.SerializeToString(), "DEADLINE_EXCEEDED")


def stopping() -> Refusal:
    """Return the refusal of a call that is ended because the coordinator stops."""
    return refuse(UnavailableError("The coordinator is stopping; call again, or call another one."))


def _recognised(error: BaseException) -> PodiumError | None:
    match error:
        case PodiumError():
            return error if any(isinstance(error, category) for category, _ in CODES) else None
        case psycopg_pool.TooManyRequests():
            return OverloadedError("Too many calls wait for the database; try again in a moment.")
        case psycopg.OperationalError():
            return DatabaseUnavailableError("The database does not answer right now; try again in a moment.")
        case _:
            return None


def _hidden() -> Refusal:
    error_id = secrets.token_hex(8)
    message = f"An internal error occurred. The coordinator's log tells more under error id {error_id}."
    status = _status(grpc.StatusCode.INTERNAL, message, "INTERNAL", {"error_id": error_id}, ())
    return Refusal(grpc.StatusCode.INTERNAL, message, status.SerializeToString(), "INTERNAL", error_id)


def _status(
    code: grpc.StatusCode,
    message: str,
    reason: str,
    metadata: dict[str, str],
    violations: Sequence[FieldViolation],
) -> status_pb2.Status:
    number: int = code.value[0]
    status = status_pb2.Status(code=number, message=message)
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)
    info.metadata.update({key: _clip(value, _MAX_VALUE_BYTES) for key, value in metadata.items()})
    status.details.add().Pack(info)
    if violations:
        room = _MAX_STATUS_BYTES - status.ByteSize() - _MORE_BYTES
        status.details.add().Pack(_bad_request(violations, room))
    return status


def _bad_request(violations: Sequence[FieldViolation], room: int) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    for position, violation in enumerate(violations):
        rendered = error_details_pb2.BadRequest.FieldViolation(
            field=_clip(violation.field, _MAX_VALUE_BYTES), description=_clip(_described(violation), _MAX_MESSAGE_BYTES)
        )
        room -= rendered.ByteSize() + 4
        if room < 0:
            left = len(violations) - position
            bad.field_violations.add(description=_MORE.format(count=left))
            break
        bad.field_violations.append(rendered)
    return bad


def _described(violation: FieldViolation) -> str:
    return f"line {violation.line}: {violation.description}" if violation.line else violation.description


def _clip(text: str, limit: int) -> str:
    """Cut `text` to at most `limit` bytes of UTF-8, without half characters."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    return raw[: limit - 3].decode("utf-8", "ignore") + "..."

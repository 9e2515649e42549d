"""How an attempt ended, as the worker tells it: header fields and the output's bytes."""

from __future__ import annotations

import signal
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

MESSAGE_LIMIT = 4000
TRACEBACK_LIMIT = 60_000
OWN_CODE = (str(Path(__file__).resolve().parents[1]), "<frozen importlib")


@dataclass(slots=True)
class Outcome:
    """The end of an attempt. `state` is succeeded, failed or skipped; `failure` has the fields of podium.v1.Failure.

    `blobs` are the (sha256, size, name) of what the output refers to; `retry_after` is in seconds.
    """

    state: str
    output: bytes = b""
    failure: dict[str, Any] | None = None
    no_retry: bool = False
    retry_after: float | None = None
    blobs: list[tuple[str, int, str]] = field(default_factory=list)
    peak_memory_bytes: int = 0

    def fields(self) -> dict[str, Any]:
        """Return all but the output, as fields of a frame's header."""
        return {
            "state": self.state,
            "failure": self.failure,
            "no_retry": self.no_retry,
            "retry_after": self.retry_after,
            "blobs": self.blobs,
        }


def failed(kind: str, message: str, **details: Any) -> Outcome:
    """Return a failure of the given kind."""
    return Outcome("failed", failure={"kind": kind, "message": limited(message, MESSAGE_LIMIT), **details})


def raised(error: BaseException, kind: str = "user_error") -> Outcome:
    """Return the failure that an exception of the task's code means."""
    name = type(error).__qualname__
    text = describe(error)
    return failed(
        kind,
        f"{name}: {text}" if text else name,
        traceback=formatted(error),
        exception_type=limited(f"{type(error).__module__}.{name}", 1000),
    )


def describe(error: BaseException) -> str:
    """Return the exception's own text; an exception that cannot say it gets a substitute."""
    try:
        return str(error)
    except Exception as fault:  # noqa: BLE001 - user code runs here
        return f"(its text cannot be shown: {type(fault).__name__})"


def formatted(error: BaseException) -> str:
    """Return the traceback without the agent's own frames, its middle left out when it is long."""
    try:
        lines = traceback.format_exception(type(error), error, without_own_frames(error.__traceback__))
    except Exception as fault:  # noqa: BLE001 - user code runs here
        return f"(the traceback cannot be shown: {type(fault).__name__})"
    return limited("".join(lines), TRACEBACK_LIMIT)


def without_own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that begins with the first frame that is not the agent's."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(OWN_CODE):
        trace = trace.tb_next
    return trace


def limited(text: str, limit: int) -> str:
    """Return `text`, its middle left out when it has more than `limit` bytes in UTF-8."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit:
        return encoded.decode()
    half = (limit - 100) // 2
    left_out = len(encoded) - 2 * half
    head, tail = encoded[:half].decode(errors="ignore"), encoded[-half:].decode(errors="ignore")
    return f"{head}\n[... {left_out} bytes left out ...]\n{tail}"


def describe_exit(subject: str, code: int) -> str:
    """Say in a sentence how a process ended; `code` is minus the signal's number when a signal ended it."""
    if code >= 0:
        return f"{subject} ended with exit code {code}."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (the host may have run out of memory)" if code == -signal.SIGKILL else ""
    return f"{subject} was ended by {name}{hint}."

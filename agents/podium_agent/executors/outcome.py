"""How an attempt ended, as the worker tells it: header fields and the output's bytes."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.outcomes import MAX_MESSAGE_BYTES, Fail, Retry, Skip, cut, describe

if TYPE_CHECKING:
    from types import TracebackType

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
    return Outcome("failed", failure={"kind": kind, "message": cut(message, MAX_MESSAGE_BYTES), **details})


def raised(error: BaseException) -> Outcome:
    """Return the end that an exception of the task's code means."""
    match error:
        case Skip():
            return Outcome("skipped", failure={"kind": "unspecified", "message": cut(str(error), MAX_MESSAGE_BYTES)})
        case Fail():
            return replace(_user_error(error), no_retry=True)
        case Retry(after=after):
            return replace(_user_error(error), retry_after=after)
    return _user_error(error)


def _user_error(error: BaseException) -> Outcome:
    try:
        failure = describe(error, without_own_frames(error.__traceback__))
    except Exception as fault:  # noqa: BLE001 - the exception's own code runs here
        kind = type(error)
        text = f"{kind.__qualname__} (what it says cannot be shown: {type(fault).__name__})"
        return failed("user_error", text, exception_type=f"{kind.__module__}.{kind.__qualname__}")
    return failed(
        "user_error", failure.message, traceback=failure.traceback, exception_type=cut(failure.exception_type, 1000)
    )


def without_own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that begins with the first frame that is not the agent's."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(OWN_CODE):
        trace = trace.tb_next
    return trace


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

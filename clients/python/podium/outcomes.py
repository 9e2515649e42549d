"""How a task says how it ends, and how its failure is told. Standard library only."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType

from podium.model.quantities import seconds
from podium.model.states import Failure, FailureKind

MAX_MESSAGE_BYTES = 4 * 1024
MAX_TRACEBACK_BYTES = 64 * 1024


class Skip(Exception):  # noqa: N818 - it is no error
    """Raised by a task that is not needed: it ends skipped."""

    __module__ = "podium"


class Fail(Exception):  # noqa: N818 - read as a verb, where it is raised
    """Raised by a task that cannot succeed: it fails, and is not tried again."""

    __module__ = "podium"


class Retry(Exception):  # noqa: N818 - it is no error
    """Raised by a task that wants to be tried again later; uses one of its retries."""

    __module__ = "podium"

    def __init__(self, message: str = "", *, after: float | timedelta | str) -> None:
        """Say why, and how long to wait.

        Args:
            message: Why.
            after: Seconds, a timedelta, or text such as "30s" or "5m".

        Raises:
            ValueError: `after` is no length of time.
        """
        super().__init__(message or "The task asked to be tried again.")
        self.after = seconds(after)


def describe(error: BaseException, first_frame: TracebackType | None = None) -> Failure:
    """Return what a task raised as a failure of kind user_error.

    Args:
        error: What it raised.
        first_frame: Where the task's own code begins in the traceback; what leads to it is left out. None keeps all.
    """
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    told = _told(lambda: str(error).strip())
    return Failure(
        FailureKind.USER_ERROR,
        cut(f"{name}: {told}" if told else name, MAX_MESSAGE_BYTES),
        cut(
            _told(lambda: "".join(traceback.format_exception(kind, error, first_frame or error.__traceback__))),
            MAX_TRACEBACK_BYTES,
        ),
        f"{kind.__module__}.{kind.__qualname__}",
    )


def _told(tell: Callable[[], str]) -> str:
    """Return what the user's own code tells of its error, if it can."""
    try:
        return tell()
    except Exception as fault:  # noqa: BLE001 - an exception's own __str__ may raise anything
        return f"(it cannot be shown: {type(fault).__name__})"


def cut(text: str, limit: int) -> str:
    """Return `text` in at most `limit` bytes of UTF-8, its middle left out where it is longer."""
    data = text.encode(errors="backslashreplace")
    if len(data) <= limit:
        return data.decode()
    mark = f"\n... about {len(data) - limit:,} bytes left out ...\n"
    half = (limit - len(mark)) // 2
    return data[:half].decode(errors="ignore") + mark + data[-half:].decode(errors="ignore")

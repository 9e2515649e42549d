"""The exit codes of every command: the one table."""

from __future__ import annotations

from enum import IntEnum

from podium import errors


class Exit(IntEnum):
    """What a command's exit code tells the shell."""

    OK = 0
    FAILURE = 1
    """The command could not do what it was asked."""
    USAGE = 2
    """The command line is wrong: an option, an argument or a run's parameter."""
    RUN_FAILED = 3
    """The run that was watched failed or was cancelled."""
    NOT_FOUND = 4
    """What the command names does not exist."""
    UNAVAILABLE = 5
    """No coordinator answers, or not now: the same command may work later."""
    TIMEOUT = 124
    """`--timeout` passed before the end; as `timeout(1)` says it."""
    INTERRUPTED = 130
    """Ctrl-C; as shells say it."""


# The first class that fits decides.
_BY_ERROR: tuple[tuple[type[Exception], Exit], ...] = (
    (errors.NotFoundError, Exit.NOT_FOUND),
    (errors.UnavailableError, Exit.UNAVAILABLE),
    (errors.InvalidParametersError, Exit.USAGE),
    (errors.InvalidRequestIdError, Exit.USAGE),
    (errors.InvalidSettingError, Exit.USAGE),
    (errors.InvalidAddressError, Exit.USAGE),
    (errors.RunFailedError, Exit.RUN_FAILED),
    (errors.RunCancelledError, Exit.RUN_FAILED),
    (TimeoutError, Exit.TIMEOUT),
    (errors.PodiumError, Exit.FAILURE),
    (OSError, Exit.FAILURE),
)


def exit_of(error: Exception) -> Exit:
    """Return the exit code for an error that ended a command."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), Exit.FAILURE)

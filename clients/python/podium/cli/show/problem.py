"""Turns an error into the lines a person reads: what is wrong, where, and the next command to try."""

from __future__ import annotations

from collections.abc import Callable

from podium.errors import DeadlineError, InvalidArgumentError, PodiumError

# What to try next, by the error's reason. Words in braces are taken from the error's metadata.
NEXT: dict[str, str] = {
    "WORKFLOW_NOT_FOUND": "podium workflows list",
    "RUN_NOT_FOUND": "podium runs list",
    "TASK_NOT_FOUND": "podium tasks {run_id}",
    "ATTEMPT_NOT_FOUND": "podium tasks {run_id} --attempts",
    "AGENT_NOT_FOUND": "podium agents list",
    "RUN_ALREADY_FINISHED": "podium runs show {run_id}",
    "INVALID_PARAMETERS": "podium workflows show {workflow}",
    "REQUEST_ID_REUSED": "podium run {workflow} --request-id ANOTHER",
    "BUNDLE_NOT_FOUND": "podium deploy PATH",
    "OUTPUTS_TOO_LARGE": "podium runs outputs {run_id} TASK",
    "UNAVAILABLE": "podium up",
    "DEADLINE_EXCEEDED": "podium runs watch {run_id}",
    "SERVER_ENDED": "tail {log}",
    "PORT_TAKEN": "podium up --port ANOTHER",
    "MISSING_EXTRA": 'pip install "podium[{extra}]"',
}


class Blanks(dict[str, str]):
    """Stands a word in capitals in for what an error does not tell."""

    def __missing__(self, key: str) -> str:
        return "RUN" if key == "run_id" else key.upper()


def next_command(error: PodiumError) -> str:
    """Return the command to try after an error; empty when none is known."""
    if isinstance(error, DeadlineError) and "run_id" not in error.metadata:
        return ""
    return NEXT.get(error.reason, "").format_map(Blanks(error.metadata))


def lines(error: Exception, as_typed: Callable[[str], str] = str) -> list[str]:
    """Return the error on one line, its violations one a line, and the next command to try, as one must type it."""
    summary = sentence(error)
    told = [f"error: {summary}"]
    if isinstance(error, InvalidArgumentError):
        file = error.metadata.get("file", "")
        told += [f"  {one.shown(file)}" for one in error.violations if one.description not in summary]
    if isinstance(error, PodiumError) and (command := next_command(error)):
        told.append(f"next: {as_typed(command)}")
    return told


def sentence(error: Exception) -> str:
    """Return what is wrong in one line."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    text = error.message if isinstance(error, PodiumError) else str(error)
    return " ".join(text.split()) or type(error).__name__

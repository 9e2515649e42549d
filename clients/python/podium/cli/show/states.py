"""States and failures as coloured words."""

from __future__ import annotations

from podium.cli.show.table import Cell
from podium.model.states import AgentState, AttemptState, Failure, RunState, TaskRunState

_GOOD = frozenset({"succeeded", "connected"})
_BAD = frozenset({"failed", "upstream_failed", "timed_out", "lost", "unknown"})
_UNDER_WAY = frozenset({"running", "assigned", "cancelling"})
_NOTABLE = frozenset({"cancelled", "skipped", "retrying", "disconnected", "taken_back", "paused"})
_COLORS = {"green": _GOOD, "red": _BAD, "cyan": _UNDER_WAY, "yellow": _NOTABLE}


def state(value: RunState | TaskRunState | AttemptState | AgentState) -> Cell:
    """Return a state as a cell in its colour."""
    return Cell(value, next((color for color, states in _COLORS.items() if value in states), None))


def failure(value: Failure | None) -> str:
    """Return why something failed on one line: the kind, then the message; empty for None."""
    return f"{value.kind}: {value.message}" if value else ""


def task_name(task: str, map_index: int) -> str:
    """Return a task run's name as commands take it: "load", or "load[3]" for an element of a mapped task."""
    return task if map_index < 0 else f"{task}[{map_index}]"

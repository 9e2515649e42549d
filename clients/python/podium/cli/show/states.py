"""States and failures as coloured words."""

from __future__ import annotations

from collections.abc import Mapping

from podium.cli.show.table import Cell
from podium.model.states import AgentState, AttemptState, Failure, RunState, TaskRunState

_COLORS: Mapping[str, frozenset[str]] = {
    "green": frozenset({"succeeded", "connected"}),
    "red": frozenset({"failed", "upstream_failed", "timed_out", "lost", "unknown"}),
    "cyan": frozenset({"running", "assigned", "cancelling"}),
    "yellow": frozenset({"cancelled", "skipped", "retrying", "disconnected", "taken_back", "paused"}),
}


def state(value: RunState | TaskRunState | AttemptState | AgentState) -> Cell:
    """Return a state as a cell in its colour."""
    return Cell(value, next((color for color, states in _COLORS.items() if value in states), None))


def failure(value: Failure | None) -> str:
    """Return why something failed on one line: the kind, then the message; empty for None."""
    return f"{value.kind}: {value.message}" if value else ""


def counts(value: Mapping[TaskRunState, int]) -> str:
    """Return how many task runs are in each state, those without any left out: "9 succeeded, 1 failed"."""
    return ", ".join(f"{value[kind]} {kind}" for kind in reversed(TaskRunState) if value.get(kind))

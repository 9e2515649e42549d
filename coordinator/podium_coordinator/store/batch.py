"""What the shard loop commits at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

    from podium_coordinator.domain.records import (
        AgentChanged,
        AttemptBorn,
        AttemptEnded,
        AttemptRuns,
        RunCancelling,
        RunEnded,
        RunStarted,
        TaskRunEnded,
    )


@dataclass(slots=True)
class Batch:
    """Changes of one shard, applied in the order of the fields: an attempt may be born, run and end in one batch."""

    runs_started: list[RunStarted] = field(default_factory=list)
    runs_cancelling: list[RunCancelling] = field(default_factory=list)
    attempts_born: list[AttemptBorn] = field(default_factory=list)
    attempts_running: list[AttemptRuns] = field(default_factory=list)
    attempts_ended: list[AttemptEnded] = field(default_factory=list)
    task_runs_ended: list[TaskRunEnded] = field(default_factory=list)
    runs_ended: list[RunEnded] = field(default_factory=list)
    agents_changed: list[AgentChanged] = field(default_factory=list)
    commands_applied: list[UUID] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not (
            self.runs_started
            or self.runs_cancelling
            or self.attempts_born
            or self.attempts_running
            or self.attempts_ended
            or self.task_runs_ended
            or self.runs_ended
            or self.agents_changed
            or self.commands_applied
        )

"""What really happened outside the coordinators: executions at agents, and answers that users got."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from podium_coordinator.domain.lifecycle import Finish
from tests.simulation.violation import demand


@dataclass
class Execution:
    """An attempt at its agent. `end` is what the agent tells of it; `gone` when the agent has it no more."""

    agent_id: UUID
    began: datetime | None = None
    end: Finish | None = None
    gone: bool = False


@dataclass
class Ledger:
    """Executions by token, and the runs that users were told of by request."""

    executions: dict[bytes, Execution] = field(default_factory=dict)
    acknowledged: dict[str, UUID] = field(default_factory=dict)
    told_over: set[UUID] = field(default_factory=set)
    """Runs whose end a user was told."""

    def received(self, token: bytes, agent_id: UUID) -> None:
        """An agent took an order; it may come again after the agent has lost everything."""
        execution = self.executions.setdefault(token, Execution(agent_id))
        demand(execution.agent_id == agent_id, "one attempt was ordered from two agents")
        demand(execution.end is None, "an attempt was ordered again after its end")

    def began(self, token: bytes, now: datetime) -> None:
        execution = self.executions[token]
        demand(execution.began is None, "an attempt was executed twice")
        execution.began = now

    def ended(self, token: bytes, finish: Finish) -> None:
        execution = self.executions[token]
        demand(execution.end is None, "an attempt ended twice")
        execution.end = finish

    def lost(self, token: bytes) -> None:
        """The agent has lost the attempt, or let it go."""
        if token in self.executions:
            self.executions[token].gone = True

    def answered(self, request: str, run_id: UUID) -> None:
        """A user was told that a run is stored."""
        known = self.acknowledged.setdefault(request, run_id)
        demand(known == run_id, f"the request {request} made two runs")

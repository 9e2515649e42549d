"""The agents as the shard's owner sees them: connected, disconnected, lost. Pure: instants are monotonic seconds.

An agent is judged by when it was last heard from. Two things keep a fault of our own from being taken for theirs:
agents known from before a takeover get a full term from the takeover on, and while more agents are silent than in
session nobody is declared lost, for `BRAKE_TERMS` terms at most. Of fewer than `LEAST_TO_BRAKE` agents the silence of
most says nothing about whose fault it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from podium_coordinator.domain.records import AgentRecord
from podium_coordinator.domain.seating import Seat, Seating
from podium_coordinator.domain.states import AgentState

BRAKE_TERMS = 5
LEAST_TO_BRAKE = 3


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds of silence after which an agent is disconnected, and lost."""

    disconnected_after: float = 10.0
    lost_after: float = 30.0


@dataclass(slots=True)
class Agent:
    """An agent; `session` counts its connections, 0 while it has none under this owner."""

    seat: Seat
    state: AgentState
    last_heard: float
    host: bytes = b""
    draining: bool = False
    session: int = 0
    connected_at: datetime | None = None
    last_heard_at: datetime | None = None
    recorded: AgentRecord | None = None
    """The agent's row, as last read or written."""

    @property
    def agent_id(self) -> UUID:
        """The agent's id."""
        return self.seat.agent_id


@dataclass(slots=True)
class Fleet:
    """All agents by id."""

    terms: Terms = field(default_factory=Terms)
    agents: dict[UUID, Agent] = field(default_factory=dict)
    seating: Seating = field(default_factory=Seating)
    reviewed_at: float = -math.inf

    def expect(self, agent_id: UUID, name: str, now: float) -> Agent:
        """Return the agent, which holds attempts from before a takeover if it was not known."""
        known = self.agents.get(agent_id)
        if known is None:
            seat = Seat(agent_id, name, 0, 0, open=False)
            known = self.agents[agent_id] = Agent(seat, AgentState.DISCONNECTED, now)
            self.seating.add(seat)
        return known

    def connect(self, agent: Agent, now: float) -> int:
        """Begin a session; return its number. The one before it is void."""
        agent.session += 1
        agent.state, agent.last_heard, agent.draining = AgentState.CONNECTED, now, False
        _set_open(agent.seat, True)
        return agent.session

    def hear(self, agent: Agent, now: float) -> bool:
        """Note a sign of life; return whether that changed the agent's state."""
        agent.last_heard = now
        if agent.state is AgentState.CONNECTED:
            return False
        agent.state = AgentState.CONNECTED
        _set_open(agent.seat, not agent.draining)
        return True

    def drain(self, agent: Agent) -> None:
        """Give the agent nothing new."""
        agent.draining = True
        _set_open(agent.seat, False)

    def disconnect(self, agent: Agent) -> None:
        """Note that the agent's session ended."""
        _set_open(agent.seat, False)
        if agent.state is AgentState.CONNECTED:
            agent.state = AgentState.DISCONNECTED

    def review(self, now: float) -> list[Agent]:
        """Judge silence; return the agents whose state changed. The caller declares attempts of lost ones lost."""
        self.reviewed_at = now
        changed = {}
        for agent in self.agents.values():
            if agent.state is AgentState.CONNECTED and now >= agent.last_heard + self.terms.disconnected_after:
                self.disconnect(agent)
                changed[agent.agent_id] = agent
        for agent in self._declare_lost(now):
            changed[agent.agent_id] = agent
        return list(changed.values())

    def _declare_lost(self, now: float) -> list[Agent]:
        braked = self.braked(now)
        gone = [
            agent
            for agent in self.agents.values()
            if agent.state is AgentState.DISCONNECTED and now >= self._lost_at(agent, braked)
        ]
        for agent in gone:
            agent.state = AgentState.LOST
        return gone

    def braked(self, now: float) -> bool:
        """Whether more agents are silent than in session, so that the fault is likely ours."""
        present = sum(agent.state is AgentState.CONNECTED for agent in self.agents.values())
        silent = sum(agent.state is AgentState.DISCONNECTED and bool(agent.seat.live) for agent in self.agents.values())
        return (
            silent > present
            and self._many()
            and any(
                agent.state is AgentState.DISCONNECTED and now >= self._lost_at(agent, braked=False)
                for agent in self.agents.values()
            )
        )

    def _many(self) -> bool:
        known = sum(agent.state is not AgentState.LOST for agent in self.agents.values())
        return known >= LEAST_TO_BRAKE

    def next_review(self) -> float | None:
        """Return the instant at which the next agent could change its state by silence alone; None without any."""
        braked = self.braked(self.reviewed_at)
        instants = [self._deadline(agent, braked) for agent in self.agents.values()]
        return min((at for at in instants if at is not None), default=None)

    def _deadline(self, agent: Agent, braked: bool) -> float | None:
        match agent.state:
            case AgentState.CONNECTED:
                return agent.last_heard + self.terms.disconnected_after
            case AgentState.DISCONNECTED:
                held_back = braked and self.reviewed_at >= self._lost_at(agent, braked=False)
                return self._lost_at(agent, held_back)
            case AgentState.LOST:
                return None

    def _lost_at(self, agent: Agent, braked: bool) -> float:
        return agent.last_heard + self.terms.lost_after * (BRAKE_TERMS if braked else 1)


def _set_open(seat: Seat, opened: bool) -> None:
    seat.open = opened
    seat.note()

"""All a shard's owner knows: runs, agents, what is ready. The shard loop alone changes it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from math import log2
from operator import itemgetter
from typing import Final
from uuid import UUID

from podium_coordinator.app.events import AgentLink, AttemptName, Order
from podium_coordinator.app.live import LiveRun
from podium_coordinator.domain.fleet import Agent, Fleet
from podium_coordinator.domain.graph import SchedulingClass
from podium_coordinator.domain.lifecycle import Speaker, assign
from podium_coordinator.domain.placement import ReadyQueue, place
from podium_coordinator.domain.run import Effects, LiveAttempt, Run
from podium_coordinator.domain.states import AttemptState

WORK_AHEAD = 0.02
"""Seconds of usual work an agent may be sent beyond its capacity. It must outlast a turn of the loop and the way to the
agent and back, or agents idle; it is what a small run's task waits behind at an agent that a large run keeps busy."""
MOST_AHEAD = 128.0
"""Times its capacity, however short the work: about 160 us for each attempt of one slot, which no agent gets below."""
SHORT = 0.05
"""Seconds: tasks that usually take longer are never sent ahead."""
PLACEMENTS_PER_TURN = 2048
MOST_ENDED_KEPT = 20_000

TokenSource = Callable[[], bytes]
Sampler = Callable[[LiveAttempt], bool]
"""Tells whether an attempt of a traced run is to be traced itself."""


_run_of: Final = itemgetter(0)


def attempt_name(run: Run, index: int, attempt: LiveAttempt) -> AttemptName:
    """Return how the session names an attempt of a task run."""
    return AttemptName(run.run_id, run.task_of(index), run.map_index_of(index), attempt.number, attempt.token)


@dataclass(slots=True)
class Board:
    """The shard in memory: a cache of its rows that the owner can drop and read again."""

    fleet: Fleet = field(default_factory=Fleet)
    runs: dict[UUID, LiveRun] = field(default_factory=dict)
    queue: ReadyQueue = field(default_factory=ReadyQueue)
    ended: OrderedDict[UUID, None] = field(default_factory=OrderedDict)
    """Runs that ended lately: a row read before that must not bring one back."""
    links: dict[UUID, AgentLink] = field(default_factory=dict)

    def forget(self, run_id: UUID) -> None:
        """Let go of a run that ended."""
        self.queue.discard(run_id)
        del self.runs[run_id]
        self.ended[run_id] = None
        if len(self.ended) > MOST_ENDED_KEPT:
            self.ended.popitem(last=False)

    def find(self, name: AttemptName) -> tuple[LiveRun, int] | None:
        """Return the run and task run an attempt's name speaks of, if the run is under way."""
        live = self.runs.get(name.run_id)
        index = live.run.index_of(name.task, name.map_index) if live else None
        return None if live is None or index is None else (live, index)

    def speaker(self, name: AttemptName, agent_id: UUID, index: int) -> Speaker:
        """Return who speaks."""
        return Speaker(index, name.number, name.token, agent_id)

    def agent_name(self, agent_id: UUID) -> str:
        """Return an agent's name; empty if it is not known."""
        agent = self.fleet.agents.get(agent_id)
        return agent.seat.name if agent else ""

    def release(self, effects: Effects, since: int) -> int:
        """Let agents go of attempts that ended, all but the first `since`; return how many ended by now."""
        for released in effects.released[since:]:
            attempt = released.attempt
            agent = self.fleet.agents.get(attempt.agent_id)
            if agent is not None:
                agent.seat.release(released.run_id, released.index)
        return len(effects.released)

    def keep_outputs(self, effects: Effects) -> None:
        """Hold results for the tasks behind them, which may be ordered in this very turn."""
        for ended in effects.attempts_ended:
            if ended.closes:
                self.runs[ended.run_id].keep_output(ended)

    def enqueue(self, effects: Effects, now: datetime, traced: bool) -> None:
        """Queue what became ready."""
        for _, group in groupby(effects.ready, key=_run_of):
            items = list(group)
            run = items[0][0]
            self.queue.push_all(run, [index for _, index in items])
            live = self.runs[run.run_id]
            if traced and live.sampled:
                for _, index in items:
                    live.ready_at[index] = (live.ready_at.get(index, (now, now))[0], now)
        effects.ready.clear()

    def hold(self, live: LiveRun, now: float) -> None:
        """Book the live attempts of a run that was read back on their agents."""
        for index, attempt in live.run.attempts.items():
            agent = self.fleet.expect(attempt.agent_id, "", now)
            agent.seat.take(live.run_id, index, live.compiled.graph.scheduling_class(live.run.task_of(index)))
            # Of those that wait there nobody knows whether the order ever left.
            attempt.delivered = attempt.state is AttemptState.RUNNING

    def fill(
        self, new_token: TokenSource, now: datetime, effects: Effects, sampled: Sampler
    ) -> dict[UUID, list[Order]]:
        """Give ready task runs to agents with room; return the orders by agent."""
        orders: dict[UUID, list[Order]] = {}
        for placement in place(self.queue, self.fleet.seating, self._window, PLACEMENTS_PER_TURN):
            run, index, seat = placement.run, placement.index, placement.seat
            attempt = assign(run, index, new_token(), seat.agent_id, now, effects)
            seat.take(run.run_id, index, run.graph.scheduling_class(run.task_of(index)))
            live = self.runs[run.run_id]
            attempt.traced = live.sampled and sampled(attempt)
            order = Order(live, index, attempt, self._inputs(live, index))
            orders.setdefault(seat.agent_id, []).append(order)
        return orders

    def _inputs(self, live: LiveRun, index: int) -> tuple[tuple[str, bytes], ...]:
        graph = live.compiled.graph
        parents = graph.inputs.get(live.run.task_of(index))
        if parents is None:
            return ()
        return tuple((graph.keys[parent], live.outputs.get(parent, b"")) for parent in parents)

    def _window(self, run: Run, index: int) -> float:
        """Short tasks are sent ahead of capacity, so that an agent has its next one at hand."""
        task = run.task_of(index)
        usual = self.runs[run.run_id].compiled.durations.usual(run.graph.action_of[task])
        if usual > SHORT:
            return 1.0
        # In powers of two: seats are kept in order for each window there is.
        return 1.0 + 2.0 ** int(log2(max(1.0, min(MOST_AHEAD, WORK_AHEAD / max(usual, 1e-6)))))

    def recall(self, now: datetime, after: float) -> list[tuple[Agent, AttemptName]]:
        """Choose unstarted attempts to take back for agents with room that could take them.

        Whatever waits for capacity at that moment has no use for that room, or it would have been placed there.

        Args:
            now: The present.
            after: Seconds an attempt must have waited at its agent.
        """
        seating = self.fleet.seating
        seating.look()
        if not seating.idle:
            return []
        movable: dict[SchedulingClass, bool] = {}
        chosen = []
        for agent in [self.fleet.agents[seat.agent_id] for seat in seating.crowded]:
            if agent.agent_id not in self.links:
                continue
            for needs in set(agent.seat.live.values()) - movable.keys():
                movable[needs] = any(seat.could_ever_fit(needs) and seat.room(needs, 1.0) for seat in seating.idle)
            waiting = self._unstarted(agent, now, after, movable)
            chosen += [(agent, name) for name in waiting[len(waiting) // 2 :]]
        return chosen

    def _unstarted(
        self, agent: Agent, now: datetime, after: float, movable: dict[SchedulingClass, bool]
    ) -> list[AttemptName]:
        names = []
        for (run_id, index), needs in agent.seat.live.items():
            if not movable[needs]:
                continue
            live = self.runs.get(run_id)
            attempt = live.run.attempts.get(index) if live else None
            if live is None or attempt is None or attempt.state is not AttemptState.ASSIGNED:
                continue
            waited = (now - attempt.assigned_at).total_seconds()
            if waited >= after and not attempt.recalled:
                names.append(attempt_name(live.run, index, attempt))
        return names

"""What agents say, applied to the board.

On every connect both sides reconcile. For each attempt the agent holds the answer is keep or stop. For each attempt the
board thinks the agent has and that it does not hold, there are two cases. The agent once heard the message with the
order: then it is lost. It never did: then the order never arrived, and the attempt is taken back at no cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import structlog

from podium.errors import AgentNameTakenError
from podium_coordinator.app.board import Board, attempt_name
from podium_coordinator.app.events import AgentHello, AgentSaid, AttemptName, Held, LinkClosed, Replies
from podium_coordinator.domain.fleet import Agent
from podium_coordinator.domain.lifecycle import (
    Answer,
    Finish,
    lose,
    report_finished,
    report_returned,
    report_started,
)
from podium_coordinator.domain.records import AgentChanged, AgentRecord
from podium_coordinator.domain.run import Effects
from podium_coordinator.domain.states import AgentState, RunState
from podium_coordinator.structured_logs import Event

log = structlog.stdlib.get_logger(__name__)

CAME_BACK_WITHOUT = "The agent came back without it."


def hello(board: Board, event: AgentHello, instant: float, now: datetime, effects: Effects, replies: Replies) -> None:
    """Begin an agent's session, unless another agent has its name."""
    if _name_taken(board, event):
        event.link.close(
            AgentNameTakenError(
                f"Another agent is connected as {event.name!r}; give this one another name.", name=event.name
            )
        )
        return
    _end_earlier_session(board, event)
    agent = _seated(board, event, instant)
    board.fleet.connect(agent, instant)
    board.links[event.agent_id] = event.link
    agent.host, agent.connected_at, agent.last_heard_at = event.host, now, now
    replies.welcomed.append(event.link)
    replies.moved.append(agent)
    _reconcile(board, agent, event, now, effects, replies)


def _name_taken(board: Board, event: AgentHello) -> bool:
    return any(
        agent.seat.name == event.name and agent.agent_id != event.agent_id and agent.agent_id in board.links
        for agent in board.fleet.agents.values()
    )


def _end_earlier_session(board: Board, event: AgentHello) -> None:
    earlier = board.links.pop(event.agent_id, None)
    if earlier is not None and earlier is not event.link:
        earlier.close(AgentNameTakenError(f"Agent {event.name!r} opened another session.", name=event.name))


def _seated(board: Board, event: AgentHello, instant: float) -> Agent:
    agent = board.fleet.expect(event.agent_id, event.name, instant)
    seat = agent.seat
    seat.name, seat.labels = event.name, event.labels
    seat.cpu_millis, seat.memory_bytes = event.cpu_millis, event.memory_bytes
    seat.note()
    return agent


def _reconcile(
    board: Board, agent: Agent, event: AgentHello, now: datetime, effects: Effects, replies: Replies
) -> None:
    held: dict[tuple[UUID, int, int], Held] = {}
    for item in event.held:
        found = board.find(item.name)
        attempt = found[0].run.attempts.get(found[1]) if found else None
        if found is None or attempt is None or (attempt.number, attempt.token) != (item.name.number, item.name.token):
            replies.stale.append((event.link, item.name))
            _answer_under_commit(agent, replies)
        else:
            held[item.name.run_id, found[1], item.name.number] = item
    for run_id, index in list(agent.seat.live):
        live = board.runs[run_id]
        attempt = live.run.attempts[index]
        key = (run_id, index, attempt.number)
        attempt.recalled = False
        item_held = held.get(key)
        name = attempt_name(live.run, index, attempt)
        speaker = board.speaker(name, agent.agent_id, index)
        if item_held is None and attempt.delivered:
            lose(live.run, index, CAME_BACK_WITHOUT, now, effects)
        elif item_held is None:
            if report_returned(live.run, speaker, now, effects) is Answer.STALE:
                lose(live.run, index, CAME_BACK_WITHOUT, now, effects)
        else:
            attempt.delivered = True
            if item_held.started_at is not None:
                report_started(live.run, speaker, item_held.started_at, effects)
            if live.run.state is RunState.CANCELLING:
                replies.cancels.append((event.link, name))


def said(board: Board, event: AgentSaid, instant: float, now: datetime, effects: Effects, replies: Replies) -> None:
    """Apply an agent's reports."""
    if board.links.get(event.agent_id) is not event.link:
        return
    agent = board.fleet.agents[event.agent_id]
    agent.last_heard_at = now
    if board.fleet.hear(agent, instant):
        replies.moved.append(agent)
    if event.draining and not agent.draining:
        board.fleet.drain(agent)
        replies.moved.append(agent)
    for attempt in event.delivered:
        attempt.delivered = True
    _started(board, agent, event, effects, replies)
    for name, finish, seconds in event.finished:
        if not _finished(board, event.agent_id, name, finish, seconds, now, effects):
            _answer_under_commit(agent, replies)
    if event.finished:
        replies.committed[event.link] = event.sequence
    for name in event.returned:
        found = board.find(name)
        if found:
            report_returned(found[0].run, board.speaker(name, event.agent_id, found[1]), now, effects)


def _started(board: Board, agent: Agent, event: AgentSaid, effects: Effects, replies: Replies) -> None:
    for name, at in event.started:
        found = board.find(name)
        speaker = board.speaker(name, event.agent_id, found[1]) if found else None
        if found is None or speaker is None or report_started(found[0].run, speaker, at, effects) is Answer.STALE:
            replies.stale.append((event.link, name))
            _answer_under_commit(agent, replies)


def _answer_under_commit(agent: Agent, replies: Replies) -> None:
    """Have the agent's row written anew before the agent is told that an attempt is void.

    Such an answer changes no row of its own. An owner that slept through a takeover would give it for what its
    successor has ordered, and the agent would drop a live attempt or its result; the commit's fence keeps it silent.
    """
    agent.recorded = None
    replies.moved.append(agent)


def _finished(
    board: Board,
    agent_id: UUID,
    name: AttemptName,
    finish: Finish,
    seconds: float,
    now: datetime,
    effects: Effects,
) -> bool:
    found = board.find(name)
    if found is None:
        return False
    live, index = found
    answer = report_finished(live.run, board.speaker(name, agent_id, index), finish, now, effects)
    if answer is Answer.STALE:
        log.info(Event.LATE_REPORT, run_id=str(name.run_id), task=name.task, attempt=name.number)
        return False
    live.compiled.durations.note(live.compiled.graph.action_of[live.run.task_of(index)], seconds)
    return True


def closed(board: Board, event: LinkClosed, replies: Replies) -> None:
    """Note the end of a session, unless another has taken its place."""
    if board.links.get(event.agent_id) is event.link:
        del board.links[event.agent_id]
        agent = board.fleet.agents[event.agent_id]
        board.fleet.disconnect(agent)
        replies.moved.append(agent)


def review(board: Board, instant: float, now: datetime, effects: Effects, replies: Replies) -> None:
    """Judge the silence of agents; what lost ones held is lost."""
    if board.fleet.braked(instant):
        log.warning(Event.LOSSES_NOT_DECLARED, reason="more agents are silent than connected")
    changed = board.fleet.review(instant)
    for agent in changed:
        if agent.state is AgentState.LOST:
            for run_id, index in list(agent.seat.live):
                reason = f"Agent {agent.seat.name} was not heard from for {board.fleet.terms.lost_after:g} s."
                lose(board.runs[run_id].run, index, reason, now, effects)
    replies.moved += changed


def to_record(moved: Iterable[Agent], now: datetime) -> list[AgentChanged]:
    """Return the rows to write of agents whose standing changed.

    A row that would say the same but for its times is left out: a thousand agents that come back to a new owner cost
    it no commit.
    """
    rows = []
    for agent in moved:
        before, record = agent.recorded, agent_record(agent, now)
        if before is None or record != replace(before, connected_at=record.connected_at, changed_at=now):
            agent.recorded = record
            rows.append(AgentChanged(record))
    return rows


def agent_record(agent: Agent, now: datetime) -> AgentRecord:
    """Return an agent's row."""
    return AgentRecord(
        agent.agent_id,
        agent.seat.name,
        agent.state,
        agent.host,
        agent.draining,
        agent.connected_at or now,
        now,
    )

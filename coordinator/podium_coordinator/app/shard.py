"""The shard loop: the one writer of its runs.

A turn takes everything that has arrived since the last one, applies it to the board, gives ready tasks to agents,
commits what that decided in one transaction, and only then speaks: orders, acknowledgements, stops, news for watchers.
While a commit is under way more arrives, so that batches grow with the load by themselves and an idle hop costs one
small commit.

Nothing here survives a commit whose outcome is unknown, or the loss of the shard: `run` raises, and whoever runs the
loop takes a new epoch, reads the rows again and begins with an empty board. Agents notice by the end of their sessions,
connect again and tell what they hold.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from podium.errors import NoOwnerError, OverloadedError
from podium_coordinator.app import reports
from podium_coordinator.app.board import Board
from podium_coordinator.app.events import (
    AgentHello,
    AgentSaid,
    Beat,
    CancelAsked,
    Event,
    LinkClosed,
    RebalanceDue,
    Replies,
    RetryDue,
    ReviewDue,
    RunArrived,
    RunExpired,
    StartExpired,
)
from podium_coordinator.app.speech import Speech
from podium_coordinator.app.timers import Timers
from podium_coordinator.app.tracing import Tracing
from podium_coordinator.app.watch import Snapshot, Watchers
from podium_coordinator.domain import lifecycle
from podium_coordinator.domain.fleet import Fleet, Terms
from podium_coordinator.domain.run import Effects
from podium_coordinator.domain.states import RunState
from podium_coordinator.store.batch import Batch
from podium_coordinator.store.faults import Commits

MOST_EVENTS_WAITING = 100_000
EVENTS_PER_TURN = 4_096
CHANGES_PER_TURN = 4_096
"""Changes of task runs after which a turn takes no further event: some tens of milliseconds of work."""
BUSY = 16
"""Attempts that end in one turn from which on the loop counts as busy: agents then have work ahead, and a turn that
waits `GATHER` seconds for more to do costs far less per attempt."""
GATHER = 0.005
TOKENS_AT_ONCE = 256
LATE, HEAR_FIRST = 0.5, 2.0
"""Seconds by which a review of agents' silence may come late, and for which it is put off when it comes later."""
RECALL_AFTER = 0.05
"""Seconds an attempt waits unstarted at its agent before it may be taken back for an idle one."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often agents are given a sign of life, and how long they may be silent; seconds."""

    heartbeat: float = 3.0
    terms: Terms = field(default_factory=Terms)


class Shard:
    """A shard that this process owns, from one epoch's start to its end."""

    def __init__(self, epoch: int, journal: Commits, snapshot: Snapshot, rhythm: Rhythm, tracing: Tracing) -> None:
        self.epoch = epoch
        self.board = Board(fleet=Fleet(terms=rhythm.terms))
        self.watchers = Watchers(snapshot)
        self.timers = Timers(self.tell)
        self.ended: Callable[[], None] = lambda: None
        self.committed: Callable[[Batch], None] = lambda _: None
        self.agents_moved: Callable[[], None] = lambda: None
        self.asked: set[UUID] = set()
        """Commands that were handed to the loop, and that were still pending when last looked for."""
        self._journal = journal
        self._rhythm = rhythm
        self._tracing = tracing
        self._inbox: deque[Event] = deque()
        self._news = asyncio.Event()
        self._speech = Speech(self.board, self.watchers, self.timers, tracing)
        self._closed = False
        self._reason_to_stop: Exception | None = None
        self._recalling = False
        self._tokens = _tokens()
        self._review_at: float | None = None
        self._reviewed = True
        self._put_off = False
        self._before_review: int | None = None
        """Events that waited when a review became due, and wait still; None while none is due."""

    def tell(self, event: Event) -> None:
        """Hand the loop an event. Raises NoOwnerError once it has ended, OverloadedError when too many wait."""
        if self._closed:
            raise NoOwnerError("This coordinator does not own the shard any more; try again.")
        if len(self._inbox) >= MOST_EVENTS_WAITING:
            raise OverloadedError(f"More than {MOST_EVENTS_WAITING} events wait; try again.", limit=MOST_EVENTS_WAITING)
        self._inbox.append(event)
        self._news.set()

    async def run(self) -> None:
        """Own the shard until an error ends it: FencedError, UnknownOutcomeError, or a fault of ours."""
        self.timers.after(self._rhythm.heartbeat, Beat())
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                while self._inbox and self._reason_to_stop is None:
                    ended = await self.turn()
                    if ended >= BUSY:
                        await asyncio.sleep(GATHER)
                if self._reason_to_stop is not None:
                    raise self._reason_to_stop
        finally:
            self._end()

    def stop(self, reason: Exception) -> None:
        """Make `run` raise `reason` instead of taking another turn."""
        self._reason_to_stop = reason
        self._news.set()

    def _end(self) -> None:
        self._closed = True
        self.ended()
        self.timers.close()
        self.watchers.cut_all()
        for link in list(self.board.links.values()):
            link.close(NoOwnerError("This coordinator does not own the shard any more; connect again."))

    async def turn(self) -> int:
        """Apply what has arrived, commit, speak; return how many attempts that ended."""
        now, instant = datetime.now(UTC), asyncio.get_running_loop().time()
        effects, replies, batch = Effects(), Replies(), Batch()
        released = 0
        for _ in range(min(len(self._inbox), EVENTS_PER_TURN)):
            self._apply(self._inbox.popleft(), instant, now, effects, replies, batch)
            released = self.board.release(effects, released)
            if self._before_review:
                self._before_review -= 1
            if len(effects.changed) >= CHANGES_PER_TURN:
                break
        if self._before_review == 0:
            self._review(instant, now, effects, replies)
            self.board.release(effects, released)
        self.board.keep_outputs(effects)
        self.board.enqueue(effects, now, self._tracing.enabled)
        replies.orders = self.board.fill(self._tokens.__next__, now, effects, self._tracing.in_detail)
        self._fill_batch(batch, effects)
        batch.agents_changed += reports.to_record(replies.moved, now)
        if not batch.empty:
            await self._journal.commit(self.epoch, batch)
        self._speech.speak(effects, replies, self.epoch)
        self.committed(batch)
        if replies.moved:
            self.agents_moved()
        self._watch_over(instant, bool(replies.moved))
        return len(effects.attempts_ended)

    def _apply(
        self, event: Event, instant: float, now: datetime, effects: Effects, replies: Replies, batch: Batch
    ) -> None:
        match event:
            case AgentSaid():
                reports.said(self.board, event, instant, now, effects, replies)
            case AgentHello():
                reports.hello(self.board, event, instant, now, effects, replies)
            case LinkClosed():
                reports.closed(self.board, event, replies)
            case ReviewDue():
                self._review_due(instant)
            case _:
                self._apply_to_run(event, instant, now, effects, batch)

    def _review_due(self, instant: float) -> None:
        """Let a review follow what waits; put one off, once, that comes late: this process stood still.

        What agents said meanwhile is not in the inbox yet, but in sockets.
        """
        late = self._review_at is not None and instant - self._review_at > LATE
        if late and not self._put_off:
            self._put_off = True
            self.timers.after(HEAR_FIRST, ReviewDue())
        else:
            self._before_review = len(self._inbox) + 1

    def _review(self, instant: float, now: datetime, effects: Effects, replies: Replies) -> None:
        """Judge silence. Whatever waited has been heard: when this process stalls, agents' words wait, too."""
        self._before_review = None
        self._put_off = False
        self._review_at, self._reviewed = None, True
        reports.review(self.board, instant, now, effects, replies)

    def _apply_to_run(self, event: Event, instant: float, now: datetime, effects: Effects, batch: Batch) -> None:
        match event:
            case RunArrived():
                self._arrive(event, instant, now, effects)
            case CancelAsked():
                batch.commands_applied.append(event.command_id)
                live = self.board.runs.get(event.run_id)
                if live is not None:
                    lifecycle.cancel(live.run, event.reason, now, effects)
            case RetryDue() if event.run_id in self.board.runs:
                lifecycle.retry_due(self.board.runs[event.run_id].run, event.index, event.number, effects)
            case StartExpired() if event.run_id in self.board.runs:
                lifecycle.start_expired(self.board.runs[event.run_id].run, event.index, event.number, now, effects)
            case RunExpired() if event.run_id in self.board.runs:
                lifecycle.run_expired(self.board.runs[event.run_id].run, now, effects)
            case Beat():
                self._beat()
            case RebalanceDue():
                self._recall(now)

    def _arrive(self, event: RunArrived, instant: float, now: datetime, effects: Effects) -> None:
        live = event.live
        if live.run_id in self.board.runs or live.run_id in self.board.ended:
            return
        self.board.runs[live.run_id] = live
        live.sampled = self._tracing.sampled(live.record.trace_id)
        self.board.hold(live, instant)
        effects.merge(event.effects)
        if live.run.state is RunState.QUEUED:
            lifecycle.start(live.run, now, effects)
        if live.run.graph.run_timeout is not None:
            since = (now - (live.record.started_at or now)).total_seconds()
            self.timers.after(max(0.0, live.run.graph.run_timeout - since), RunExpired(live.run_id))

    def _beat(self) -> None:
        for link in self.board.links.values():
            link.beat()
        self.timers.after(self._rhythm.heartbeat, Beat())

    def _recall(self, now: datetime) -> None:
        self._recalling = False
        for agent, name in self.board.recall(now, RECALL_AFTER):
            found = self.board.find(name)
            if found:
                found[0].run.attempts[found[1]].recalled = True
                self.board.links[agent.agent_id].take_back(name)

    def _fill_batch(self, batch: Batch, effects: Effects) -> None:
        batch.runs_started += effects.runs_started
        batch.runs_cancelling += effects.runs_cancelling
        batch.runs_ended += effects.runs_ended
        batch.attempts_born += effects.attempts_born
        batch.attempts_running += effects.attempts_running
        batch.attempts_ended += effects.attempts_ended
        batch.task_runs_ended += effects.task_runs_ended

    def _watch_over(self, instant: float, moved: bool) -> None:
        """See that silence and imbalance are looked at in time."""
        if (moved or self._reviewed) and not self._put_off:  # a sign of life only ever puts a review off
            self._reviewed = False
            due = self.board.fleet.next_review()
            if due is not None and (self._review_at is None or due < self._review_at - 0.5):
                self._review_at = due
                self.timers.after(max(0.01, due - instant), ReviewDue())
        seating = self.board.fleet.seating
        seating.look()
        if not self._recalling and seating.lopsided:
            self._recalling = True
            self.timers.after(RECALL_AFTER, RebalanceDue())


def _tokens() -> Iterator[bytes]:
    while True:
        drawn = os.urandom(16 * TOKENS_AT_ONCE)
        for start in range(0, len(drawn), 16):
            yield drawn[start : start + 16]

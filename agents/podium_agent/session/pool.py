"""The pool of workers: who is idle, who is busy, whom to start and whom to end.

Theory of operation
-------------------
An attempt asks for a worker and is granted one at once or later. A worker that has executed from a bundle serves only
that bundle; one that has not is `unbound` and serves any. When no idle worker suits, one is started, up to `limit`; at
the limit an idle worker of another bundle makes room. A few workers (`warm`) are kept idle in advance, since starting
one takes longer than a short task; those idle beyond that are ended after `IDLE_SECONDS`. A worker is replaced after
`recycle_after` attempts.

Where all resources are held, short attempts line up in the lanes of busy workers (session.lanes): those that wait for a
worker first, then those that wait for resources.

A worker that dies before it says hello costs a growing pause before the next start; after `HOPELESS` such deaths in a
row the attempts that wait are told that no worker can be had.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Protocol

import structlog

from podium_agent.session.lanes import MOST_DEALT, WINDOW, Lane, Phase

if TYPE_CHECKING:
    from podium_agent.session.attempts import Attempt
    from podium_agent.session.orders import Order
    from podium_agent.session.spawner import SpawnerClient

log = structlog.get_logger(__name__)

IDLE_SECONDS = 60.0
HOPELESS = 3
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0


class Employer(Protocol):
    """Who asks for workers."""

    def granted(self, attempt: Attempt, lane: Lane) -> None:
        """The attempt has the worker."""

    def no_worker(self, attempt: Attempt) -> None:
        """No worker can be started on this host."""


class Pool:
    """See the module's theory of operation."""

    def __init__(self, spawner: SpawnerClient, warm: int, limit: int, recycle_after: int) -> None:
        self._spawner = spawner
        self._warm, self._limit, self._recycle_after = warm, limit, recycle_after
        self._lanes: dict[str, Lane] = {}
        self._waiting: dict[bytes, Attempt] = {}
        self._start_failures = 0
        self._pause: asyncio.TimerHandle | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self.employer: Employer | None = None

    @property
    def bundles(self) -> set[str]:
        """The bundles that workers are bound to."""
        return {lane.bundle for lane in self._lanes.values()}

    @property
    def ahead(self) -> bool:
        """Whether a worker has more than it executes."""
        return any(len(lane.dealt) > 1 for lane in self._lanes.values())

    def lane(self, worker: str) -> Lane | None:
        """Return a worker's lane; None when it is gone."""
        return self._lanes.get(worker)

    def busy(self) -> list[Lane]:
        """Return the lanes of workers that have been dealt something."""
        return [lane for lane in self._lanes.values() if lane.dealt and lane.phase is Phase.BUSY]

    def adopt(self, worker: str, bundle: str) -> Lane:
        """Take over a worker an earlier session started."""
        lane = self._lanes[worker] = Lane(worker, bundle=bundle)
        return lane

    def silent(self) -> list[str]:
        """Return the workers that may be idle and have not said so yet."""
        return [lane.name for lane in self._lanes.values() if lane.phase is Phase.STARTING]

    def warm_up(self) -> None:
        """Start workers in advance."""
        self._start_missing()

    def request(self, attempt: Attempt) -> None:
        """Ask for a worker for an attempt."""
        lane = self._idle_for(attempt.order.binds)
        if lane is not None:
            self._grant(lane, attempt)
            return
        self._waiting[attempt.token] = attempt
        self._start_missing()

    def withdraw(self, attempt: Attempt) -> None:
        """Take a request back; a worker already granted is free again."""
        self._waiting.pop(attempt.token, None)

    def first_waiting(self) -> Attempt | None:
        """Return who has waited longest for a worker."""
        return next(iter(self._waiting.values()), None)

    def lanes_for(self, order: Order) -> list[Lane]:
        """Return the lanes in which attempts of the order may line up, of those that have little left."""
        half = MOST_DEALT // 2, WINDOW // 2
        return [
            lane
            for lane in self._lanes.values()
            if len(lane.dealt) <= half[0] and lane.load <= half[1] and lane.suits(order)
        ]

    def shortest(self, lanes: list[Lane], order: Order) -> Lane | None:
        """Return which of the lanes is soonest done, of those that have room."""
        found = None
        for lane in lanes:
            if lane.has_room(order, self._recycle_after) and (found is None or lane.load < found.load):
                found = lane
        return found

    def flush(self) -> None:
        """Tell workers what they have been dealt."""
        for lane in self._lanes.values():
            lane.flush()

    def free(self, lane: Lane) -> None:
        """Take a worker back that has executed all it was dealt."""
        if lane.phase is not Phase.BUSY:
            return
        if lane.served >= self._recycle_after or self._closed:
            lane.dismiss()
        else:
            self._idle(lane)

    def end(self, lane: Lane, grace: float) -> None:
        """End a worker with its attempt."""
        lane.phase = Phase.ENDING
        self._spawner.end(lane.name, grace)

    def close(self) -> None:
        """Start no more workers, and dismiss those that are idle."""
        self._closed = True
        for lane in list(self._lanes.values()):
            if lane.phase is Phase.IDLE:
                lane.dismiss()

    # What workers and the spawner say

    def hello(self, worker: str) -> Lane | None:
        """Note a worker's connection, new or renewed; None when no such worker is known."""
        lane = self._lanes.get(worker)
        if lane is not None:
            self._start_failures = 0
        return lane

    def settled(self, lane: Lane) -> None:
        """Note that it is known what a worker that has said hello executes, if anything."""
        if lane.phase is Phase.STARTING:
            if lane.dealt:
                lane.phase = Phase.BUSY
            else:
                self._idle(lane)

    def gone(self, lane: Lane) -> None:
        """Forget a worker that has ended."""
        del self._lanes[lane.name]
        if lane.channel is not None:
            lane.channel.dispose()
        if not lane.said_hello and lane.phase is Phase.STARTING:
            self._start_failed()
        self._start_missing()

    def buried(self, worker: str) -> None:
        """Note that a worker's exit has been acted on, for good."""
        self._spawner.noted(worker)

    # Decisions

    def _idle_for(self, binds: str) -> Lane | None:
        """Return an idle worker: one that is bound to the bundle, and answered promptly, before any other."""
        best = None
        for lane in self._lanes.values():
            if lane.phase is not Phase.IDLE or (binds and lane.bundle not in ("", binds)):
                continue
            if (lane.bundle == binds or not binds) and not lane.stuck:
                return lane
            if best is None or best.stuck:
                best = lane
        return best

    def _idle(self, lane: Lane) -> None:
        lane.phase = Phase.IDLE
        lane.idle_since = asyncio.get_running_loop().time()
        for token, attempt in self._waiting.items():
            binds = attempt.order.binds
            if not binds or not lane.bundle or binds == lane.bundle:
                del self._waiting[token]
                self._grant(lane, attempt)
                return
        self._start_missing()
        self._plan_sweep()

    def _grant(self, lane: Lane, attempt: Attempt) -> None:
        lane.phase = Phase.BUSY
        lane.bundle = attempt.order.binds or lane.bundle
        lane.demand = attempt.order.demand
        if self.employer is not None:
            self.employer.granted(attempt, lane)

    def _start_missing(self) -> None:
        if self._closed or self._pause is not None:
            return
        phases = [lane.phase for lane in self._lanes.values()]
        starting, idle = phases.count(Phase.STARTING), phases.count(Phase.IDLE)
        missing = max(len(self._waiting) - starting, self._warm - starting - idle if not self._waiting else 0)
        room = self._limit - len(self._lanes)
        if self._waiting and room < missing:
            room += self._make_room(missing - room)
        for _ in range(min(missing, room)):
            self._start()

    def _make_room(self, wanted: int) -> int:
        """Dismiss idle workers that nobody who waits can use; they leave room when they are gone."""
        idle = [lane for lane in self._lanes.values() if lane.phase is Phase.IDLE]
        for lane in sorted(idle, key=lambda lane: lane.idle_since)[:wanted]:
            lane.dismiss()
        return 0

    def _start(self) -> None:
        lane = Lane(f"w{uuid.uuid4().hex[:12]}")
        self._lanes[lane.name] = lane
        self._spawner.start(lane.name)

    def _start_failed(self) -> None:
        self._start_failures += 1
        pause = min(FIRST_PAUSE * 2**self._start_failures, LONGEST_PAUSE)
        log.error("worker_died_at_start", in_a_row=self._start_failures, pause_seconds=pause)
        if self._pause is None:
            self._pause = asyncio.get_running_loop().call_later(pause, self._resume)
        if self._start_failures >= HOPELESS:
            self._give_up_waiting()

    def _resume(self) -> None:
        self._pause = None
        self._start_missing()

    def _give_up_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for attempt in waiting.values():
            if self.employer is not None:
                self.employer.no_worker(attempt)

    def _plan_sweep(self) -> None:
        idle = sum(lane.phase is Phase.IDLE for lane in self._lanes.values())
        if idle > self._warm and self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._sweep_idle)

    def _sweep_idle(self) -> None:
        self._sweep = None
        now = asyncio.get_running_loop().time()
        idle = sorted(
            (lane for lane in self._lanes.values() if lane.phase is Phase.IDLE), key=lambda lane: lane.idle_since
        )
        for lane in idle[: max(len(idle) - self._warm, 0)]:
            if now - lane.idle_since >= IDLE_SECONDS * 0.99:
                lane.dismiss()
        self._plan_sweep()

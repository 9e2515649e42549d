"""The pool of workers: who is idle, who is busy, whom to start and whom to end.

Theory of operation
-------------------
An attempt asks for a worker and is granted one at once or later. A worker that has executed from a bundle serves only
that bundle; one that has not is `unbound` and serves any. When no idle worker suits, one is started, up to `limit`; at
the limit an idle worker of another bundle makes room. A few workers (`warm`) are kept idle in advance, since starting
one takes longer than a short task; those idle beyond that are ended after `IDLE_SECONDS`. A worker is replaced after
`recycle_after` attempts.

A worker that dies before it says hello costs a growing pause before the next start; after `HOPELESS` such deaths in a
row the attempts that wait are told that no worker can be had.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from podium_agent import frames

if TYPE_CHECKING:
    from podium_agent.frames import Header
    from podium_agent.session.spawner import SpawnerClient

log = structlog.get_logger(__name__)

IDLE_SECONDS = 60.0
HOPELESS = 3
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0


class Phase(Enum):
    """Where a worker stands."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    ENDING = "ending"


@dataclass(slots=True)
class Slot:
    """A worker: the bundle it is bound to ("" for none yet), the attempt it executes, how many it has executed."""

    name: str
    phase: Phase = Phase.STARTING
    bundle: str = ""
    token: str = ""
    served: int = 0
    idle_since: float = 0.0
    said_hello: bool = False
    transport: asyncio.WriteTransport | None = None


class Employer(Protocol):
    """Who asks for workers."""

    def granted(self, token: str, worker: str) -> None:
        """The attempt has the worker."""

    def no_worker(self, token: str) -> None:
        """No worker can be started on this host."""


class Pool:
    """See the module's theory of operation."""

    def __init__(self, spawner: SpawnerClient, warm: int, limit: int, recycle_after: int) -> None:
        self._spawner = spawner
        self._warm, self._limit, self._recycle_after = warm, limit, recycle_after
        self._slots: dict[str, Slot] = {}
        self._waiting: dict[str, str] = {}
        self._start_failures = 0
        self._pause: asyncio.TimerHandle | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self.employer: Employer | None = None

    @property
    def bundles(self) -> set[str]:
        """The bundles that workers are bound to."""
        return {slot.bundle for slot in self._slots.values()}

    def adopt(self, worker: str, token: str, bundle: str) -> None:
        """Take over a worker an earlier session started; `token` is the attempt it executes, or empty."""
        self._slots[worker] = Slot(worker, Phase.BUSY if token else Phase.STARTING, bundle, token)

    def silent(self) -> list[str]:
        """Return the workers that may be idle and have not said so yet."""
        return [slot.name for slot in self._slots.values() if slot.phase is Phase.STARTING]

    def warm_up(self) -> None:
        """Start workers in advance."""
        self._start_missing()

    def request(self, token: str, bundle: str) -> None:
        """Ask for a worker for an attempt; `bundle` is empty when it may be any."""
        slot = self._idle_for(bundle)
        if slot is not None:
            self._grant(slot, token, bundle)
            return
        self._waiting[token] = bundle
        self._start_missing()

    def withdraw(self, token: str) -> None:
        """Take a request back; a worker already granted is free again."""
        self._waiting.pop(token, None)

    def send(self, worker: str, header: Header, body: bytes) -> None:
        """Send a busy worker its order. A worker that is just dying is reported by the spawner."""
        transport = self._slots[worker].transport
        if transport is not None:
            transport.write(frames.pack(header, body, msgspec.json.encode))

    def free(self, worker: str) -> None:
        """Take a worker back that has executed its attempt."""
        slot = self._slots.get(worker)
        if slot is None or slot.phase is not Phase.BUSY:
            return
        slot.served += 1
        slot.token = ""
        if slot.served >= self._recycle_after or self._closed:
            self._dismiss(slot)
        else:
            self._idle(slot)

    def end(self, worker: str, grace: float) -> None:
        """End a worker with its attempt."""
        slot = self._slots[worker]
        slot.phase = Phase.ENDING
        self._spawner.end(worker, grace)

    def close(self) -> None:
        """Start no more workers, and dismiss those that are idle."""
        self._closed = True
        for slot in list(self._slots.values()):
            if slot.phase is Phase.IDLE:
                self._dismiss(slot)

    # What workers and the spawner say

    def hello(self, worker: str, transport: asyncio.WriteTransport, token: str) -> bool:
        """Note a worker's connection, new or renewed; False when no such worker is known."""
        slot = self._slots.get(worker)
        if slot is None:
            return False
        slot.transport, slot.said_hello = transport, True
        self._start_failures = 0
        if slot.phase is Phase.STARTING:
            if token:
                slot.phase, slot.token = Phase.BUSY, token
            else:
                self._idle(slot)
        return True

    def gone(self, worker: str) -> str:
        """Forget a worker; return the attempt it had, or ""."""
        slot = self._slots.pop(worker, None)
        if slot is None:
            return ""
        if not slot.said_hello and slot.phase is Phase.STARTING:
            self._start_failed()
        self._start_missing()
        return slot.token

    def buried(self, worker: str) -> None:
        """Note that a worker's exit has been acted on, for good."""
        self._spawner.noted(worker)

    # Decisions

    def _idle_for(self, bundle: str) -> Slot | None:
        best = None
        for slot in self._slots.values():
            if slot.phase is not Phase.IDLE:
                continue
            if slot.bundle == bundle or not bundle:
                return slot
            if not slot.bundle:
                best = slot
        return best

    def _idle(self, slot: Slot) -> None:
        slot.phase = Phase.IDLE
        slot.idle_since = asyncio.get_running_loop().time()
        for token, bundle in self._waiting.items():
            if not bundle or not slot.bundle or bundle == slot.bundle:
                del self._waiting[token]
                self._grant(slot, token, bundle)
                return
        self._start_missing()
        self._plan_sweep()

    def _grant(self, slot: Slot, token: str, bundle: str) -> None:
        slot.phase, slot.token = Phase.BUSY, token
        slot.bundle = bundle or slot.bundle
        if self.employer is not None:
            self.employer.granted(token, slot.name)

    def _start_missing(self) -> None:
        if self._closed or self._pause is not None:
            return
        phases = [slot.phase for slot in self._slots.values()]
        starting, idle = phases.count(Phase.STARTING), phases.count(Phase.IDLE)
        missing = max(len(self._waiting) - starting, self._warm - starting - idle if not self._waiting else 0)
        room = self._limit - len(self._slots)
        if self._waiting and room < missing:
            room += self._make_room(missing - room)
        for _ in range(min(missing, room)):
            self._start()

    def _make_room(self, wanted: int) -> int:
        """Dismiss idle workers that nobody who waits can use; they leave room when they are gone."""
        idle = [slot for slot in self._slots.values() if slot.phase is Phase.IDLE]
        for slot in sorted(idle, key=lambda slot: slot.idle_since)[:wanted]:
            self._dismiss(slot)
        return 0

    def _start(self) -> None:
        slot = Slot(f"w{uuid.uuid4().hex[:12]}")
        self._slots[slot.name] = slot
        self._spawner.start(slot.name)

    def _dismiss(self, slot: Slot) -> None:
        slot.phase = Phase.ENDING
        if slot.transport is not None:
            slot.transport.write(frames.pack({"op": "exit"}))

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
        for token in waiting:
            if self.employer is not None:
                self.employer.no_worker(token)

    def _plan_sweep(self) -> None:
        idle = sum(slot.phase is Phase.IDLE for slot in self._slots.values())
        if idle > self._warm and self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._sweep_idle)

    def _sweep_idle(self) -> None:
        self._sweep = None
        now = asyncio.get_running_loop().time()
        idle = sorted(
            (slot for slot in self._slots.values() if slot.phase is Phase.IDLE), key=lambda slot: slot.idle_since
        )
        for slot in idle[: max(len(idle) - self._warm, 0)]:
            if now - slot.idle_since >= IDLE_SECONDS * 0.99:
                self._dismiss(slot)
        self._plan_sweep()

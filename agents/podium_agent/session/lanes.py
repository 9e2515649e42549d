"""A lane: the attempts a worker has been dealt, the first of which it executes.

Theory of operation
-------------------
A worker executes one attempt at a time. Of short ones it is dealt several ahead, `WINDOW` of expected work and
`MOST_DEALT` of them at most, so that it never waits and both ends of its connection work in batches. All in a lane ask
for the same resources, which the lane holds once. Those the worker has not taken yet can be recalled at any time,
whatever the worker does (see executors.connection): so a task that takes longer than expected strands nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from podium_agent import frames, records

if TYPE_CHECKING:
    from podium_agent.domain.admission import Demand
    from podium_agent.session.attempts import Attempt
    from podium_agent.session.orders import Order
    from podium_agent.session.workers import Channel

WINDOW = 20_000
"""Microseconds of expected work that may be dealt to a worker ahead."""
MOST_DEALT = 64
MOST_BYTES = 4 << 20
"""Bytes that may be told a worker before it has to have executed all of it."""
MOST_KNOWN = 64
"""Orders a worker knows before it forgets them all, when it has nothing to do."""


class Phase(Enum):
    """Where a worker stands."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    ENDING = "ending"


@dataclass(slots=True, eq=False)
class Lane:
    """A worker: the bundle it is bound to ("" for none yet), what it has been dealt, how many it has executed.

    `load` is the expected work in it, in microseconds, `size` the bytes told since it was empty; `since` is the loop's
    time when its first attempt became the first; `stuck` is a lane whose first attempt takes long, `closed` one that is
    dealt nothing for another reason.
    """

    name: str
    phase: Phase = Phase.STARTING
    bundle: str = ""
    demand: Demand | None = None
    served: int = 0
    idle_since: float = 0.0
    said_hello: bool = False
    channel: Channel | None = None
    dealt: dict[int, Attempt] = field(default_factory=dict)
    load: int = 0
    size: int = 0
    since: float = 0.0
    stuck: bool = False
    closed: bool = False
    _last: int = 0
    _known: set[int] = field(default_factory=set)
    _orders: list[bytes] = field(default_factory=list)
    _tasks: list[bytes] = field(default_factory=list)
    _tickets: list[bytes] = field(default_factory=list)

    def suits(self, order: Order) -> bool:
        """Whether attempts of the order may come behind those in the lane, as far as there is room."""
        return (
            self.phase is Phase.BUSY
            and self.channel is not None
            and self.demand == order.demand
            and (not order.binds or self.bundle == order.binds)
            and not self.stuck
            and not self.closed
            and len(self._known) < 2 * MOST_KNOWN
        )

    def has_room(self, order: Order, most: int) -> bool:
        """Whether one more of the order fits; `most` is how many the worker may execute before it is replaced."""
        usual = order.usual.micros
        ahead = len(self.dealt)
        return (
            0 < usual <= WINDOW - self.load
            and ahead < MOST_DEALT
            and self.served + ahead < most
            and self.size < MOST_BYTES
        )

    def deal(self, attempt: Attempt, extra: bytes) -> None:
        """Put an attempt behind the others; `flush` tells the worker."""
        order = attempt.order
        if not self.dealt:
            self.size = 0
        if order.number not in self._known:
            self._introduce(order)
        self._last += 1
        attempt.ticket, attempt.lane = self._last, self
        usual = order.usual.micros
        attempt.expected = usual or WINDOW
        self.load += attempt.expected
        self.dealt[self._last] = attempt
        key = attempt.key.encode()
        self.size += len(attempt.arguments) + len(extra)
        self._tasks.append(records.pack_task(self._last, attempt.name, usual, key, attempt.arguments, extra))
        self._tickets.append(records.TICKET.pack(self._last))

    def hold(self, attempt: Attempt) -> None:
        """Take an attempt that the worker executes already."""
        attempt.lane = self
        self.demand = attempt.order.demand
        self.dealt[attempt.ticket] = attempt

    def _introduce(self, order: Order) -> None:
        if len(self._known) >= MOST_KNOWN and not self.dealt:
            self._known.clear()
            self._orders.append(frames.pack({"op": "forget"}))
        self._known.add(order.number)
        self.size += len(order.frame)
        self._orders.append(order.frame)

    def remove(self, attempt: Attempt) -> None:
        """Take out an attempt that has ended or was recalled."""
        if self.dealt.pop(attempt.ticket, None) is not None:
            self.load -= attempt.expected

    def flush(self) -> None:
        """Tell the worker what it has been dealt. A worker that is just dying is reported by the spawner."""
        if not self._tickets:
            return
        told = b"".join((*self._orders, frames.pack({}, b"".join(self._tasks))))
        if self.channel is not None:
            self.channel.deal(told, b"".join(self._tickets))
        self._orders.clear()
        self._tasks.clear()
        self._tickets.clear()

    def recall(self) -> list[Attempt]:
        """Return, in order, the attempts that the worker has not taken, and now never will; they are still in here."""
        self.flush()
        tickets = [] if self.channel is None else self.channel.recall()
        return [self.dealt[ticket] for ticket in tickets if ticket in self.dealt]

    def connect(self, channel: Channel) -> list[Attempt]:
        """Use a new connection; return what was dealt over the one before and not taken."""
        recalled = self.recall()
        if self.channel is not None:
            self.channel.dispose()
        self.channel, self.said_hello = channel, True
        self._known.clear()
        return recalled

    def dismiss(self) -> None:
        """Ask an idle worker to end."""
        self.phase = Phase.ENDING
        if self.channel is not None:
            self.channel.deal(b"", records.TICKET.pack(records.EXIT))

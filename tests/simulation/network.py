"""The network between agents and coordinators: streams that keep their order, delay, stall in partitions, and die.

Within a stream nothing is lost or overtaken, as in TCP; but a stream may die at any message, its two ends learn of that
each in its own time, and messages of different streams overtake each other. What is told again after that is how
duplicates come about.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from tests.simulation.chance import Chance
from tests.simulation.timeline import Action, Timeline

KEEPALIVE = 15.0
"""Seconds after which an end that gets no answer learns that the stream is dead."""


class End(Protocol):
    """One end of a stream."""

    def received(self, stream: Stream, message: object) -> None: ...

    def ended(self, stream: Stream, reason: str) -> None: ...


class Direction:
    """One way of a stream: what is sent arrives in order, or never."""

    def __init__(self, blocked: Callable[[], bool], arrive: Callable[[object], None]) -> None:
        self.open = True
        self.latest = 0.0
        self.stalled: deque[object] = deque()
        self._blocked = blocked
        self._arrive = arrive

    def come(self, message: object) -> None:
        if not self.open:
            return
        if self.stalled or self._blocked():
            self.stalled.append(message)
        else:
            self._arrive(message)

    def resume(self) -> None:
        while self.stalled and self.open:
            self._arrive(self.stalled.popleft())


class Stream:
    """An agent's stream to one incarnation of a coordinator."""

    def __init__(self, network: Network, agent: End, coordinator: End, names: tuple[int, int]) -> None:
        self.names = names
        self._network = network
        self._agent = agent
        self._coordinator = coordinator
        self._told = {True: False, False: False}
        self.up = Direction(lambda: names in network.deaf_up, lambda message: coordinator.received(self, message))
        self.down = Direction(lambda: names in network.deaf_down, lambda message: agent.received(self, message))

    def send_up(self, message: object) -> None:
        self._network.carry(self.up, message)

    def send_down(self, message: object) -> None:
        self._network.carry(self.down, message)

    def break_off(self) -> None:
        """Lose the stream: both ends learn of it, some time."""
        self.up.open = self.down.open = False
        self._tell_later(agent=True)
        self._tell_later(agent=False)

    def leave(self, agent: bool, reason: str) -> None:
        """One end closes the stream; what it has sent may still arrive."""
        self._told[agent] = True
        if agent:
            self.down.open = False
        else:
            self.up.open = False
        if self._network.chance.happens(0.3):
            self.up.open = self.down.open = False
        self._tell_later(agent=not agent, reason=reason)

    def _tell_later(self, agent: bool, reason: str = "") -> None:
        network = self._network
        cut = self.names in (network.deaf_down if agent else network.deaf_up)
        late = network.chance.between(0.05, 6.0) if network.chance.happens(0.15) else network.delay()
        network.timeline.after(KEEPALIVE if cut else late, lambda: self._tell(agent, reason))

    def _tell(self, agent: bool, reason: str) -> None:
        if self._told[agent]:
            return
        self._told[agent] = True
        if agent:
            self.down.open = False
            self._agent.ended(self, reason)
        else:
            self.up.open = False
            self._coordinator.ended(self, reason)
        self._network.streams.pop(id(self), None) if all(self._told.values()) else None


class Network:
    """All streams, and between whom nothing gets through: `deaf_up` to coordinators, `deaf_down` to agents."""

    def __init__(self, timeline: Timeline, chance: Chance) -> None:
        self.timeline = timeline
        self.chance = chance
        self.streams: dict[int, Stream] = {}
        self.deaf_up: set[tuple[int, int]] = set()
        self.deaf_down: set[tuple[int, int]] = set()
        self.slow = 0.002

    def open(self, agent: End, coordinator: End, names: tuple[int, int]) -> Stream:
        stream = Stream(self, agent, coordinator, names)
        self.streams[id(stream)] = stream
        return stream

    def delay(self) -> float:
        """Return how long something takes on its way: mostly little, now and then very long."""
        if self.chance.happens(0.02):
            return self.chance.between(0.05, 2.0)
        return self.chance.between(0.0001, self.slow)

    def carry(self, way: Direction, message: object) -> None:
        way.latest = max(way.latest, self.timeline.now + self.delay())
        self.timeline.at(way.latest, lambda: way.come(message))

    def call(self, names: tuple[int, int], action: Action) -> None:
        """Carry a call of its own, not of a stream; in a partition it is lost."""
        if names not in self.deaf_up:
            self.timeline.after(self.delay(), action)

    def partition(self, names: tuple[int, int], up: bool, down: bool) -> None:
        if up:
            self.deaf_up.add(names)
        if down:
            self.deaf_down.add(names)
        self.timeline.after(KEEPALIVE, lambda: self._give_up(names))

    def heal_all(self, pairs: list[tuple[int, int]]) -> None:
        for names in pairs:
            self.heal(names)

    def heal(self, names: tuple[int, int]) -> None:
        self.deaf_up.discard(names)
        self.deaf_down.discard(names)
        for stream in list(self.streams.values()):
            if stream.names == names:
                stream.up.resume()
                stream.down.resume()

    def _give_up(self, names: tuple[int, int]) -> None:
        if names in self.deaf_up or names in self.deaf_down:
            for stream in list(self.streams.values()):
                if stream.names == names:
                    stream.break_off()

"""Everything there is, how it is set up from a seed, and how it goes on: under faults first, and then without."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from podium_coordinator.domain.states import AttemptState
from tests.simulation import adapter
from tests.simulation.agent import Agent
from tests.simulation.chance import Chance
from tests.simulation.coordinator import Coordinator
from tests.simulation.definitions import USUAL, ZONE, a_random_workflow
from tests.simulation.faults import LIKELIHOOD
from tests.simulation.messages import Assigned
from tests.simulation.network import Network, Stream
from tests.simulation.oracle.judge import Judge
from tests.simulation.store import Store
from tests.simulation.timeline import Timeline
from tests.simulation.users import Users
from tests.simulation.violation import demand

MOST_UNFINISHED = 6
FEWEST_AGENTS = 2
CALM = 2_000.0
"""Seconds of virtual time within which, without faults, everything must come to its end."""


class World:
    """One world. `trace` tells its history; `faulty` ends when faults stop."""

    def __init__(self, seed: int) -> None:
        self.chance = Chance(seed)
        self.timeline = Timeline()
        self.network = Network(self.timeline, self.chance)
        self.store = Store(self.timeline, self.chance)
        self.judge = Judge(self.store.tables, timedelta(seconds=adapter.RHYTHM.terms.lost_after - 0.001))
        self.store.judge, self.store.note = self.judge, self.note
        self.faulty = True
        self.trace: list[tuple[object, ...]] = []
        self._healing: dict[int, Callable[[], object]] = {}
        self._lives: list[Coordinator] = []
        self.coordinator_count = 1 + self.chance.below(3)
        self.workflows = self._register()
        self._usual = {name: self.chance.pick(USUAL) for name in self.workflows}
        self.cursed = {name for name in self.workflows if self.chance.happens(0.1)}
        """Workflows whose tasks are mostly lost."""
        self.deadly = {name for name in self.workflows if self.chance.happens(0.04)}
        """Workflows whose tasks mostly take their agent down."""
        self.coordinators: list[Coordinator | None] = [None] * self.coordinator_count
        for number in range(self.coordinator_count):
            self.start_coordinator(number)
        self.agents = [self._agent(number) for number in range(self.chance.pick([1, 2, 3, 3, 4, 6, 12, 24]))]
        self.fewest_agents = min(len(self.agents), FEWEST_AGENTS)
        self.users = Users(self)

    # What the production code gets instead of the machine.

    def now(self) -> datetime:
        return self.timeline.instant

    def random_bytes(self, count: int) -> bytes:
        return self.chance.bytes(count)

    def note(self, what: str, *of: object) -> None:
        self.trace.append((self.timeline.now, what, *of))

    # Who there is.

    def _register(self) -> list[str]:
        specs = [a_random_workflow(f"workflow-{i}", self.chance) for i in range(4)]
        for spec in specs:
            self.store.tables.register(spec, self.timeline.instant)
        return [spec.name for spec in specs]

    def _agent(self, number: int) -> Agent:
        """The first agents have room, between them, for any task."""
        cpu, memory, labels = [(2000, 4, frozenset(ZONE)), (4000, 8, frozenset()), (1000, 2, frozenset(ZONE))][
            number % 3
        ]
        return Agent(self, number, cpu, memory, labels)

    def start_coordinator(self, number: int) -> None:
        """Begin a life of a coordinator, if there is none."""
        before = self.coordinators[number]
        if before is not None and before.alive:
            before.kill()
        self.coordinators[number] = life = Coordinator(self, number)
        self._lives.append(life)

    def some_coordinator(self) -> Coordinator | None:
        node = self.chance.pick(self.coordinators)
        return node if node is not None and node.alive else None

    def owning(self) -> Coordinator | None:
        """Return the coordinator that believes to own the shard, any of them."""
        owning = [node for node in self.coordinators if node is not None and node.alive and node.owner.owned]
        return self.chance.pick(owning) if owning else None

    def streams(self) -> list[Stream]:
        return list(self.network.streams.values())

    def break_all_streams(self) -> None:
        for stream in self.streams():
            stream.break_off()

    def runs_by_its_row(self, token: bytes) -> bool:
        row = self.store.tables.find(token)
        return row is not None and row.state is AttemptState.RUNNING

    def duration(self, order: Assigned) -> float:
        """Return how long an attempt executes: as usual, and now and then far longer."""
        return min(30.0, self._usual[order.workflow] * self.chance.pick([0.5, 1.0, 1.0, 1.0, 1.5, 20.0]))

    # How it goes on.

    def play(self, steps: int) -> None:
        """Go on under faults for a number of steps, then without until everything has ended."""
        with adapter.installed(self):
            try:
                self._plan_users()
                self._plan_faults()
                while self.timeline.steps < steps:
                    self._step()
                self._stop_faults()
                self._calm_down()
            finally:
                self.close()

    def close(self) -> None:
        """End all processes' tasks, so that nothing of this world wakes up in another."""
        for life in self._lives:
            life.alive = life.wire.alive = False
            life.loop.bury()

    def later(self, delay: float, heal: Callable[[], object]) -> None:
        """End a fault after a while, or when faults stop."""
        key = len(self.trace) << 20 | len(self._healing)
        self._healing[key] = heal
        self.timeline.after(delay, lambda: self._heal(key))

    def digest(self) -> str:
        """Return what tells histories apart."""
        return hashlib.sha256("\n".join(self.history()).encode()).hexdigest()

    def history(self) -> Iterator[str]:
        """Yield the trace in words."""
        for at, *words in self.trace:
            yield f"{at:12.6f}  {' '.join(str(word) for word in words)}"

    def _step(self) -> None:
        self.timeline.step()
        if self.judge.failure is not None:
            raise self.judge.failure

    def _heal(self, key: int) -> None:
        heal = self._healing.pop(key, None)
        if heal is not None:
            heal()

    def _plan_users(self) -> None:
        if not self.faulty:
            return
        if len(self.store.tables.unfinished()) + len(self.users.open) < MOST_UNFINISHED:
            for _ in range(self.chance.pick([1, 1, 1, 4])):
                self.users.submit()
        if self.chance.happens(0.15):
            self.users.cancel()
        self.timeline.after(self.chance.wait(0.8), self._plan_users)

    def _plan_faults(self) -> None:
        if self.faulty:
            fault = self.chance.weighted(LIKELIHOOD)
            self.note(fault.__name__)
            fault(self)
            self.timeline.after(self.chance.wait(0.7), self._plan_faults)

    def _stop_faults(self) -> None:
        self.note("faults stop")
        self.faulty = False
        while self._healing:
            self._heal(next(iter(self._healing)))
        self.network.slow, self.store.unlucky = 0.002, 0.0
        for number, node in enumerate(self.coordinators):
            if node is None or not node.alive:
                self.start_coordinator(number)

    def _calm_down(self) -> None:
        end = self.timeline.now + CALM
        while self.timeline.now < end:
            for _ in range(20):
                self._step()
            if self._settled():
                return
        self._demand_settled()

    def _settled(self) -> bool:
        tables = self.store.tables
        return not (
            self.users.open
            or self._owners() != 1
            or any(agent.busy for agent in self.agents)
            or tables.pending_commands()
            or tables.unfinished()
            or any(node.shard.board.runs for node in self.coordinators if node is not None and node.shard is not None)
        )

    def _owners(self) -> int:
        return sum(node is not None and node.owner.owned for node in self.coordinators)

    def _demand_settled(self) -> None:
        tables = self.store.tables
        demand(self._owners() == 1, f"without faults, {self._owners()} coordinators own the shard")
        left = {str(run.run_id): run.state.value for run in tables.unfinished()}
        demand(not left, f"without faults, runs do not end: {left}")
        demand(not self.users.open, f"without faults, users get no answer: {self.users.open}")
        demand(not tables.pending_commands(), "without faults, commands are not applied")
        held = [agent.name for agent in self.agents if agent.busy]
        demand(not held, f"without faults, agents still hold attempts: {held}")
        demand(False, "without faults, an owner still holds runs")

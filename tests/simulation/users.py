"""Users: they submit runs until they are told that one is stored, watch some, and cancel some."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from podium_coordinator.domain.ids import RANDOM_BITS, uuid7
from podium_coordinator.domain.records import RunRecord
from podium_coordinator.domain.states import RunState
from podium_coordinator.store.commands import Command

if TYPE_CHECKING:
    from tests.simulation.world import World

PATIENCE = 4.0


class Users:
    """All of them. A request that is not answered is made again, under the same id, of any coordinator."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._requests = 0
        self.open: dict[str, str] = {}
        """Requests that are not answered yet, and the workflow they ask for."""

    def submit(self) -> None:
        world = self._world
        self._requests += 1
        request = f"request-{self._requests}"
        self.open[request] = world.chance.pick(world.workflows)
        self._ask(request)

    def cancel(self) -> None:
        """Ask for the end of some run, now and then of one that has ended."""
        world = self._world
        runs = list(world.store.tables.runs)[-6:]
        coordinator = world.some_coordinator()
        if runs and coordinator is not None:
            run_id = world.chance.pick(runs)
            command = Command(self._id(), run_id, "cancel", "No longer wanted.", world.timeline.instant)
            world.timeline.after(world.network.delay(), lambda: coordinator.cancel(command))

    def _ask(self, request: str) -> None:
        world = self._world
        workflow = self.open.get(request)
        if workflow is None:
            return
        coordinator = world.some_coordinator()
        if coordinator is not None:
            record = self._record(request, workflow)
            asked = coordinator
            world.timeline.after(
                world.network.delay(), lambda: asked.submit(record, lambda run: self._answered(request, run.run_id))
            )
        world.timeline.after(PATIENCE, lambda: self._ask(request))

    def _answered(self, request: str, run_id: UUID) -> None:
        """An answer leaves a coordinator; it may be lost on its way."""
        world = self._world
        if world.faulty and world.chance.happens(0.1):
            return
        world.timeline.after(world.network.delay(), lambda: self._hear(request, run_id))

    def _hear(self, request: str, run_id: UUID) -> None:
        world = self._world
        world.judge.ledger.answered(request, run_id)
        if self.open.pop(request, None) is not None and world.chance.happens(0.5):
            for coordinator in world.coordinators:
                if coordinator is not None:
                    coordinator.watch(run_id)

    def _record(self, request: str, workflow: str) -> RunRecord:
        world = self._world
        count = len(world.store.tables.workflows[workflow].spec.tasks)
        at = world.timeline.instant
        return RunRecord(self._id(), 0, workflow, 1, count, b"{}", RunState.QUEUED, request, bytes(16), at)

    def _id(self) -> UUID:
        world = self._world
        draw = int.from_bytes(world.chance.bytes(10), "big") >> (80 - RANDOM_BITS)
        return uuid7(int(world.timeline.instant.timestamp() * 1000), draw)

"""A coordinator: the production owner in a loop of its own, with a wire to the store and streams to agents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from podium.errors import NoOwnerError, UnavailableError
from podium_coordinator.app.catalog import Catalog
from podium_coordinator.app.owner import Stores
from podium_coordinator.app.shard import Shard
from podium_coordinator.app.tracing import Tracing
from podium_coordinator.domain.records import RunRecord
from podium_coordinator.store.commands import Command
from tests.simulation.adapter import RHYTHM, Session, SimulatedOwner
from tests.simulation.loop import NodeLoop
from tests.simulation.messages import FromAgent
from tests.simulation.network import Stream
from tests.simulation.queries import ModelConnection, ModelPool
from tests.simulation.store import LEASE, Candidate, ModelJournal, Wire

if TYPE_CHECKING:
    from tests.simulation.world import World

UNTRACED = Tracing(None)


class Coordinator:
    """One life of a coordinator's process, from its start to its death."""

    def __init__(self, world: World, number: int) -> None:
        self.number = number
        self.frozen = False
        self.alive = True
        self._world = world
        self.loop = NodeLoop(world.timeline)
        self.wire = Wire(world.store, self.loop)
        self._sessions: dict[int, Session] = {}
        self.candidate = Candidate(world.store, self.wire)
        pool: Any = ModelPool(world.store, self.wire)
        stores = Stores(
            database=cast("str", ModelConnection(world.store, self.wire)),
            leadership=cast("Any", lambda _: self.candidate),
            journal=ModelJournal(world.store, self.wire),
            pool=pool,
            catalog=Catalog(pool.read_workflow),
            tracing=UNTRACED,
        )
        self.owner = SimulatedOwner(0, stores, RHYTHM, LEASE, _nothing)
        self.owner.judge, self.owner.sessions = world.judge, self._sessions
        self._work = self.loop.create_task(self.owner.run(f"coordinator-{number}"))

    @property
    def shard(self) -> Shard | None:
        """The shard, if this coordinator believes that it owns it."""
        return self.owner.current() if self.owner.owned else None

    # What the world does to it.

    def kill(self) -> None:
        """Die at once: the server sees its connections end, agents their streams."""
        self.alive = self.wire.alive = False
        self.loop.die()
        self._world.timeline.after(0.001, lambda: self._world.store.free(self.candidate))
        for stream in list(self._world.network.streams.values()):
            if stream.names[1] == self.number:
                stream.break_off()

    def shut_down(self) -> None:
        """Hand over: what a termination signal leads to."""

        def stopped(_: object) -> None:
            if self.alive:
                self.kill()

        self._work.add_done_callback(stopped)
        self.loop.call_soon(self._work.cancel)

    def freeze(self) -> None:
        self.frozen = True
        self.loop.freeze()

    def thaw(self) -> None:
        self.frozen = False
        self.loop.thaw()

    # Agents.

    def received(self, stream: Stream, message: object) -> None:
        self.loop.call_soon(self._hear, stream, message)

    def ended(self, stream: Stream, reason: str) -> None:
        del reason
        self.loop.call_soon(self._leave, stream)

    def _hear(self, stream: Stream, message: FromAgent) -> None:
        session = self._sessions.get(id(stream))
        if session is None:
            if message.greeting is None:
                return
            try:
                shard = self.owner.current()
            except NoOwnerError as error:
                stream.leave(agent=False, reason=error.reason)
                return
            session = Session(stream, self.loop, self._world.judge, shard, lambda: self._leave(stream))
            self._sessions[id(stream)] = session
        session.hear(message)

    def _leave(self, stream: Stream) -> None:
        session = self._sessions.pop(id(stream), None)
        if session is not None:
            session.leave()

    # The API: rows first, then a hint to whoever owns the shard.

    def submit(self, record: RunRecord, answer: Callable[[RunRecord], None]) -> None:
        self.loop.call_soon(lambda: self.loop.create_task(self._submit(record, answer)))

    def cancel(self, command: Command) -> None:
        self.loop.call_soon(lambda: self.loop.create_task(self._cancel(command)))

    def watch(self, run_id: UUID) -> None:
        self.loop.call_soon(lambda: self.loop.create_task(self._watch(run_id)))

    async def _submit(self, record: RunRecord, answer: Callable[[RunRecord], None]) -> None:
        store = self._world.store
        try:
            stored, created = await self.wire.call(lambda: store.tables.insert_run(record))
            if created and self.owner.owned:
                self.owner.submit(stored)
            elif created:
                await self.wire.call(store.hint)
        except UnavailableError:
            return
        answer(stored)

    async def _cancel(self, command: Command) -> None:
        store = self._world.store
        try:
            await self.wire.call(lambda: store.tables.commands.setdefault(command.command_id, command))
            if not self.owner.owned:
                await self.wire.call(store.hint)
        except UnavailableError:
            return
        self.owner.wake()

    async def _watch(self, run_id: UUID) -> None:
        subscription = await self.owner.subscribe(run_id, run_only=False)
        if subscription is None:
            return
        try:
            async for update in subscription:
                self._world.judge.told(update)
        except (UnavailableError, asyncio.CancelledError):
            return
        finally:
            subscription.close()


async def _nothing() -> None:
    """There is no embedded database to revive."""

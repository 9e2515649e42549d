"""A model of Postgres: who owns the shard, what commits, and three ways for a call to end.

A call is a request, something done at once and as a whole, and a reply; each of the three may be late or lost. So a
commit is done, or refused, or its outcome is unknown and it was done, or not, or is done later while its sender has
already been told that nobody knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from podium_coordinator.store.batch import Batch
from podium_coordinator.store.errors import DatabaseUnavailableError, FencedError, UnknownOutcomeError
from tests.simulation.chance import Chance
from tests.simulation.loop import NodeLoop
from tests.simulation.tables import Tables
from tests.simulation.timeline import Timeline

if TYPE_CHECKING:
    from tests.simulation.oracle.judge import Judge

T = TypeVar("T")
CALL_TIMEOUT = 10.0
COMMIT_TIMEOUT = 20.0
LEASE = 10.0


class Store:
    """The server: rows, and the leadership of the one shard there is."""

    def __init__(self, timeline: Timeline, chance: Chance) -> None:
        self.timeline = timeline
        self.chance = chance
        self.tables = Tables(lambda: timeline.instant)
        self.epoch = 0
        self.lease_until = 0.0
        self.holder: Candidate | None = None
        self.waiting: list[tuple[Candidate, Callable[[int], None]]] = []
        self.listeners: list[Callable[[], None]] = []
        self.unlucky = 0.0
        """How often a commit does not simply succeed."""
        self.judge: Judge
        self.note: Callable[..., None]

    # Commits.

    def commit(self, epoch: int, batch: Batch) -> None:
        """Do it, or raise FencedError."""
        if epoch != self.epoch:
            self.note("refused: an old epoch", epoch)
            raise FencedError(f"Epoch {epoch} is not current.", shard=0)
        self._tell(epoch, batch)
        self.judge.before_commit(epoch, batch)
        self.tables.apply(batch)
        self.judge.after_commit(batch)

    def _tell(self, epoch: int, batch: Batch) -> None:
        """Note a commit, row by row."""
        self.note("commit under epoch", epoch)
        for started in batch.runs_started:
            self.note("  run started:", started.run_id)
        for born in batch.attempts_born:
            self.note("  attempt born:", born.run_id, born.task, born.number, born.agent_id)
        for running in batch.attempts_running:
            self.note("  attempt runs:", running.run_id, running.task, running.number)
        for ended in batch.attempts_ended:
            self.note("  attempt ended:", ended.run_id, ended.task, ended.number, ended.state.value)
        for task_run in batch.task_runs_ended:
            self.note("  task run ended:", task_run.run_id, task_run.task, task_run.state.value)
        for cancelling in batch.runs_cancelling:
            self.note("  run cancelling:", cancelling.run_id, cancelling.reason)
        for over in batch.runs_ended:
            self.note("  run ended:", over.run_id, over.state.value, over.reason)
        for changed in batch.agents_changed:
            self.note("  agent:", changed.agent.agent_id, changed.agent.state.value)

    def hint(self) -> None:
        """Tell everybody who listens; some never hear it."""
        for listener in list(self.listeners):
            if self.chance.happens(0.9):
                self.timeline.after(self.chance.between(0.0005, 0.01), listener)

    # Leadership.

    def ask(self, candidate: Candidate, reply: Callable[[int], None]) -> None:
        """Give the shard to a candidate now, or when it is free."""
        if self.holder is candidate or self.holder is None or self.lease_until < self.timeline.now:
            self._give(candidate, reply)
        else:
            self.waiting.append((candidate, reply))
            self._look_later()

    def renew(self, candidate: Candidate, epoch: int) -> bool:
        if epoch != self.epoch:
            return False
        self.lease_until = self.timeline.now + LEASE
        if self.holder is None:
            self.holder = candidate
        return True

    def release(self, candidate: Candidate, epoch: int | None) -> None:
        """Give the shard up on purpose."""
        if epoch == self.epoch:
            self.lease_until = 0.0
        self.free(candidate)

    def free(self, candidate: Candidate) -> None:
        """A connection ended, and with it its lock and its place in the queue."""
        self.waiting = [entry for entry in self.waiting if entry[0] is not candidate]
        if self.holder is candidate:
            self.holder = None
            self._look()

    def _give(self, candidate: Candidate, reply: Callable[[int], None]) -> None:
        self.epoch += 1
        self.holder = candidate
        self.lease_until = self.timeline.now + LEASE
        self.judge.epoch_raised(self.epoch)
        reply(self.epoch)

    def _look(self) -> None:
        """Let the next one in, if the lock is free or its holder's lease has run out."""
        if self.waiting and (self.holder is None or self.lease_until < self.timeline.now):
            candidate, reply = self.waiting.pop(self.chance.below(len(self.waiting)))
            self._give(candidate, reply)
        elif self.waiting:
            self._look_later()

    def _look_later(self) -> None:
        self.timeline.at(self.lease_until + 0.001, self._look)


class Call(Generic[T]):
    """One request under way; it ends once, for its sender and for the server each."""

    def __init__(self, future: asyncio.Future[T], broken: Callable[[str], Exception]) -> None:
        self.future = future
        self._broken = broken

    def done(self, value: T) -> None:
        if not self.future.done():
            self.future.set_result(value)

    def refused(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def broke(self, why: str) -> None:
        self.refused(self._broken(why))


class Wire:
    """One coordinator's connections to the server. `cut`: nothing gets through, either way, and nobody says so."""

    def __init__(self, store: Store, loop: NodeLoop) -> None:
        self._store = store
        self._loop = loop
        self._calls: dict[int, Call[Any]] = {}
        self._hints: list[Callable[[], None]] = []
        self._broken: list[Callable[[], None]] = []
        self.cut = False
        self.alive = True
        store.listeners.append(self._hinted)

    def listen(self, hint: Callable[[], None]) -> None:
        """Have `hint` called for each hint, and when the connection breaks."""
        self._hints.append(hint)

    def take_break(self, hint: Callable[[], None]) -> bool:
        """Whether the connection that hints came over has broken."""
        broken = hint in self._broken
        if broken:
            self._broken.remove(hint)
        return broken

    def _hinted(self) -> None:
        if self._open():
            for hint in self._hints:
                self._loop.call_soon(hint)

    async def call(
        self,
        do: Callable[[], T],
        broken: Callable[[str], Exception] = DatabaseUnavailableError,
        timeout: float = CALL_TIMEOUT,
        reply_lost: bool = False,
    ) -> T:
        """Have the server do something, and return what it answers; raises `broken` when no answer comes."""
        return await self.request(lambda call: self._do(call, do, reply_lost), broken, timeout)

    async def request(self, serve: Callable[[Call[T]], None], broken: Callable[[str], Exception], timeout: float) -> T:
        """Have the server serve a call, which answers it when it likes."""
        call: Call[T] = Call(self._loop.create_future(), broken)
        self._calls[id(call)] = call
        timer = self._loop.call_later(timeout, call.broke, "No answer in time.")
        self._store.timeline.after(self._delay(), lambda: self._arrive(call, serve))
        try:
            return await call.future
        finally:
            timer.cancel()
            self._calls.pop(id(call), None)

    def reset(self) -> None:
        """Break all connections: whoever waits for an answer learns that none will come."""
        for call in list(self._calls.values()):
            self._loop.call_soon(call.broke, "The connection broke.")
        self._broken += self._hints
        for hint in self._hints:
            self._loop.call_soon(hint)
        self._hints = []

    def reply(self, action: Callable[[], None]) -> None:
        """Carry an answer back."""
        self._store.timeline.after(self._delay(), lambda: self._loop.call_soon(action) if self._open() else None)

    def _do(self, call: Call[T], do: Callable[[], T], reply_lost: bool) -> None:
        try:
            value = do()
        except FencedError as error:
            refusal = error
            self.reply(lambda: call.refused(refusal))
        else:
            if reply_lost:
                self.reply(lambda: call.broke("The connection broke."))
            else:
                self.reply(lambda: call.done(value))

    def _arrive(self, call: Call[T], serve: Callable[[Call[T]], None]) -> None:
        """What was sent before a cut, or by one that died meanwhile, may have got through or not."""
        if self._open() or self._store.chance.happens(0.5):
            serve(call)

    def _open(self) -> bool:
        return self.alive and not self.cut

    def _delay(self) -> float:
        chance = self._store.chance
        return chance.between(0.0002, 0.004) if chance.happens(0.97) else chance.between(0.004, 0.5)


class ModelJournal:
    """A coordinator's journal: `Commits` over a wire."""

    def __init__(self, store: Store, wire: Wire) -> None:
        self._store = store
        self._wire = wire

    async def commit(self, epoch: int, batch: Batch) -> None:
        """Commit, or raise what the journal raises."""
        store, chance = self._store, self._store.chance
        if self._wire.cut:
            await asyncio.sleep(CALL_TIMEOUT)
            raise DatabaseUnavailableError("The database cannot be reached.")
        reply_lost = False
        if store.unlucky and chance.happens(store.unlucky):
            match chance.below(4):
                case 0:
                    raise DatabaseUnavailableError("The database takes no writes.")
                case 1:
                    store.note("done, and nobody knows")
                    reply_lost = True
                case 2:
                    store.note("not done")
                    raise UnknownOutcomeError("The connection broke while committing.")
                case _:
                    store.note("done late, or not")
                    self._store.timeline.after(chance.between(0.001, 3.0), lambda: self._commit_late(epoch, batch))
                    raise UnknownOutcomeError("The connection broke while committing.")
        await self._wire.call(lambda: store.commit(epoch, batch), UnknownOutcomeError, COMMIT_TIMEOUT, reply_lost)

    def _commit_late(self, epoch: int, batch: Batch) -> None:
        """The server comes to a commit whose sender is long gone."""
        try:
            self._store.commit(epoch, batch)
        except FencedError:
            return


class Candidate:
    """A coordinator that owns the shard or would: what `Leadership` does, over a wire."""

    def __init__(self, store: Store, wire: Wire) -> None:
        self._store = store
        self._wire = wire
        self._epoch: int | None = None

    async def acquire(self) -> int:
        """Wait until the shard is ours; return its new epoch."""

        def serve(call: Call[int]) -> None:
            self._store.ask(self, lambda epoch: self._wire.reply(lambda: call.done(epoch)))

        try:
            self._epoch = await self._wire.request(serve, DatabaseUnavailableError, 1e6)
        except DatabaseUnavailableError:
            self._store.timeline.after(0.01, lambda: self._store.free(self))
            raise
        return self._epoch

    async def renew(self) -> bool:
        """Prolong the lease; False: the shard is lost."""
        epoch = self._epoch
        if epoch is None:
            return False
        kept = await self._wire.call(lambda: self._store.renew(self, epoch), timeout=LEASE / 3)
        if not kept:
            self._epoch = None
        return kept

    async def release(self) -> None:
        """Give the shard up."""
        self._store.release(self, self._epoch)
        self._epoch = None

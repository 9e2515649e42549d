"""Owns the shard whenever this process can: acquire, read back, run the loop, and again when that ends.

Whatever ends the loop (a lost epoch, a commit whose outcome is unknown, a fault of ours), the answer is the same:
forget everything, take a new epoch, read the rows. Only cancellation ends the owner itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import psycopg
import structlog

from podium.errors import NoOwnerError, OverloadedError, UnavailableError
from podium_coordinator.app.catalog import Catalog
from podium_coordinator.app.events import CancelAsked, RunArrived
from podium_coordinator.app.shard import Rhythm, Shard
from podium_coordinator.app.takeover import expect_agents, just_submitted, read_back
from podium_coordinator.app.tasks import Tasks
from podium_coordinator.app.tracing import Tracing
from podium_coordinator.app.watch import Subscription
from podium_coordinator.domain.fleet import Agent
from podium_coordinator.domain.records import AttemptEnded, RunRecord, TaskRunRecord
from podium_coordinator.domain.run import SCHEDULED
from podium_coordinator.domain.states import RunState, TaskRunState
from podium_coordinator.store import commands, runs, task_runs
from podium_coordinator.store.batch import Batch
from podium_coordinator.store.errors import FencedError
from podium_coordinator.store.faults import Commits
from podium_coordinator.store.leadership import Leadership
from podium_coordinator.store.pools import Pool, write_connection
from podium_coordinator.structured_logs import Event

log = structlog.stdlib.get_logger(__name__)

MOST_RUNS = 10_000
"""Runs in memory; others wait in the database."""
SWEEP_INTERVAL = 60.0
"""Seconds after which a lost hint is found again."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
SNAPSHOT_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Stores:
    """What the owner reads and writes through."""

    database: str
    leadership: Callable[[str], Leadership]
    """Makes the candidate, given the address of this process's API."""
    journal: Commits
    pool: Pool
    catalog: Catalog
    tracing: Tracing


class Owner:
    """The life of this process's ownership of one shard; to the API, the shard itself."""

    def __init__(
        self, number: int, stores: Stores, rhythm: Rhythm, lease: float, revive: Callable[[], Awaitable[None]]
    ) -> None:
        """`revive` is called before each try to acquire: it restarts an embedded database that has died."""
        self._number = number
        self._stores = stores
        self._rhythm = rhythm
        self._lease = lease
        self._revive = revive
        self._shard: Shard | None = None
        self._leadership: Leadership = stores.leadership("")
        self._tasks = Tasks()
        self._sweeping = False
        self._sweep_again = False
        self._backlog = False
        self._agents_version = 0
        self._agents_news = asyncio.Condition()
        self.took_over = asyncio.Event()
        self.logged: Callable[[AttemptEnded], None] = lambda _: None
        """Told of each attempt that ended with a log of its own."""

    # Owning.

    async def run(self, address: str) -> None:
        """Own the shard, again and again, until cancelled; `address` is where the API answers."""
        self._leadership = self._stores.leadership(address)
        self._tasks.start(self._listen(), "hints")
        pause = FIRST_PAUSE
        try:
            while True:
                try:
                    await self._revive()
                    epoch = await self._leadership.acquire()
                    pause = FIRST_PAUSE
                    await self._own(epoch)
                except UnavailableError as error:
                    log.warning(Event.OWNERSHIP_ENDED, reason=error.reason, error=error.message)
                except Exception:
                    log.exception(Event.OWNERSHIP_BROKE)
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, 2 * pause)
        finally:
            await self._tasks.close()
            await self._leadership.release()

    async def _own(self, epoch: int) -> None:
        shard = Shard(epoch, self._stores.journal, self._snapshot, self._rhythm, self._stores.tracing)
        shard.committed = self._committed
        shard.agents_moved = self._agents_moved
        shard.ended = self._let_go
        log.info(Event.SHARD_ACQUIRED, shard=self._number, epoch=epoch)
        await expect_agents(shard, self._stores.pool)
        await self._read_back(shard)
        loop = asyncio.create_task(shard.run(), name="shard")
        renewals = self._tasks.start(self._renew(shard), "lease")
        sweeps = self._tasks.start(self._sweep_now_and_then(), "sweep")
        self._shard = shard
        self.took_over.set()
        self.wake()  # for what was committed since the rows were read, when nobody took the hint
        try:
            await loop
        finally:
            for task in (loop, renewals, sweeps):
                task.cancel()
            await asyncio.wait([loop])

    def _let_go(self) -> None:
        self._shard = None
        self.took_over.clear()

    async def _read_back(self, shard: Shard) -> None:
        async with self._stores.pool.connection() as conn:
            records = await runs.unfinished_runs(conn, self._number)
        records.sort(key=lambda record: record.state is RunState.QUEUED)
        self._backlog = len(records) > MOST_RUNS
        for record in records[:MOST_RUNS]:
            shard.tell(await read_back(record, self._stores.pool, self._stores.catalog))

    async def _renew(self, shard: Shard) -> None:
        """Keep the lease; when it cannot be kept, end the loop before another may take over."""
        loop = asyncio.get_running_loop()
        kept = loop.time()
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                if not await self._leadership.renew():
                    shard.stop(FencedError("Another coordinator has taken the shard over."))
                    return
                kept = loop.time()
            except UnavailableError as error:
                log.warning(Event.LEASE_NOT_RENEWED, error=error.message)
                if loop.time() - kept > self._lease * 0.8:
                    shard.stop(FencedError("The lease could not be renewed in time."))
                    return

    def _committed(self, batch: Batch) -> None:
        if batch.runs_ended and self._backlog:
            self.wake()
        for ended in batch.attempts_ended:
            if ended.log_bytes and ended.log is None:
                self.logged(ended)

    def _agents_moved(self) -> None:
        self._agents_version += 1
        self._tasks.start(self._announce_agents(), "agents")

    async def _announce_agents(self) -> None:
        async with self._agents_news:
            self._agents_news.notify_all()

    # Hints from the API.

    @property
    def owned(self) -> bool:
        """Whether this process owns the shard now."""
        return self._shard is not None

    def current(self) -> Shard:
        """Return the shard; raises NoOwnerError when this process does not own it."""
        if self._shard is None:
            raise NoOwnerError("This coordinator does not own the shard; try another, or again.")
        return self._shard

    def submit(self, record: RunRecord) -> None:
        """Take up a run that was committed."""
        shard = self._shard
        if shard is None:
            return
        arrived = just_submitted(record, self._stores.catalog)
        if arrived is None or len(shard.board.runs) >= MOST_RUNS:
            self.wake()
        else:
            self._hand_over(shard, arrived)

    def _hand_over(self, shard: Shard, event: RunArrived | CancelAsked) -> None:
        try:
            shard.tell(event)
        except (NoOwnerError, OverloadedError):
            self._backlog = True  # the row is committed: a sweep or the next owner finds it

    def wake(self) -> None:
        """Look for rows that wait: commands, and runs that nobody has taken up."""
        if self._sweeping:
            self._sweep_again = True
        elif self._shard is not None:
            self._sweeping = True
            self._sweep_again = False
            self._tasks.start(self._sweep(self._shard), "sweep")

    async def _sweep(self, shard: Shard) -> None:
        try:
            await self._take_up_waiting(shard)
            await self._take_up_commands(shard)
        except UnavailableError as error:
            log.warning(Event.SWEEP_FAILED, error=error.message)
        finally:
            self._sweeping = False
            if self._sweep_again:
                self.wake()

    async def _listen(self) -> None:
        """Take hints of other coordinators that have written rows for us."""
        while True:
            try:
                link = await write_connection(self._stores.database, f"podium-hints-{self._number}")
                async with link:
                    async for _ in commands.hints(link, self._number):
                        self.wake()
            except (UnavailableError, psycopg.OperationalError) as error:
                log.warning(Event.HINTS_BROKE, error=str(error))
            await asyncio.sleep(LONGEST_PAUSE)

    async def _sweep_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            self.wake()

    async def _take_up_waiting(self, shard: Shard) -> None:
        room = MOST_RUNS - len(shard.board.runs)
        async with self._stores.pool.connection() as conn:
            records = await runs.unfinished_runs(conn, self._number)
        waiting = [record for record in records if record.run_id not in shard.board.runs]
        self._backlog = len(waiting) > room
        for record in waiting[: max(0, room)]:
            await self._take_up(shard, record)

    async def _take_up(self, shard: Shard, record: RunRecord) -> None:
        if record.state is RunState.QUEUED and record.run_id not in shard.board.runs:
            shard.tell(await read_back(record, self._stores.pool, self._stores.catalog))

    async def _take_up_commands(self, shard: Shard) -> None:
        async with self._stores.pool.connection() as conn:
            pending = await commands.pending_commands(conn, self._number)
            shard.asked.intersection_update(command.command_id for command in pending)
            for command in pending:
                if command.command_id not in shard.asked:
                    await self._take_up(shard, await runs.get_run(conn, command.run_id))
                    shard.tell(CancelAsked(command.command_id, command.run_id, command.reason))
                    shard.asked.add(command.command_id)

    # What the API sees.

    async def subscribe(self, run_id: UUID, run_only: bool) -> Subscription | None:
        """Watch a run that is under way here; None when it is not."""
        live = self._shard.board.runs.get(run_id) if self._shard else None
        if live is None or self._shard is None:
            return None
        return self._shard.watchers.subscribe(live.record, live.counts, run_only)

    async def _snapshot(self, run_id: UUID) -> tuple[TaskRunRecord, ...]:
        records: list[TaskRunRecord] = []
        async with self._stores.pool.connection() as conn:
            while True:
                page = await task_runs.list_task_runs(conn, run_id, records[-1].task if records else -1, SNAPSHOT_PAGE)
                records += page
                if len(page) < SNAPSHOT_PAGE:
                    break
        return tuple(records)

    def ready(self, run_id: UUID) -> frozenset[int]:
        """Return the tasks of a run under way here that wait for capacity."""
        live = self._shard.board.runs.get(run_id) if self._shard else None
        if live is None:
            return frozenset()
        return frozenset(index for index, code in enumerate(live.run.states) if code == SCHEDULED)

    def counts(self, run_id: UUID) -> dict[TaskRunState, int] | None:
        """Return how the task runs of a run under way here stand, as committed; None when it is not here."""
        live = self._shard.board.runs.get(run_id) if self._shard else None
        return live.counts if live else None

    def agents(self) -> list[Agent]:
        """Return the agents as this owner sees them; none when it owns nothing."""
        return list(self._shard.board.fleet.agents.values()) if self._shard else []

    async def agents_changed(self, version: int) -> int:
        """Wait until agents have changed since `version`; return the version now."""
        async with self._agents_news:
            await self._agents_news.wait_for(lambda: self._agents_version > version)
        return self._agents_version

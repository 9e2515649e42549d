"""A shard owner on a real database, and agents that do what a test tells them, where links meet the loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

from podium.errors import PodiumError
from podium.model.spec import TaskSpec, WorkflowSpec
from podium.wire import workflow_bytes
from podium_coordinator.app.catalog import Catalog
from podium_coordinator.app.events import AgentHello, AgentSaid, AttemptName, Held, LinkClosed, Order
from podium_coordinator.app.owner import Owner, Stores
from podium_coordinator.app.shard import Rhythm
from podium_coordinator.app.tracing import Tracing
from podium_coordinator.domain.fleet import Terms
from podium_coordinator.domain.ids import uuid7
from podium_coordinator.domain.lifecycle import Finish
from podium_coordinator.domain.records import Failure, RunRecord, WorkflowRecord
from podium_coordinator.domain.states import RUN_TERMINAL, AttemptState, FailureKind, RunState
from podium_coordinator.store import commands, runs, workflows
from podium_coordinator.store.journal import Journal, journal_connection
from podium_coordinator.store.leadership import Leadership
from podium_coordinator.store.pools import Pool, read_pool, write_pool

LEASE = 5.0


class ScriptedAgent:
    """An agent at its end of a link: keeps what it was told, says what the test wants."""

    def __init__(
        self, cluster: Cluster, name: str = "a1", cpu_millis: int = 4000, agent_id: UUID | None = None
    ) -> None:
        self.cluster = cluster
        self.name = name
        self.cpu_millis = cpu_millis
        self.agent_id = agent_id or uuid4()
        self.orders: asyncio.Queue[Order] = asyncio.Queue()
        self.cancels: asyncio.Queue[AttemptName] = asyncio.Queue()
        self.acknowledged: asyncio.Queue[int] = asyncio.Queue()
        self.said = 0
        self.recalled: asyncio.Queue[AttemptName] = asyncio.Queue()
        self.stales: asyncio.Queue[AttemptName] = asyncio.Queue()
        self.welcomed = asyncio.Event()
        self.closed = asyncio.Event()
        self.error: PodiumError | None = None
        self.beats = 0
        self.answers = False

    # What the loop calls.

    def welcome(self, epoch: int) -> None:
        self.epoch = epoch
        self.welcomed.set()

    def assign(self, orders: Sequence[Order]) -> None:
        for order in orders:
            self.orders.put_nowait(order)

    def committed(self, sequence: int) -> None:
        self.acknowledged.put_nowait(sequence)

    def cancel(self, name: AttemptName) -> None:
        self.cancels.put_nowait(name)

    def take_back(self, name: AttemptName) -> None:
        self.recalled.put_nowait(name)

    def stale(self, name: AttemptName) -> None:
        self.stales.put_nowait(name)

    def beat(self) -> None:
        self.beats += 1
        if self.answers:
            self.say()

    def close(self, error: PodiumError) -> None:
        self.error = error
        self.closed.set()

    # What the test calls.

    async def connect(self, *held: Held) -> ScriptedAgent:
        self.welcomed.clear()
        hello = AgentHello(self, self.agent_id, self.name, b"", self.cpu_millis, 1 << 30, frozenset(), tuple(held))
        self.cluster.owner.current().tell(hello)
        await self.welcomed.wait()
        return self

    def say(self, **parts: object) -> None:
        self.said += 1
        self.cluster.owner.current().tell(AgentSaid(self, self.agent_id, self.said, **parts))  # type: ignore[arg-type]

    def hang_up(self) -> None:
        self.cluster.owner.current().tell(LinkClosed(self, self.agent_id))

    def start(self, order: Order) -> None:
        self.say(delivered=(order.attempt,), started=((order.name, datetime.now(UTC)),))

    def finish(self, order: Order, output: bytes = b"null", seconds: float = 1.0) -> None:
        self.report(order, Finish(AttemptState.SUCCEEDED, datetime.now(UTC), output), seconds)

    def fail(self, order: Order, kind: FailureKind = FailureKind.USER_ERROR) -> None:
        self.report(order, Finish(AttemptState.FAILED, datetime.now(UTC), failure=Failure(kind, "It broke.")))

    def report(self, order: Order, finish: Finish, seconds: float = 1.0) -> None:
        self.say(finished=((order.name, finish, seconds),))

    async def work_off(self, *keys: str) -> None:
        """Finish orders as they come until each key was seen once."""
        wanted = set(keys)
        while wanted:
            order = await self.orders.get()
            wanted.discard(order.live.compiled.graph.keys[order.index])
            self.finish(order)


@dataclass
class Cluster:
    """One owner and what it stands on."""

    database: str
    pool: Pool
    writes: Pool
    owner: Owner
    task: asyncio.Task[None] | None = None
    agents: list[ScriptedAgent] = field(default_factory=list)

    async def agent(self, name: str = "a1", **facts: int) -> ScriptedAgent:
        return await ScriptedAgent(self, name, **facts).connect()  # type: ignore[arg-type]

    async def register(self, *tasks: TaskSpec, **fields: object) -> str:
        spec = WorkflowSpec("wf", tasks, **fields)  # type: ignore[arg-type]
        async with self.writes.connection() as conn:
            await workflows.register(conn, "wf", os.urandom(32), workflow_bytes(spec), None, len(tasks))
            self.version = (await workflows.list_versions(conn, "wf", None, 1))[0].version
        return "wf"

    async def submit(self, params: bytes = b"{}") -> UUID:
        now = datetime.now(UTC)
        run_id = uuid7(int(now.timestamp() * 1000), int.from_bytes(os.urandom(9), "big") >> 2 & (1 << 74) - 1)
        async with self.writes.connection() as conn:
            version = await workflows.get(conn, "wf", self.version)
            record = RunRecord(
                run_id, 0, "wf", version.version, version.task_count, params, RunState.QUEUED, None, os.urandom(16), now
            )
            await runs.insert_run(conn, record, b"f" * 32)
        self.owner.submit(record)
        return run_id

    async def cancel(self, run_id: UUID, reason: str = "enough") -> None:
        async with self.writes.connection() as conn:
            await commands.insert_command(conn, uuid4(), run_id, "cancel", reason)
        self.owner.wake()

    async def run(self, run_id: UUID) -> RunRecord:
        async with self.pool.connection() as conn:
            return await runs.get_run(conn, run_id)

    async def ended(self, run_id: UUID) -> RunRecord:
        """Wait for a run's end, and return its row."""
        subscription = await self.owner.subscribe(run_id, run_only=True)
        if subscription is not None:
            async for _ in subscription:
                pass
            subscription.close()
        record = await self.run(run_id)
        if record.state not in RUN_TERMINAL:
            return await self.ended(run_id)
        return record


@asynccontextmanager
async def a_cluster(
    database: str, terms: Terms | None = None, heartbeat: float = 1.0, tracing: Tracing | None = None
) -> AsyncIterator[Cluster]:
    """Own the shard of `database` until the end of the block."""
    pool, writes = read_pool(database, 2), write_pool(database, 2)
    await pool.open()
    await writes.open()

    async def read(workflow: str, version: int) -> WorkflowRecord:
        async with pool.connection() as conn:
            return await workflows.get(conn, workflow, version)

    async def revive() -> None:
        return

    journal = Journal(lambda: journal_connection(database, 0), 0)
    stores = Stores(
        database,
        lambda address: Leadership(database, 0, "test", address, LEASE),
        journal,
        pool,
        Catalog(read),
        tracing or Tracing(None),
    )
    owner = Owner(0, stores, Rhythm(heartbeat, terms or Terms()), LEASE, revive)
    cluster = Cluster(database, pool, writes, owner)
    cluster.task = asyncio.create_task(owner.run("127.0.0.1:1"))
    try:
        await owner.took_over.wait()
        yield cluster
    finally:
        cluster.task.cancel()
        await asyncio.wait([cluster.task])
        await journal.close()
        await pool.close()
        await writes.close()

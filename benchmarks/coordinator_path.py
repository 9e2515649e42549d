"""Times the coordinator alone: real Postgres, the real server and shard loop, and an agent that executes nothing.

    python -m benchmarks.coordinator_path [--sizes 100 1000 10000] [--chain 200]

The agent is another process; it answers each order at once, as one success among columns of them. Prints, for fan-outs
of several sizes: tasks per second, processor time per task of the coordinator and of all of Postgres's processes, and
bytes of WAL per task; and, for a chain, the milliseconds per hop. The first run of each is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psycopg

from examples.small_cluster import free_port
from podium import AsyncClient, RunState
from podium.bundle import pack
from podium.model.spec import Literal, PythonAction, TaskSpec, WorkflowSpec
from podium.v1 import agent_pb2, session_pb2, session_pb2_grpc

PROJECT = Path(__file__).parent / "project"
TICKS = os.sysconf("SC_CLK_TCK")
NOOP = PythonAction("noop:now", (Literal(0),))
EXECUTES = 100
"""Microseconds that each task is said to take."""
WARM_TASKS = 20_000
"""At least so many tasks are measured of each size."""


def fan_out(width: int) -> WorkflowSpec:
    middle = [TaskSpec(f"t{i}", NOOP, ("first",)) for i in range(width)]
    last = TaskSpec("last", NOOP, tuple(task.key for task in middle))
    return WorkflowSpec(f"fan_out_{width}", (TaskSpec("first", NOOP), *middle, last))


def chain(length: int) -> WorkflowSpec:
    return WorkflowSpec("chain", tuple(TaskSpec(f"t{i}", NOOP, (f"t{i - 1}",) if i else ()) for i in range(length)))


class HastyAgent:
    """Answers every order at once."""

    def __init__(self, address: str, name: str) -> None:
        self._address = address
        self._name = name
        self._outbox: asyncio.Queue[session_pb2.ConnectRequest] = asyncio.Queue()
        self._sequence = 0

    async def run(self) -> None:
        host = agent_pb2.HostFacts(cpu_millis=2000, memory_bytes=4 << 30)
        hello = session_pb2.Hello(protocol_version=1, agent_id=str(uuid.uuid4()), name=self._name, host=host)
        self._say(session_pb2.ConnectRequest(hello=hello))
        async with grpc.aio.insecure_channel(self._address) as channel:
            async for said in session_pb2_grpc.AgentSessionServiceStub(channel).Connect(self._requests()):
                ends = [self._ended(group) for group in said.assignments]
                self._say(session_pb2.ConnectRequest(heard=said.sequence, succeeded=ends))

    def _say(self, request: session_pb2.ConnectRequest) -> None:
        self._sequence += 1
        request.sequence = self._sequence
        self._outbox.put_nowait(request)

    async def _requests(self) -> AsyncIterator[session_pb2.ConnectRequest]:
        while True:
            yield await self._outbox.get()

    def _ended(self, group: session_pb2.Assignments) -> session_pb2.Successes:
        count = len(group.tasks)
        return session_pb2.Successes(
            run_id=group.run_id,
            tasks=group.tasks,
            map_indexes=group.map_indexes,
            numbers=group.numbers,
            tokens=group.tokens,
            start_micros=[time.time_ns() // 1000] * count,
            duration_micros=[EXECUTES] * count,
            outputs=[b"null"] * count,
        )


class Meter:
    """Processor time and WAL used since it was made."""

    def __init__(self, coordinator: int, database: str) -> None:
        self._coordinator = coordinator
        self._database = database
        self._before = self._read()

    def _read(self) -> tuple[float, float, int]:
        with psycopg.connect(self._database) as link:
            row = link.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
        assert row is not None
        return cpu_seconds(self._coordinator), sum(map(cpu_seconds, servers(self._coordinator))), int(row[0])

    def used(self) -> tuple[float, float, int]:
        """Return the seconds of the coordinator, those of Postgres, and bytes of WAL."""
        now = self._read()
        return now[0] - self._before[0], now[1] - self._before[1], now[2] - self._before[2]


def cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def servers(ancestor: int) -> list[int]:
    """Return the processes of Postgres below a process."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(folder.name)
        names[pid] = text[text.index("(") + 1 : text.rindex(")")]
        parents[pid] = int(text.rpartition(")")[2].split()[1])
    found, family = [], {ancestor}
    while family:
        family = {pid for pid, parent in parents.items() if parent in family}
        found += [pid for pid in family if names[pid].startswith("postgres")]
    return found


@contextmanager
def a_coordinator(folder: Path, address: str) -> Iterator[subprocess.Popen[bytes]]:
    command = (sys.executable, "-m", "podium.cli", "coordinator", "--data-dir", str(folder), "--listen", address)
    with subprocess.Popen(command, stderr=(folder.parent / "log").open("wb")) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def an_agent(address: str) -> Iterator[None]:
    command = (sys.executable, "-m", "benchmarks.coordinator_path", "--agent", address)
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.kill()


async def run_once(client: AsyncClient, workflow: str) -> None:
    run = await client.run(workflow)
    ended = await run.wait(timeout=300)
    assert ended.state is RunState.SUCCEEDED


async def measure(address: str, sizes: list[int], length: int, coordinator: int, database: str) -> None:
    async with AsyncClient(address) as client:
        while not await client.list_agents():  # noqa: ASYNC110 - there is no signal for it in the API
            await asyncio.sleep(0.1)
        with pack(PROJECT) as packed:
            bundle = (await client.put_blob(packed.path)).sha256
        print(f"{'tasks':>7} {'tasks/s':>9} {'coordinator us':>15} {'postgres us':>12} {'WAL bytes':>10}   per task")
        for size in sizes:
            await client.register(fan_out(size), bundle)
            await run_once(client, f"fan_out_{size}")
            repeats = max(1, WARM_TASKS // size)
            meter, began = Meter(coordinator, database), time.perf_counter()
            for _ in range(repeats):
                await run_once(client, f"fan_out_{size}")
            seconds, tasks = time.perf_counter() - began, repeats * (size + 2)
            ours, theirs, wal = meter.used()
            print(
                f"{size:>7} {tasks / seconds:>9.0f} {1e6 * ours / tasks:>15.1f} {1e6 * theirs / tasks:>12.1f}"
                f" {wal / tasks:>10.0f}",
                flush=True,
            )
        await client.register(chain(length), bundle)
        await run_once(client, "chain")
        meter, began = Meter(coordinator, database), time.perf_counter()
        for _ in range(5):
            await run_once(client, "chain")
        seconds = time.perf_counter() - began
        ours, theirs, wal = meter.used()
        hops = 5 * length
        print(
            f"chain of {length}: {1000 * seconds / hops:.2f} ms, {1e6 * ours / hops:.0f} us of the coordinator,"
            f" {1e6 * theirs / hops:.0f} us of Postgres, {wal / hops:.0f} bytes of WAL per hop"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--chain", type=int, default=200)
    parser.add_argument("--agent", metavar="ADDRESS", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.agent:
        asyncio.run(HastyAgent(given.agent, "hasty").run())
        return
    with tempfile.TemporaryDirectory(prefix="pod-") as top:
        folder, address = Path(top) / "data", f"127.0.0.1:{free_port()}"
        folder.mkdir()
        with a_coordinator(folder, address) as coordinator:
            database = f"host={folder}/postgres/socket port=5432 dbname=podium user=podium"
            wait_until_listening(address)
            with an_agent(address):
                asyncio.run(measure(address, given.sizes, given.chain, coordinator.pid, database))


def wait_until_listening(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(60)


if __name__ == "__main__":
    main()

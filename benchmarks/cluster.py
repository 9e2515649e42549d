"""A cluster to measure: Postgres, coordinator, agents and a span collector, each its own process, default settings."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psycopg

from benchmarks.costs import Meter, Roots, parents
from examples.small_cluster import free_port
from podium import AsyncClient
from podium.bundle import pack
from podium.model.spec import WorkflowSpec
from podium.model.states import AgentState
from podium.resources import WorkflowVersion

PROJECT = Path(__file__).parent / "project"
PODIUM = (sys.executable, "-m", "podium.cli")
READY_WITHIN, STOP_WITHIN = 120.0, 60.0
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


class NotDurableError(Exception):
    """The database would acknowledge what a power failure can undo: such figures are not worth having."""


class NotReadyError(Exception):
    """A process of the cluster ended, or took too long, before the cluster could be used."""


class Site:
    """A running cluster, a client of it, and a meter on all its processes."""

    def __init__(self, client: AsyncClient, meter: Meter, bundle: str, log: Path, address: str) -> None:
        self.client = client
        self.meter = meter
        self.log = log
        self.address = address
        self._bundle = bundle

    async def register(self, spec: WorkflowSpec) -> WorkflowVersion:
        """Register a definition, with the project of tasks that do nothing."""
        return await self.client.register(spec, self._bundle)

    async def connected(self, count: int) -> None:
        """Return when as many agents are in session."""
        known = {}
        async with asyncio.timeout(READY_WITHIN):
            async for changed in self.client.watch_agents():
                known.update({agent.name: agent.state for agent in changed})
                if sum(state is AgentState.CONNECTED for state in known.values()) >= count:
                    return


@asynccontextmanager
async def running_site(parent: Path, agents: int = 1, *, traced: bool = True) -> AsyncIterator[Site]:
    """Run a cluster below `parent` until the end of the block; nothing of it is left then."""
    folder = Path(tempfile.mkdtemp(prefix="pb-", dir=parent))
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        processes = Processes(folder, traced=traced)
        stack.callback(processes.stop)
        client = await stack.enter_async_context(AsyncClient(processes.address))
        collector = processes.start_collector()
        coordinator = processes.start("coordinator", ["coordinator", "--listen", processes.address])
        await processes.serving(client, coordinator)
        started = [processes.start_agent(number) for number in range(1, agents + 1)]
        roots = Roots(
            coordinator.pid,
            _postmaster(processes.conninfo),
            tuple(agent.pid for agent in started),
            collector.pid,
            processes.spans,
            processes.conninfo,
        )
        meter = Meter(roots)
        stack.callback(meter.close)
        assert_durable(meter)
        with pack(PROJECT) as packed:
            bundle = await client.put_blob(packed.path)
        site = Site(client, meter, bundle.sha256, processes.log_of("coordinator"), processes.address)
        await site.connected(agents)
        yield site


class Processes:
    """Starts the processes of a cluster and ends them, the last one first."""

    def __init__(self, folder: Path, *, traced: bool) -> None:
        self.folder = folder
        self._traced = traced
        self.data = folder / "data"
        self.spans = folder / "spans"
        self.address = f"127.0.0.1:{free_port()}"
        self.conninfo = f"host={self.data}/postgres/socket port=5432 user=podium dbname=podium"
        self._endpoint = ""
        self._started: list[subprocess.Popen[str]] = []

    def log_of(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def start_collector(self) -> subprocess.Popen[str]:
        process = self._start("collector", [sys.executable, "-m", "benchmarks.collector", str(self.spans)], {})
        self._endpoint = process.stdout.readline().strip() if process.stdout else ""
        return process

    def start(self, name: str, words: Sequence[str], data: Path | None = None) -> subprocess.Popen[str]:
        command = [*PODIUM, *words, "--data-dir", str(data or self.data)]
        return self._start(name, command, {"OTEL_EXPORTER_OTLP_ENDPOINT": self._endpoint} if self._traced else {})

    def start_agent(self, number: int) -> subprocess.Popen[str]:
        name = f"agent-{number}"
        return self.start(name, ["agent", "--coordinators", self.address, "--name", name], self.folder / name)

    def _start(self, name: str, command: Sequence[str], more: Mapping[str, str]) -> subprocess.Popen[str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PODIUM_", "OTEL_"))}
        environment = inherited | {"XDG_CONFIG_HOME": str(self.folder / "no-config"), **more}
        with self.log_of(name).open("w") as log:
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, process_group=0
            )
        self._started.append(process)
        return process

    async def serving(self, client: AsyncClient, coordinator: subprocess.Popen[str]) -> None:
        """Return when the coordinator owns the shard and answers."""
        deadline = time.monotonic() + READY_WITHIN
        while not _owned(self.conninfo):
            if coordinator.poll() is not None or time.monotonic() > deadline:
                raise NotReadyError(f"The coordinator is not ready:\n{self.log_of('coordinator').read_text()[-2000:]}")
            await asyncio.sleep(0.1)
        await client.list_agents()

    def stop(self) -> None:
        while self._started:
            process = self._started.pop()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.stdout:
                process.stdout.close()


def assert_durable(meter: Meter) -> None:
    """See that the server flushes. Raises NotDurableError."""
    for setting in DURABLE:
        value = meter.query("SELECT current_setting(%s)", setting)[0][0]
        if value != "on":
            raise NotDurableError(f"{setting} is {value}")


def postgres_version(meter: Meter) -> str:
    return str(meter.query("SELECT current_setting('server_version')")[0][0])


def _owned(conninfo: str) -> bool:
    """Whether some coordinator has a lease on the shard, as the database tells."""
    try:
        with psycopg.connect(conninfo, autocommit=True, connect_timeout=2) as link:
            found = link.execute("SELECT 1 FROM podium.leadership WHERE lease_until > now()").fetchone()
            return found is not None
    except psycopg.Error:
        return False


def _postmaster(conninfo: str) -> int:
    """Return the process that all backends of the server descend from."""
    with psycopg.connect(conninfo) as link:
        return parents()[link.info.backend_pid]

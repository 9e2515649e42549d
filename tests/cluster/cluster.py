"""A real cluster: a coordinator with its embedded Postgres, and agents that share no disk, all on loopback.

folder/
    coordinator/    the coordinator's data folder, hidden from agents
    agents/NAME/    an agent's data folder, hidden from the other agents
    logs/           what the servers say
    ledger          where tasks note what they do, outside the platform
    gates/          files whose locks hold tasks up
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import psycopg
from grpc_health.v1 import health_pb2, health_pb2_grpc

from podium import AsyncClient
from podium.model.states import AgentState
from podium.resources import Agent
from tests.cluster import hiding
from tests.cluster.gates import Gates
from tests.cluster.processes import MARK, EndedEarlyError, Server, StillThereError, carrying, gone, wait_until_gone

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0
DRAIN_SECONDS = 20.0
KILLED_SECONDS = 15.0
LOOK_AGAIN = 0.02
LOWEST_PORT, EPHEMERAL_FROM = 15_000, 32_000

LEDGER, GATES = "PODIUM_TEST_LEDGER", "PODIUM_TEST_GATES"

AgentsWanted = Callable[[Mapping[str, Agent]], bool]

BRISK = {
    "PODIUM_COORDINATOR__HEARTBEAT_INTERVAL": "1",
    "PODIUM_COORDINATOR__DISCONNECTED_AFTER": "3",
    "PODIUM_COORDINATOR__LOST_AFTER": "5",
    "PODIUM_COORDINATOR__LEASE": "5",
}
"""Settings under which losses are noticed in seconds."""

PATIENT = {**BRISK, "PODIUM_COORDINATOR__LOST_AFTER": "20"}
"""The same, but agents have, as by default, longer than it takes them to find another owner on a busy machine."""


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """An agent of the cluster.

    `journal_disk` bounds the disk of its journal, in bytes, where that is to be small; `coordinators` says how it
    reaches the coordinators, where that is not directly.
    """

    name: str
    cpu: float = 4
    memory: str = "2GiB"
    labels: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    journal_disk: int = 0
    coordinators: str = ""

    def flags(self) -> list[str]:
        """Return what the agent is told on its command line."""
        labels = {"name": self.name, **self.labels}
        given = {
            "name": self.name,
            "cpu": f"{self.cpu:g}",
            "memory": self.memory,
            "grace": "2",
            "labels": ",".join(f"{key}={value}" for key, value in labels.items()),
            **self.more,
        }
        return [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", value)]


TWO_AGENTS = (AgentPlan("a1"), AgentPlan("a2"))


class Cluster:
    """The cluster. Whoever made it calls `end`."""

    living: list[Cluster] = []  # noqa: RUF012 - on purpose one list: what to show when a test fails

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        database_url: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Make the folders; nothing is started yet.

        Args:
            settings: Variables of the coordinator's settings.
            database_url: The database; empty for an embedded Postgres.
            environment: Variables that every server gets.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="pod-", dir="/tmp"))
        self.folder.chmod(0o711)
        self.mark = uuid.uuid4().hex
        self.port = free_port()
        self.standbys: dict[int, Server] = {}
        """By their ports."""
        self.ledger = self.folder / "ledger"
        self.gates = Gates(self.folder / "gates")
        self.data_dir = self.folder / "coordinator"
        self.agents: dict[str, Server] = {}
        for folder in (self.data_dir, self.folder / "agents", self.folder / "logs"):
            folder.mkdir(mode=0o711)
        self.data_dir.chmod(0o700)
        self.ledger.touch()
        self.ledger.chmod(0o666)
        self._settings = dict(settings or {})
        self._environment = dict(environment or {})
        self._database_url = database_url
        self.coordinator = self.server("coordinator", self.coordinator_command(), self._settings)
        Cluster.living.append(self)

    @property
    def address(self) -> str:
        """Where the coordinators answer: the first one, and standbys if there are any."""
        return ",".join(f"127.0.0.1:{port}" for port in (self.port, *self.standbys))

    @property
    def conninfo(self) -> str:
        """How to reach the database directly."""
        return self._database_url or f"host={self.data_dir}/postgres/socket port=5432 user=podium dbname=podium"

    def client(self) -> AsyncClient:
        """Return a client; the caller closes it."""
        return AsyncClient(self.address)

    # Starting

    def server(self, name: str, command: Sequence[str], more: Mapping[str, str] | None = None) -> Server:
        """Return a server of this cluster, not started."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PODIUM_", "OTEL_"))}
        own = {
            MARK: self.mark,
            LEDGER: str(self.ledger),
            GATES: str(self.gates.folder),
            "XDG_CONFIG_HOME": str(self.folder / "no-config"),
        }
        return Server(
            name,
            command,
            {**inherited, **own, **self._environment, **(more or {})},
            self.folder / "logs" / f"{name}.log",
        )

    def coordinator_command(
        self, port: int | None = None, data_dir: Path | None = None, database_url: str = ""
    ) -> list[str]:
        """Return the command line of a coordinator, which may have a way to the database of its own."""
        command = [sys.executable, "-m", "podium.cli", "coordinator"]
        command += ["--listen", f"127.0.0.1:{port or self.port}", "--data-dir", str(data_dir or self.data_dir)]
        database_url = database_url or self._database_url
        command += ["--database-url", database_url] if database_url else []
        return hiding.hidden_command({}, command)

    def agent_folder(self, name: str) -> Path:
        """Return the data folder of an agent."""
        return self.folder / "agents" / name

    def agent_server(self, plan: AgentPlan, *, folder: Path | None = None) -> Server:
        """Return an agent of this cluster, not started, that sees no data folder but its own."""
        own = folder or self.agent_folder(plan.name)
        own.mkdir(mode=0o700, exist_ok=True)
        coordinators = plan.coordinators or self.address
        command = [sys.executable, "-m", "podium.cli", "agent", "--coordinators", coordinators, "--data-dir", str(own)]
        return self.server(f"agent-{plan.name}", self._hidden(plan, own, [*command, *plan.flags()]))

    def _hidden(self, plan: AgentPlan, own: Path, command: list[str]) -> list[str]:
        match hiding.way():
            case "namespace":
                small = {str(own / "journal"): plan.journal_disk} if plan.journal_disk else {}
                hide = [str(self.data_dir), str(self.folder / "agents")]
                return hiding.hidden_command({"hide": hide, "keep": [str(own)], "small": small}, command)
            case "user":
                uid = own.stat().st_uid or hiding.FIRST_UID + len(self.agents)
                os.chown(own, uid, uid)
                return hiding.hidden_command({"uid": uid}, command)
            case "none":
                return hiding.hidden_command({}, command)

    async def start(self, plans: Sequence[AgentPlan] = TWO_AGENTS) -> None:
        """Start the coordinator and the agents; return when all are in session."""
        self.coordinator.start()
        await self.serving()
        self.start_agents(plans)
        await self.connected(*self.agents)

    def start_agents(self, plans: Sequence[AgentPlan] = TWO_AGENTS) -> None:
        """Start agents. They come into session at once when the coordinator answers, else by their own pauses."""
        for plan in plans:
            self.agents[plan.name] = self.agent_server(plan)
            self.agents[plan.name].start()

    @contextlib.asynccontextmanager
    async def another_agent(self, plan: AgentPlan, *, folder: Path | None = None) -> AsyncIterator[Server]:
        """Have one more agent in session within the block; it is drained at the end."""
        server = self.agents[plan.name] = self.agent_server(plan, folder=folder)
        server.start()
        try:
            await self.connected(plan.name)
            yield server
        finally:
            await asyncio.to_thread(_stop, [self.agents.pop(plan.name)])

    async def restart_coordinator(self, **more: str) -> None:
        """Start the coordinator again, and return when it answers."""
        self.coordinator.start(**more)
        await self.serving()

    async def serving(self, seconds: float = READY_SECONDS) -> None:
        """Return when the coordinator's health check says SERVING."""
        await self._while_alive(self._serving(self.port), [self.coordinator], seconds)

    async def start_standby(self, database_url: str = "") -> Server:
        """Start one more coordinator on the same database and blobs, before the agents; return when it answers."""
        port = free_port()
        data_dir = self.folder / f"standby-{port}"
        command = self.coordinator_command(port, data_dir, database_url)
        server = self.server(f"standby-{port}", command, self._settings)
        server.start()
        await self._while_alive(self._serving(port), [server], READY_SECONDS)
        self.standbys[port] = server
        return server

    async def restart(self, server: Server, **more: str) -> None:
        """Start one of the coordinators again, and return when it answers."""
        [port] = [port for port, known in self.coordinators.items() if known is server]
        server.start(**more)
        await self._while_alive(self._serving(port), [server], READY_SECONDS)

    @property
    def coordinators(self) -> dict[int, Server]:
        """All coordinators by their ports."""
        return {self.port: self.coordinator, **self.standbys}

    async def owner(self, seconds: float = READY_SECONDS) -> Server:
        """Return the coordinator that owns the shard, as the database has it, once there is one that lives."""
        async with asyncio.timeout(seconds), await psycopg.AsyncConnection.connect(self.conninfo) as link:
            while True:
                row = await (await link.execute("SELECT address FROM podium.leadership")).fetchone()
                await link.commit()
                found = self.coordinators.get(int(row[0].rpartition(":")[2] or 0)) if row else None
                if found is not None and found.running:
                    return found
                await asyncio.sleep(LOOK_AGAIN)

    async def _serving(self, port: int) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
            try:
                async for answer in watch:
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
            finally:
                watch.cancel()

    async def connected(self, *names: str, seconds: float = READY_SECONDS) -> None:
        """Return when all these agents are connected."""
        servers = [self.coordinator, *(self.agents[name] for name in names)]

        def all_there(agents: Mapping[str, Agent]) -> bool:
            return all(name in agents and agents[name].state is AgentState.CONNECTED for name in names)

        await self._while_alive(self.agents_are(all_there), servers, seconds)

    async def agents_are(self, wanted: AgentsWanted) -> dict[str, Agent]:
        """Return all agents once they are as wanted."""
        known: dict[str, Agent] = {}
        async with self.client() as client, contextlib.aclosing(client.watch_agents()) as updates:
            async for changed in updates:
                known.update({agent.name: agent for agent in changed})
                if wanted(known):
                    return known
        raise AssertionError("The stream of agents ended.")

    async def _while_alive(self, work: Coroutine[Any, Any, object], servers: Sequence[Server], seconds: float) -> None:
        """Do the work; raise EndedEarlyError when one of the servers ends first."""
        doing = asyncio.ensure_future(work)
        ends = {asyncio.create_task(gone(server.pid)): server for server in servers}
        try:
            async with asyncio.timeout(seconds):
                await asyncio.wait({doing, *ends}, return_when=asyncio.FIRST_COMPLETED)
            for end, server in ends.items():
                if end.done() and not doing.done():
                    raise EndedEarlyError(f"{server.name} ended with {server.wait(1)}:\n{server.words()}")
            await doing
        finally:
            for task in (doing, *ends):
                task.cancel()
            await asyncio.gather(doing, *ends, return_exceptions=True)

    # Looking

    def processes_of(self, run_id: str) -> list[int]:
        """Return the ids of all processes of a run's programs."""
        return carrying(f"PODIUM_RUN_ID={run_id}")

    # Ending

    def end(self) -> None:
        """End everything, agents first, and assert that nothing is left."""
        try:
            self.gates.open_all()
            _stop(list(self.agents.values()))
            _stop(list(self.coordinators.values()))
            wait_until_gone(self.mark, self.folder, DRAIN_SECONDS)
            self._assert_no_sockets()
        finally:
            Cluster.living.remove(self)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _assert_no_sockets(self) -> None:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", self.port)) != 0, f"something still listens on port {self.port}"
        left = [line for line in Path("/proc/net/unix").read_text().splitlines() if f" {self.folder}/" in line]
        assert not left, f"sockets are left: {left}"

    def words(self) -> Iterator[tuple[str, str]]:
        """Yield the end of what each server said."""
        for path in sorted((self.folder / "logs").glob("*.log")):
            yield path.stem, path.read_text("utf-8", "replace")[-6_000:]


def _stop(servers: Sequence[Server]) -> None:
    """Drain servers side by side; what does not end in time is made to."""
    for signum, seconds in ((signal.SIGTERM, DRAIN_SECONDS), (signal.SIGTERM, KILLED_SECONDS), (signal.SIGKILL, 5.0)):
        running = [server for server in servers if server.running]
        for server in running:
            server.tell(signal.SIGCONT)
            server.tell(signum)
        for server in running:
            with contextlib.suppress(StillThereError):
                server.wait(seconds)


def free_port() -> int:
    """Return a port that nothing uses, below those the kernel gives to clients: it is free after a restart, too."""
    for port in random.sample(range(LOWEST_PORT, EPHEMERAL_FROM), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("No port is free.")

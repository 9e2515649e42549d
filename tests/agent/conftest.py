from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from podium_agent.host import processes
from tests.agent.bundles import a_bundle
from tests.agent.peer import Peer
from tests.agent.signs import Sign


@dataclass
class RunningAgent:
    """A real agent: its spawner's process and its data folder."""

    folder: Path
    process: subprocess.Popen[bytes]
    options: dict[str, str] = field(default_factory=dict)
    seen_id: str | None = None

    @property
    def agent_id(self) -> str:
        return (self.folder / "agent_id").read_text() if self.seen_id is None else self.seen_id

    def session_pid(self) -> int:
        return next(pid for pid, text in self.commands().items() if "podium_agent.session" in text)

    def worker_pids(self) -> list[int]:
        return [pid for pid, text in self.commands().items() if "podium_agent.worker" in text]

    def commands(self) -> dict[int, str]:
        found = {}
        for process, _ in processes.marked(self.agent_id):
            try:
                found[process.pid] = Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found

    def log(self) -> str:
        return (self.folder.parent / f"{self.folder.name}.log").read_text()

    def term(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End it the fast way and check that nothing is left."""
        for _ in range(2):
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                time.sleep(0.05)
        self.process.wait(20)
        assert wait_until(lambda: not self.commands()), self.commands()


def wait_until(condition: Callable[[], object], patience: float = 15.0) -> bool:
    """Look again and again: for what only /proc or the disk can tell."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def start_agent(folder: Path, address: str, prefix: Sequence[str] = (), **options: str) -> RunningAgent:
    flags = {"coordinators": address, "data-dir": str(folder), "name": "a1", "cpu": "2", "grace": "2", **options}
    argv = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "podium_agent", *argv], stdout=log, stderr=log, env=environment
        )
    return RunningAgent(folder, process, options)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    made = Peer()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def start(tmp_path: Path, peer: Peer) -> Iterator[Callable[..., RunningAgent]]:
    """Start agents that are ended with the test."""
    running: list[RunningAgent] = []

    def start_one(name: str = "agent", prefix: Sequence[str] = (), **options: str) -> RunningAgent:
        agent = start_agent(tmp_path / name, peer.address, prefix, **options)
        running.append(agent)
        return agent

    yield start_one
    for agent in reversed(running):
        try:
            agent.stop()
        finally:
            sys.stdout.write(agent.log())


@pytest.fixture
def agent(start: Callable[..., RunningAgent]) -> RunningAgent:
    return start()


@pytest.fixture
def bundle(peer: Peer, request: pytest.FixtureRequest) -> str:
    """The bundle of the module of tasks, `MODULE`, that a file of tests has."""
    return a_bundle(peer, work=request.module.MODULE)


@pytest.fixture
def sign(tmp_path: Path) -> Iterator[Sign]:
    """What a task sets for its test to see."""
    with Sign(tmp_path / "sign") as made:
        yield made

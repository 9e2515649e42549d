"""What a small cluster is made of: folders, addresses and the command line of each server."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

_PODIUM = (sys.executable, "-m", "podium.cli")


@dataclass(frozen=True, slots=True)
class Plan:
    """A coordinator on a loopback port, and agents 1 to `agents`. All data is below `data_dir`."""

    data_dir: Path
    port: int
    agents: int

    @property
    def address(self) -> str:
        """Where the coordinator answers, as host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """Where the servers' own words are kept."""
        return self.data_dir / "up.log"

    @property
    def agent_names(self) -> list[str]:
        """The names of the agents."""
        return [f"agent-{number}" for number in range(1, self.agents + 1)]

    def coordinator_command(self) -> list[str]:
        """Return the command line of the coordinator."""
        return [*_PODIUM, "coordinator", "--listen", self.address, "--data-dir", str(self.data_dir)]

    def agent_command(self, name: str) -> list[str]:
        """Return the command line of an agent."""
        folder = self.data_dir / "agents" / name
        return [*_PODIUM, "agent", "--coordinators", self.address, "--name", name, "--data-dir", str(folder)]

    def background_command(self, ready_fd: int) -> list[str]:
        """Return the command line that keeps this cluster up and tells `ready_fd` when it is ready."""
        command = [*_PODIUM, "up", "--data-dir", str(self.data_dir), "--port", str(self.port)]
        return [*command, "--agents", str(self.agents), "--ready-fd", str(ready_fd), "--quiet"]

"""What a small cluster is made of: folders, addresses and the command line of each server."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from podium.errors import ConflictError

_PODIUM = (sys.executable, "-m", "podium.cli")


class PortTakenError(ConflictError):
    """Another process listens where the coordinator is to."""

    reason = "PORT_TAKEN"


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

    def check_port(self) -> None:
        """See that the port is free: servers that found another cluster there would join that one.

        Raises:
            PortTakenError: Something listens there.
        """
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                message = f"The port {self.address} cannot be had: {error.strerror}."
                raise PortTakenError(message, port=self.port) from None

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

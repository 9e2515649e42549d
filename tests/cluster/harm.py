"""Kills parts of a cluster with SIGKILL, each so that the rest of it notices as it would in earnest."""

from __future__ import annotations

import os
import signal

import psutil

from tests.cluster.cluster import Cluster
from tests.cluster.processes import gone


class NoSessionError(AssertionError):
    """An agent's session process has died, and the next one is not there yet."""


async def kill_coordinator(cluster: Cluster) -> None:
    """Kill the coordinator's process; its Postgres shuts down by itself."""
    cluster.coordinator.tell(signal.SIGKILL)
    await cluster.coordinator.ended()


async def kill_postgres(cluster: Cluster) -> None:
    """Kill the postmaster of the embedded Postgres, which takes all of it down."""
    pid = int((cluster.data_dir / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    await gone(pid)


def session_of(cluster: Cluster, name: str) -> int:
    """Return the process id of an agent's session. Raises NoSessionError."""
    for child in psutil.Process(cluster.agents[name].pid).children():
        if "podium_agent.session" in child.cmdline():
            return child.pid
    raise NoSessionError(f"Agent {name} has no session process.")


async def kill_session(cluster: Cluster, name: str) -> None:
    """Kill an agent's session process only. Raises NoSessionError."""
    pid = session_of(cluster, name)
    os.kill(pid, signal.SIGKILL)
    await gone(pid)


async def kill_agent(cluster: Cluster, name: str) -> None:
    """Kill an agent: spawner, session, workers and tasks, all at once."""
    family = cluster.agents[name].family()
    cluster.agents[name].tell_all(signal.SIGKILL)
    for process in family:
        await gone(process.pid)

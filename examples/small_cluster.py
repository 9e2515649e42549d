"""A coordinator with its own Postgres and some agents, as processes of this machine, for as long as a `with` lasts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PODIUM = (sys.executable, "-m", "podium.cli")
STOP_WITHIN = 30.0
"""Seconds the cluster has to stop by itself."""


class ClusterError(Exception):
    """The cluster did not come up; what it said is on stderr."""


def free_port() -> int:
    """Return a loopback port that nothing listens on right now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def small_cluster(data: Path, *, agents: int = 2, port: int | None = None) -> Iterator[str]:
    """Start a cluster that keeps everything below `data`, and yield its address once all agents are connected.

    Nothing is left running afterwards, however the block ends.

    Raises:
        ClusterError: It ended before it was ready.
    """
    address = f"127.0.0.1:{port or free_port()}"
    command = [*PODIUM, "up", "--quiet", "--data-dir", str(data), "--agents", str(agents)]
    # A group of its own: Ctrl-C is for the caller, who then stops the cluster in order.
    process = subprocess.Popen(
        [*command, "--port", address.rpartition(":")[2]], stdout=subprocess.PIPE, text=True, process_group=0
    )
    try:
        if not (process.stdout and process.stdout.readline()):
            raise ClusterError(f"The cluster ended with exit code {process.wait()} before it was ready.")
        yield address
    finally:
        stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """End the cluster: at once, but in order; with all its processes when it takes too long."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout:
        process.stdout.close()

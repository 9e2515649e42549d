"""Facts about the host, for the hello."""

from __future__ import annotations

import os
import platform
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from podium.v1 import agent_pb2
from podium.version import __version__

if TYPE_CHECKING:
    from podium_agent.settings import AgentSettings

OFFERED_SHARE = 0.85
"""How much of the memory is offered to tasks by default: the rest is the system's and the agent's own."""

MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def memory() -> int:
    """Return the bytes of memory there are to use: the host's, or the container's limit."""
    limits = [psutil.virtual_memory().total]
    for path in MEMORY_LIMITS:
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):
            continue
    return min(limits)


def offered_cpu_millis(settings: AgentSettings) -> int:
    """Return the thousandths of a core that tasks may hold."""
    return int((cores() if settings.cpu is None else settings.cpu) * 1000)


def offered_memory(settings: AgentSettings) -> int:
    """Return the bytes of memory that tasks may hold."""
    return int(memory() * OFFERED_SHARE) if settings.memory is None else settings.memory


def host_facts(settings: AgentSettings) -> agent_pb2.HostFacts:
    """Return the facts as they are now."""
    return agent_pb2.HostFacts(
        hostname=socket.gethostname(),
        platform=f"{platform.system()}-{platform.release()}-{platform.machine()}",
        python_version=platform.python_version(),
        podium_version=__version__,
        cpu_millis=offered_cpu_millis(settings),
        memory_bytes=offered_memory(settings),
        disk_free_bytes=shutil.disk_usage(settings.data_dir).free,
        labels=settings.labels,
    )

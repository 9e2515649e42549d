"""The guardian: a small process that outlives a killed spawner just long enough to leave nothing behind.

The kernel kills the spawner's direct children when it dies, but not what a task started below them. The guardian
blocks on a pipe that only the spawner holds open for writing; when the spawner dies, however it dies, the pipe ends,
and the guardian kills every process that carries the mark of this start of the agent.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from podium_agent.host import processes

if TYPE_CHECKING:
    from typing import NoReturn


def start(agent_id: str, start_id: str, kept: int, watched: int) -> int:
    """Fork the guardian; return its process id.

    Args:
        agent_id: The agent.
        start_id: This start of the agent: only its processes are ended.
        kept: The pipe's writing end, which the spawner keeps open for life.
        watched: The pipe's reading end.
    """
    pid = os.fork()
    if pid == 0:
        _guard(agent_id, start_id, kept, watched)
    return pid


def _guard(agent_id: str, start_id: str, kept: int, watched: int) -> NoReturn:
    try:
        os.setsid()
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        os.close(kept)
        os.closerange(3, watched)
        os.closerange(watched + 1, os.sysconf("SC_OPEN_MAX"))
        os.read(watched, 1)
        processes.end_marked(agent_id, start=start_id)
    finally:
        os._exit(0)

"""Process trees, read from /proc: who descends from whom, and how to end all of them.

A process is named by its id and its start time together, since ids are used again. Descendants are found by parent,
which holds across setsid and new process groups; orphans are found because each of the agent's processes that starts
others is a subreaper. Processes of an agent that died whole are found by a mark in their environment.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

MARK = "PODIUM_AGENT_MARK"
"""Environment variable that all processes of an agent carry: "<agent id>:<start>"."""

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One process; `started` in clock ticks since boot."""

    pid: int
    parent: int
    started: int
    zombie: bool


def read(pid: int) -> Process | None:
    """Return what /proc tells of a process; None when it is gone."""
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return Process(pid, int(fields[1]), int(fields[19]), fields[0] in b"ZX")


def living() -> list[Process]:
    """Return every process on the host that still executes."""
    found = (read(pid) for pid in _pids())
    return [process for process in found if process is not None and not process.zombie]


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir(PROC) if name.isdecimal())  # noqa: PTH208 - no Path objects needed


def descendants(roots: Collection[int], processes: Collection[Process]) -> list[Process]:
    """Return those of `processes` that descend from one of `roots`, parents first, without the roots."""
    children: dict[int, list[Process]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    frontier = list(roots)
    while frontier:
        below = children.get(frontier.pop(), ())
        found.extend(below)
        frontier.extend(process.pid for process in below)
    return found


def is_alive(process: Process) -> bool:
    """Whether it still executes (a zombie does not)."""
    now = read(process.pid)
    return now is not None and now.started == process.started and not now.zombie


def send(process: Process, signum: int) -> None:
    """Send a signal to exactly this process, never to another that was given its id; harmless when it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        if is_alive(process):
            signal.pidfd_send_signal(handle, signum)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def reap_children() -> bool:
    """Collect every child that has ended; return whether some still execute."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def end_descendants(patience: float) -> bool:
    """Kill all descendants of this process, which must be a subreaper, until none is left.

    Args:
        patience: Seconds after which to give up on processes the kernel cannot end.

    Returns:
        Whether none is left.
    """
    deadline = time.monotonic() + patience
    while reap_children():
        for process in descendants([os.getpid()], living()):
            send(process, signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def marked(agent_id: str) -> Iterator[tuple[Process, str]]:
    """Yield each living process that carries the agent's mark, with the start it belongs to."""
    prefix = f"{MARK}={agent_id}:".encode()
    for process in living():
        start = _mark_of(process.pid, prefix)
        if start is not None:
            yield process, start


def _mark_of(pid: int, prefix: bytes) -> str | None:
    try:
        environment = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    for entry in environment.split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode(errors="replace")
    return None


def end_marked(agent_id: str, *, start: str | None = None, spare: str | None = None, patience: float = 5.0) -> int:
    """Kill the processes that carry an agent's mark, until none is left or `patience` seconds have passed.

    Args:
        agent_id: The agent.
        start: Only those of this start; None for those of any.
        spare: Not those of this start.
        patience: Bound in seconds, for processes the kernel cannot end.

    Returns:
        How many were killed.
    """
    ended: set[Process] = set()
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        left = [p for p, mark in marked(agent_id) if p.pid != os.getpid() and mark != spare and start in (None, mark)]
        if not left:
            break
        for process in left:
            send(process, signal.SIGKILL)
        ended.update(left)
        time.sleep(0.005)
    return len(ended)

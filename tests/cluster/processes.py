"""Real processes: their words go to a file, signals go by process id, and what should be gone is looked for.

Every process carries a mark in its environment, as do all that it starts. Postgres overwrites its environment, and is
known by its working folder.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

MARK = "PODIUM_TEST_CLUSTER"
LAST_WORDS_BYTES = 16 * 1024


class StillThereError(AssertionError):
    """Processes live that should be gone."""


class EndedEarlyError(AssertionError):
    """A server ended that was waited for."""


@dataclass(slots=True)
class Server:
    """One server: may be started again after it ended; all its words go to one file."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self, **more: str) -> None:
        """Start it, with `more` in its environment this time."""
        assert not self.running, f"{self.name} runs already"
        with self.log.open("ab") as words:
            words.write(f"--- {self.name} starts {' '.join(f'{k}={v}' for k, v in more.items())}\n".encode())
            words.flush()
            self.process = subprocess.Popen(
                list(self.command),
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                env={**self.environment, **more},
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether its first process lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The id of its first process."""
        assert self.process is not None, f"{self.name} was never started"
        return self.process.pid

    def tell(self, signum: signal.Signals) -> None:
        """Send its first process a signal; nothing happens when it is gone."""
        if self.running:
            os.kill(self.pid, signum)

    def wait(self, seconds: float) -> int:
        """Return its exit code once it has ended."""
        assert self.process is not None, f"{self.name} was never started"
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise StillThereError(f"{self.name} has not ended within {seconds:g} s.\n{self.words()}") from None

    async def ended(self) -> int:
        """Wait for its end without blocking the loop; return its exit code."""
        await gone(self.pid)
        assert self.process is not None
        return self.process.wait()

    async def says(self, text: str, *, after: int = 0) -> None:
        """Return when it has said something, beyond the first `after` bytes of its words."""
        with FileWatch(self.log) as watch:
            while text.encode() not in self.log.read_bytes()[after:]:
                await watch.changed()

    def words(self, last_bytes: int = LAST_WORDS_BYTES) -> str:
        """Return the end of what it said."""
        with self.log.open("rb") as words:
            size = words.seek(0, os.SEEK_END)
            words.seek(max(0, size - last_bytes))
            return words.read().decode(errors="replace")

    def family(self) -> list[psutil.Process]:
        """Return its living processes, the first one first."""
        first = psutil.Process(self.pid)
        return [first, *first.children(recursive=True)]

    def tell_all(self, signum: signal.Signals) -> None:
        """Send a signal to all its processes, so that none sees another one's end: all are stopped first."""
        family = self.family()
        for process in family:
            _send(process, signal.SIGSTOP if signum is signal.SIGKILL else signum)
        if signum is signal.SIGKILL:
            for process in family:
                _send(process, signum)


class FileWatch:
    """Tells when a file grows, by the kernel's inotify."""

    _MODIFIED = 0x2

    def __init__(self, path: Path) -> None:
        self._path = path
        self._libc = ctypes.CDLL(None, use_errno=True)

    def __enter__(self) -> Self:
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        watch = self._libc.inotify_add_watch(self._descriptor, os.fsencode(self._path), self._MODIFIED)
        if self._descriptor < 0 or watch < 0:
            raise OSError(ctypes.get_errno(), "inotify", str(self._path))
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    async def changed(self) -> None:
        """Return when it has grown since the last call, or since the beginning."""
        await readable(self._descriptor)
        os.read(self._descriptor, 64 * 1024)


async def readable(descriptor: int) -> None:
    """Return when there is something to read."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


def _send(process: psutil.Process, signum: signal.Signals) -> None:
    try:
        process.send_signal(signum)
    except psutil.NoSuchProcess:
        return


async def gone(pid: int) -> None:
    """Return when the process executes no more."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await readable(handle)
    finally:
        os.close(handle)


def marked(mark: str, folder: Path) -> list[int]:
    """Return the ids of all living processes that carry the mark, or work in the folder."""
    entry = f"{MARK}={mark}\0".encode()
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if _belongs(process, entry, folder)]


def carrying(variable: str) -> list[int]:
    """Return the ids of all living processes with "NAME=value" in their environment."""
    entry = variable.encode() + b"\0"
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if entry in _environment(process)]


def _environment(process: Path) -> bytes:
    """Return a process's environment; that of one that has ended is empty."""
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


def _belongs(process: Path, entry: bytes, folder: Path) -> bool:
    """Look at a process; one that has ended, and is not yet collected, has neither environment nor folder."""
    try:
        return entry in _environment(process) or (process / "cwd").readlink().is_relative_to(folder)
    except OSError:
        return False


def wait_until_gone(mark: str, folder: Path, seconds: float) -> None:
    """Return when no process carries the mark. Raises StillThereError after `seconds`."""
    deadline = time.monotonic() + seconds
    while left := marked(mark, folder):
        if not _ends(left[0], deadline - time.monotonic()):
            raise StillThereError(f"Left after {seconds:g} s: {describe(left)}")


def _ends(pid: int, seconds: float) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(max(seconds, 0.0) * 1000))
    finally:
        os.close(handle)


def describe(pids: Iterable[int]) -> str:
    """Return what processes are, for a person."""
    return "; ".join(f"{pid} {_command(pid)[:200]}" for pid in pids)


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return "(gone)"

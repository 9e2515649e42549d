"""Signs of life from tasks: a task writes a line to a named pipe, and the test waits for it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path


class Sign:
    """A named pipe that tasks write lines to."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def __enter__(self) -> Sign:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    async def seen(self, patience: float = 20.0) -> str:
        """Wait for the next line."""
        loop = asyncio.get_running_loop()
        there = asyncio.Event()
        loop.add_reader(self._descriptor, there.set)
        try:
            async with asyncio.timeout(patience):
                await there.wait()
        finally:
            loop.remove_reader(self._descriptor)
        return os.read(self._descriptor, 4096).decode().strip()

    async def number(self) -> int:
        """Wait for the next line, a number."""
        return int(await self.seen())


def is_gone(pid: int) -> bool:
    """Whether a process executes no more."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


async def gone(pid: int, patience: float = 15.0) -> bool:
    """Wait until a process that is no child of ours has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        async with asyncio.timeout(patience):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(handle)
        os.close(handle)
    return True

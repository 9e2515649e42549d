"""Stops one thread of a process, so that its event loop is stuck while its sockets go on to answer pings.

The kernel's ptrace does it; where it is not allowed a test that needs it says that it was not run.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator

import pytest

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000
NOT_ALLOWED = "NOT RUN: this machine does not allow to stop a thread of another process."
LONGEST = 120.0

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_LIBC.ptrace.restype = ctypes.c_long


@contextlib.contextmanager
def stalled(pid: int) -> Iterator[None]:
    """Have a process's main thread stand still within the block. Raises pytest's Skipped where that is not allowed."""
    holding, release = threading.Event(), threading.Event()
    refused: list[int] = []

    def hold() -> None:
        """All of it on one thread: only the one that attached may detach."""
        if _LIBC.ptrace(PTRACE_SEIZE, pid, None, None) != 0:
            refused.append(ctypes.get_errno())
            holding.set()
            return
        _LIBC.ptrace(PTRACE_INTERRUPT, pid, None, None)
        os.waitpid(pid, WALL)
        holding.set()
        release.wait(LONGEST)
        _LIBC.ptrace(PTRACE_DETACH, pid, None, None)

    thread = threading.Thread(target=hold, name="stall")
    thread.start()
    holding.wait()
    if refused:
        thread.join()
        pytest.skip(f"{NOT_ALLOWED} {os.strerror(refused[0])}")
    try:
        yield
    finally:
        release.set()
        thread.join()

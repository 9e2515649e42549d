"""Ties the servers that `podium up` starts to its own life, so that none outlives it, however it ends."""

from __future__ import annotations

import os
import signal
import sys

VARIABLE = "PODIUM_UP_PID"
"""Set by `podium up` for its children: its own process id."""

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel drain this process when the `podium up` that started it is gone. Only Linux can.

    Does nothing in a process that `podium up` did not start.
    """
    parent = os.environ.pop(VARIABLE, "")
    if not parent or sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit(f"The process {parent} that started this one is gone.")

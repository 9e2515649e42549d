"""The two Linux process attributes the agent's processes rely on to leave nothing behind."""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int, signum: int) -> None:
    """Have the kernel send `signum` to this process when the thread of `parent` that forked it ends.

    Exits at once when that has happened already.
    """
    _prctl(PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:
        sys.exit(1)


def become_subreaper() -> None:
    """Have orphaned descendants become children of this process instead of init's. Survives exec, not fork."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def flush_c_streams() -> None:
    """Write out what C code left in stdio's buffers, so that it belongs to the attempt that printed it."""
    _LIBC.fflush(None)


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}) failed: {os.strerror(error)}")

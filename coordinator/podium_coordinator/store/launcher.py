"""Becomes one of Postgres's programs, in a fresh process with a single thread. Run as `python -I -S launcher.py ...`.

Arguments: the parent's process id, how (direct, namespace or user), uid, gid, the program, its arguments.

Postgres refuses to run as root. `namespace` enters a user namespace in which the one uid that starts it is called
`uid`: no account, no changed ownership. `user` gives root up for `uid`. In every case the program gets SIGINT, which
Postgres takes for a fast shutdown, when the parent dies.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

NAMESPACE_REFUSED = 71
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


def enter_namespace(libc: ctypes.CDLL, uid: int, gid: int) -> None:
    """Call the present user `uid` and its group `gid` from now on; ends the process where that is not allowed."""
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWUSER):
        sys.stderr.write(f"user namespaces are not allowed here: {os.strerror(ctypes.get_errno())}\n")
        sys.exit(NAMESPACE_REFUSED)
    try:
        Path("/proc/self/setgroups").write_text("deny", "ascii")
        Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1", "ascii")
        Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1", "ascii")
    except OSError as error:
        sys.stderr.write(f"user namespaces cannot be used here: {error}\n")
        sys.exit(NAMESPACE_REFUSED)


def become(uid: int, gid: int) -> None:
    """Give root up for good."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def end_with(libc: ctypes.CDLL, parent: int) -> None:
    """Have the kernel send SIGINT when the parent dies; a change of user would undo this, so it comes last."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent is gone")


def main(arguments: list[str]) -> None:
    """Do what the arguments say; never returns."""
    parent, how, uid, gid, program, *rest = arguments
    os.umask(0o077)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if how == "namespace":
            enter_namespace(libc, int(uid), int(gid))
    if how == "user":
        become(int(uid), int(gid))
    if sys.platform == "linux":
        end_with(libc, int(parent))
    os.execv(program, [program, *rest])  # noqa: S606 - there is no shell to avoid


if __name__ == "__main__":
    main(sys.argv[1:])

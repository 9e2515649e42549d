"""Starts a program that ends with its parent and sees less of the disk: `hide.py PLAN PROGRAM ARGUMENT...`.

PLAN is JSON. The program is sent SIGTERM when the process `parent` dies. In a mount namespace of its own (and a user
namespace where it is not root) the folders in `hide` are empty, but for the folders in `keep`; each folder in `small`
is a fresh one on a disk of so many bytes. With `uid` the program runs as that user instead, whom the permissions of the
folders keep out. Standard library only, and one thread.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
PR_SET_PDEATHSIG = 1
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18

_LIBC = ctypes.CDLL(None, use_errno=True)


def main(plan: dict[str, Any], command: list[str]) -> None:
    """Apply the plan and become the program."""
    if "uid" in plan:
        become(plan["uid"])
    elif plan.keys() & {"hide", "small"}:
        enter_namespace()
        kept = {path: os.open(path, os.O_PATH) for path in plan.get("keep", ())}
        for path in plan.get("hide", ()):
            mount("tmpfs", path, "tmpfs", 0, "size=64k,mode=700")
        for path, descriptor in kept.items():
            Path(path).mkdir(parents=True, exist_ok=True)
            mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND)
            os.close(descriptor)
        for path, size in plan.get("small", {}).items():
            Path(path).mkdir(parents=True, exist_ok=True)
            mount("tmpfs", path, "tmpfs", 0, f"size={size},mode=700")
    if "parent" in plan:
        die_with(plan["parent"])
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def die_with(parent: int) -> None:
    """Be told to end when the thread that started this process is gone."""
    check(_LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        sys.exit("The process that started this one is gone.")


def become(uid: int) -> None:
    """Become another user for good."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def enter_namespace() -> None:
    """Take a mount namespace of our own, whose changes nobody else sees."""
    uid, gid = os.geteuid(), os.getegid()
    check(_LIBC.unshare(CLONE_NEWNS if uid == 0 else CLONE_NEWNS | CLONE_NEWUSER), "unshare")
    if uid != 0:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            Path(f"/proc/self/{name}").write_text(text)
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Mount something, or raise OSError."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    check(_LIBC.mount(texts[0], texts[1], texts[2], flags, texts[3]), f"mount on {target}")


def check(result: int, what: str) -> None:
    """Raise what went wrong."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])

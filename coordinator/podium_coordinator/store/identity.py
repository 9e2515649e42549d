"""As whom Postgres's programs run: they refuse root, so a coordinator run by root needs a way round it."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from podium_coordinator.store import launcher
from podium_coordinator.store.errors import InvalidSettingError, PostgresStartError

ACCOUNTS: Final = ("podium", "postgres", "nobody")
"""Whom to become where root may not use namespaces and no account is set; the first that exists."""

Way = Literal["direct", "namespace", "user"]


@dataclass(frozen=True, slots=True)
class Identity:
    """How to become somebody Postgres runs for. `uid` and `gid` are the names inside for a namespace."""

    way: Way
    uid: int
    gid: int

    def command(self, program: Path, *arguments: str) -> list[str]:
        """Return what to execute so that `program` runs as this identity and ends with this process.

        Must be started from a thread that lives as long as the program is to: the kernel ends it with that thread.
        """
        script = str(Path(launcher.__file__).resolve())
        how = (str(os.getpid()), self.way, str(self.uid), str(self.gid))
        return [sys.executable, "-I", "-S", script, *how, str(program), *arguments]

    @property
    def owner(self) -> tuple[int, int]:
        """Uid and gid, as the file system sees them, of what the programs make."""
        return (self.uid, self.gid) if self.way == "user" else (os.geteuid(), os.getegid())


def choose_identity(account: str | None = None) -> Identity:
    """Return the plainest way that works here: as we are, in a namespace, or as `account` (default: `ACCOUNTS`).

    An account that is named is used whenever we are root.

    Raises:
        InvalidSettingError: There is no such account, or it is root, or we are not root and cannot become it.
        PostgresStartError: No way works here.
    """
    uid = os.geteuid()
    if account is not None:
        return _become(account)
    if uid != 0 and _known(uid):
        return Identity("direct", uid, os.getegid())
    inside = _somebody()
    if inside is not None and _namespaces_work(inside):
        return inside
    return _fall_back(uid)


def _become(account: str) -> Identity:
    try:
        entry = pwd.getpwnam(account)
    except KeyError:
        raise InvalidSettingError(f"There is no account {account} to run Postgres as.", account=account) from None
    if entry.pw_uid == 0:
        raise InvalidSettingError("Postgres does not run as root: name another account.", account=account)
    if os.geteuid() == entry.pw_uid:
        return Identity("direct", entry.pw_uid, entry.pw_gid)
    if os.geteuid() != 0:
        raise InvalidSettingError(f"Only root can run Postgres as {account}.", account=account)
    return Identity("user", entry.pw_uid, entry.pw_gid)


def _fall_back(uid: int) -> Identity:
    for account in ACCOUNTS if uid == 0 else ():
        try:
            return _become(account)
        except InvalidSettingError:
            continue
    raise PostgresStartError(
        "Postgres runs neither as root nor as a user without an account, and user namespaces are not allowed here:"
        " start Podium as an ordinary user, or name a database of your own with --database-url postgresql://...",
        uid=uid,
    )


def _known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _somebody() -> Identity | None:
    """Return a namespace identity under any account that is not root: initdb wants its own uid to have a name."""
    if sys.platform != "linux":
        return None
    entry = next((entry for entry in pwd.getpwall() if entry.pw_uid != 0), None)
    return Identity("namespace", entry.pw_uid, entry.pw_gid) if entry else None


def _namespaces_work(inside: Identity) -> bool:
    """Try it: whether it is allowed depends on the kernel, on seccomp and on the distribution's own switches."""
    tried = subprocess.run(inside.command(Path("/bin/true")), capture_output=True, check=False, timeout=30)
    return tried.returncode == 0

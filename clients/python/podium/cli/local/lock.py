"""One cluster per data folder: a lock held for as long as its `podium up` lives, and a word about who holds it.

The lock is the kernel's (flock), so it is free the moment its holder is gone, however it ended; the process id in the
file is only believed while the lock is held.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO, NoReturn

from podium.errors import ConflictError, UnavailableError

_NAME = "up.lock"


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that keeps a cluster up, and where its coordinator answers."""

    pid: int
    address: str


@contextmanager
def held(data_dir: Path, address: str) -> Iterator[None]:
    """Hold the folder's lock; the folder is made with mode 0700 when absent.

    Raises:
        ConflictError: Another cluster is up in that folder.
        OSError: The folder cannot be written.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _open(data_dir) as file:
        if not _try(file, fcntl.LOCK_EX):
            message = f"A cluster is up in {data_dir} already."
            raise ConflictError(message, data_dir=str(data_dir))
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "address": address}).encode())
        file.flush()
        yield


def holder(data_dir: Path) -> Holder | None:
    """Return who keeps a cluster up in the folder, None for nobody.

    Raises:
        UnavailableError: Somebody does, and has not said yet who.
    """
    if not (data_dir / _NAME).exists():
        return None
    with _open(data_dir) as file:
        if _try(file, fcntl.LOCK_SH):
            return None
        try:
            told = json.loads(file.read())
            return Holder(told["pid"], told["address"])
        except ValueError:
            message = f"The cluster in {data_dir} is just starting."
            raise UnavailableError(message, data_dir=str(data_dir)) from None


def wait_until_free(data_dir: Path, seconds: float) -> None:
    """Return when nobody holds the folder's lock. Only for the main thread: it uses the process's alarm.

    Raises:
        TimeoutError: `seconds` passed.
    """
    previous = signal.signal(signal.SIGALRM, _time_is_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with _open(data_dir) as file:
            fcntl.flock(file, fcntl.LOCK_SH)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _time_is_up(signum: int, frame: FrameType | None) -> NoReturn:
    del signum, frame
    raise TimeoutError


def _open(data_dir: Path) -> BinaryIO:
    return os.fdopen(os.open(data_dir / _NAME, os.O_RDWR | os.O_CREAT, 0o600), "r+b")


def _try(file: BinaryIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

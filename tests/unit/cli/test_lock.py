"""One cluster per folder, with real processes holding the lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from podium.cli.local import lock
from podium.errors import ConflictError, UnavailableError

HOLD = """
import signal, sys
from pathlib import Path
from podium.cli.local import lock
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
with lock.held(Path(sys.argv[1]), "127.0.0.1:1"):
    print("held", flush=True)
    signal.pause()
"""


@contextmanager
def a_holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_who_holds_the_lock_is_known_to_others(tmp_path: Path) -> None:
    with a_holder(tmp_path) as process:
        assert lock.holder(tmp_path) == lock.Holder(process.pid, "127.0.0.1:1")


def test_a_held_folder_is_refused_to_a_second_cluster(tmp_path: Path) -> None:
    with a_holder(tmp_path), pytest.raises(ConflictError, match="is up in"), lock.held(tmp_path, "127.0.0.1:2"):
        pass


def test_a_killed_holder_leaves_the_folder_free(tmp_path: Path) -> None:
    with a_holder(tmp_path) as process:
        process.kill()
        process.wait()
        assert lock.holder(tmp_path) is None
        with lock.held(tmp_path, "127.0.0.1:2"):
            pass


def test_a_folder_nobody_used_is_free_and_stays_empty(tmp_path: Path) -> None:
    assert lock.holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_holder_that_has_not_said_who_it_is_makes_others_try_later(tmp_path: Path) -> None:
    with a_holder(tmp_path):
        os.truncate(tmp_path / "up.lock", 0)
        with pytest.raises(UnavailableError, match="just starting"):
            lock.holder(tmp_path)


def test_waiting_ends_with_the_holder(tmp_path: Path) -> None:
    with a_holder(tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        lock.wait_until_free(tmp_path, 30)
        assert lock.holder(tmp_path) is None


def test_waiting_is_bounded(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGALRM)
    with a_holder(tmp_path), pytest.raises(TimeoutError):
        lock.wait_until_free(tmp_path, 0.05)
    assert signal.getsignal(signal.SIGALRM) is before


def test_the_folder_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with lock.held(folder, "127.0.0.1:1"):
        assert folder.stat().st_mode & 0o777 == 0o700

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium_agent import frames
from podium_agent.store.journal import Journal, JournalWriter, Kind, Recovered, read

A, B, C = ("a" * 32, "b" * 32, "c" * 32)


def started(token: str) -> dict[str, Any]:
    return {"token": token, "run": "r"}


def ended(token: str, body: bytes = b"42") -> bytes:
    return frames.pack({"token": token}, body)


def recovered(folder: Path) -> Recovered:
    return Journal(folder).recover()


def tokens(found: Recovered) -> list[str]:
    return [record.header["token"] for _, record in found.finished]


def test_results_without_acknowledgement_are_owed_and_an_open_start_is_busy(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "w1")
    writer.start(started(A))
    writer.finish(ended(A))
    writer.start(started(B))
    found = recovered(tmp_path)
    assert tokens(found) == [A]
    assert found.finished[0][1].body == b"42"
    assert found.started == {"w1": started(B)}


def test_an_acknowledged_result_is_not_owed_again(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "w1")
    for token in (A, B):
        writer.start(started(token))
        writer.finish(ended(token))
    journal = Journal(tmp_path)
    journal.recover()
    journal.acknowledge([A])
    assert tokens(recovered(tmp_path)) == [B]


def test_the_files_of_a_writer_that_is_gone_are_removed_when_nothing_is_owed(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "w1")
    writer.start(started(A))
    writer.finish(ended(A))
    journal = Journal(tmp_path)
    journal.recover()
    journal.writer_gone("w1")
    assert list(tmp_path.iterdir())
    journal.acknowledge([A])
    assert not list(tmp_path.iterdir())
    journal.acknowledge([A])


def test_a_large_file_is_left_for_a_new_one_and_removed_when_all_in_it_is_acknowledged(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "w1")
    journal = Journal(tmp_path)
    journal.recover()
    for token in (A, B):
        writer.start(started(token))
        writer.finish(ended(token, b"x" * (1 << 20)))
        journal.owe(writer.file, token)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w1.1.journal", "w1.2.journal"]
    journal.acknowledge([A])
    assert [path.name for path in tmp_path.iterdir()] == ["w1.2.journal"]


def test_a_new_writer_of_the_same_name_does_not_write_into_an_old_file(tmp_path: Path) -> None:
    JournalWriter(tmp_path, "session").finish(ended(A))
    second = JournalWriter(tmp_path, "session")
    second.finish(ended(B))
    assert tokens(recovered(tmp_path)) == [A, B]
    assert second.file == "session.2"


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_torn_or_damaged_end_hides_only_what_was_never_told(cut: int, flip: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = JournalWriter(folder, "w1")
        for token in (A, B, C):
            writer.finish(ended(token, b"y" * 50))
        path = folder / "w1.1.journal"
        whole = path.read_bytes()
        damaged = whole[: cut % len(whole)] + bytes([flip])
        path.write_bytes(damaged)
        found = [record.header["token"] for record in read(path)]
        assert found == [A, B, C][: len(found)]


@pytest.fixture
def small_files() -> Iterator[int]:
    """Let this process write no file larger than this many bytes, as a full disk would."""
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield 4096
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_record_that_does_not_fit_the_disk_leaves_the_file_as_it_was(tmp_path: Path, small_files: int) -> None:
    writer = JournalWriter(tmp_path, "w1")
    writer.start(started(A))
    size = (tmp_path / "w1.1.journal").stat().st_size
    with pytest.raises(OSError, match="too large"):
        writer.finish(ended(A, os.urandom(small_files)))
    assert (tmp_path / "w1.1.journal").stat().st_size == size
    writer.finish(ended(A))
    assert [record.kind for record in read(tmp_path / "w1.1.journal")] == [Kind.START, Kind.FINISH]

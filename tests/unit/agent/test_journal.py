from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium_agent import records
from podium_agent.records import Name, Success
from podium_agent.store.journal import Journal, JournalWriter, Recovered, read

A, B, C = (letter * 16 for letter in (b"a", b"b", b"c"))
FACTS = b'{"run":"r"}'


def name(token: bytes) -> Name:
    return Name(token, 1, 0, -1, 1)


def start(writer: JournalWriter, token: bytes) -> None:
    if writer.full:
        writer.rotate()
    order = b"" if writer.knows(1) else records.pack_order(1, FACTS)
    writer.append(order + records.pack_start(name(token), 5, b"key"), 1)


def finish(writer: JournalWriter, token: bytes, output: bytes = b"42") -> None:
    writer.append(records.pack_success(name(token), (5, 4, 3, 2, 0), output, b""))


def recovered(folder: Path) -> Recovered:
    return Journal(folder).recover()


def tokens(found: Recovered) -> list[bytes]:
    return [item.record.token for item in found.finished]


def test_results_without_acknowledgement_are_owed_and_an_open_start_is_busy(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "w1")
    start(writer, A)
    finish(writer, A)
    start(writer, B)
    found = recovered(tmp_path)
    assert tokens(found) == [A]
    assert isinstance(found.finished[0].record, Success)
    assert found.finished[0].record.output == b"42"
    assert [(worker, item.record.token, item.order) for worker, item in found.started.items()] == [
        ("w1", B, {"run": "r"})
    ]


def test_an_acknowledged_result_is_not_owed_again(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "w1")
    for token in (A, B):
        start(writer, token)
        finish(writer, token)
    journal = Journal(tmp_path)
    journal.recover()
    journal.acknowledge([A])
    assert tokens(recovered(tmp_path)) == [B]


def test_the_files_of_a_writer_that_is_gone_are_removed_when_nothing_is_owed(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "w1")
    start(writer, A)
    finish(writer, A)
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
        start(writer, token)
        finish(writer, token, b"x" * (1 << 20))
        journal.owe(writer.file, [token])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w1.1.journal", "w1.2.journal"]
    journal.acknowledge([A])
    assert [path.name for path in tmp_path.iterdir()] == ["w1.2.journal"]


def test_a_new_writer_of_the_same_name_does_not_write_into_an_old_file(tmp_path: Path) -> None:
    finish(JournalWriter(tmp_path, "session"), A)
    second = JournalWriter(tmp_path, "session")
    finish(second, B)
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
            finish(writer, token, b"y" * 50)
        path = folder / "w1.1.journal"
        whole = path.read_bytes()
        damaged = whole[: cut % len(whole)] + bytes([flip])
        path.write_bytes(damaged)
        found = [record.token for record, _ in read(path) if isinstance(record, Success)]
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
    start(writer, A)
    size = (tmp_path / "w1.1.journal").stat().st_size
    with pytest.raises(OSError, match="too large"):
        finish(writer, A, os.urandom(small_files))
    assert (tmp_path / "w1.1.journal").stat().st_size == size
    finish(writer, A)
    assert [type(record) for record, _ in read(tmp_path / "w1.1.journal")] == [records.Order, records.Start, Success]


def test_what_a_writer_wrote_since_it_was_last_heard_is_read_across_its_files(tmp_path: Path) -> None:
    journal, writer = Journal(tmp_path), JournalWriter(tmp_path, "w1")
    start(writer, A)
    finish(writer, A)
    journal.passed("w1", writer.place)
    finish(writer, B, b"x" * (1 << 20))
    start(writer, C)
    assert [(found.name, found.record.token) for found in journal.news("w1")] == [("w1.1", B), ("w1.2", C)]
    assert journal.news("w1") == []
    finish(writer, C)
    [found] = journal.news("w1")
    assert (type(found.record), found.order) == (Success, {"run": "r"})


def test_the_files_of_a_writer_that_is_gone_are_removed_though_nothing_was_ever_owed(tmp_path: Path) -> None:
    start(JournalWriter(tmp_path, "w1"), A)
    journal = Journal(tmp_path)
    journal.writer_gone("w1")
    assert not list(tmp_path.iterdir())

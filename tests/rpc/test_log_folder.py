"""The folder of logs under way: appends at offsets, the quota, followers, and what a restart finds."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from podium.logformat import LogStream, decode, encode
from podium_coordinator.logs.folder import AttemptName, LogFolder, LogStoreError
from podium_coordinator.structured_logs import Event

QUOTA = 4096
NAME = AttemptName(UUID(int=5), 0, -1, 1)


@pytest.fixture
def folder(tmp_path: Path) -> LogFolder:
    return LogFolder(tmp_path / "logs", QUOTA)


async def test_pieces_follow_each_other(folder: LogFolder) -> None:
    assert await folder.append(NAME, 0, b"abc") == 3
    assert await folder.append(NAME, 3, b"def") == 6
    assert await folder.read(NAME, 0) == b"abcdef"
    assert await folder.read(NAME, 2, 3) == b"cde"
    assert await folder.read(NAME, 6) == b""


async def test_a_piece_that_came_before_is_not_written_again(folder: LogFolder) -> None:
    await folder.append(NAME, 0, b"abcd")
    assert await folder.append(NAME, 0, b"abcd") == 4
    assert await folder.append(NAME, 2, b"cdef") == 6
    assert await folder.read(NAME, 0) == b"abcdef"


async def test_after_a_gap_the_agent_is_told_where_to_go_on(folder: LogFolder) -> None:
    await folder.append(NAME, 0, b"abc")
    assert await folder.append(NAME, 10, b"klm") == 3
    assert await folder.append(AttemptName(UUID(int=6), 0, -1, 1), 10, b"klm") == 0
    assert await folder.read(NAME, 0) == b"abc"


async def test_after_the_last_piece_nothing_is_added(folder: LogFolder, tmp_path: Path) -> None:
    await folder.append(NAME, 0, b"abc", last=True)
    assert folder.closed(NAME)
    assert await folder.append(NAME, 3, b"more") == 7
    assert await folder.read(NAME, 0) == b"abc"
    assert LogFolder(tmp_path / "logs", QUOTA).closed(NAME)


async def test_at_the_quota_the_log_is_cut_between_records_with_a_mark(folder: LogFolder, tmp_path: Path) -> None:
    line = encode(1.0, LogStream.STDOUT, b"x" * 100)
    offset = 0
    with capture_logs() as lines:
        for _ in range(60):
            offset = await folder.append(NAME, offset, line[:50])
            offset = await folder.append(NAME, offset, line[50:])
    assert offset == 60 * len(line)
    assert [entry["event"] for entry in lines] == [Event.LOG_CUT]
    records, rest = decode(await folder.whole(NAME))
    assert rest == b""
    assert {record.stream for record in records[:-1]} == {LogStream.STDOUT}
    assert b"limit of 4096 bytes" in records[-1].data
    assert folder.size(NAME) < QUOTA + 200
    assert LogFolder(tmp_path / "logs", QUOTA).closed(NAME)


async def test_followers_are_woken_by_appends_and_by_the_end(folder: LogFolder) -> None:
    with folder.follow(NAME) as changed:
        assert not changed.is_set()
        await folder.append(NAME, 0, b"a")
        assert changed.is_set()
        changed.clear()
        await folder.append(AttemptName(UUID(int=9), 0, -1, 1), 0, b"other")
        assert not changed.is_set()
        await folder.remove(NAME)
        assert changed.is_set()
    assert await folder.read(NAME, 0) is None


async def test_appends_at_the_same_time_do_not_mix(folder: LogFolder) -> None:
    pieces = [(n * 10, bytes([65 + n]) * 10) for n in range(10)]
    for offset, piece in pieces:
        await asyncio.gather(*[folder.append(NAME, offset, piece) for _ in range(3)])
    assert await folder.read(NAME, 0) == b"".join(piece for _, piece in pieces)


async def test_a_restart_finds_what_was_left_and_nothing_else(folder: LogFolder, tmp_path: Path) -> None:
    other = AttemptName(UUID(int=6), 3, 2, 4)
    await folder.append(NAME, 0, b"abc")
    await folder.append(other, 0, b"de", last=True)
    (tmp_path / "logs" / "notes").mkdir()
    (tmp_path / "logs" / "notes" / "todo.txt").write_text("not a log")

    again = LogFolder(tmp_path / "logs", QUOTA)
    assert again.names() == sorted([NAME, other])
    assert (again.size(NAME), again.closed(NAME)) == (3, False)
    assert (again.size(other), again.closed(other)) == (2, True)
    assert await again.append(NAME, 3, b"def") == 6


async def test_the_folder_is_for_its_owner_alone_and_empty_run_folders_go(folder: LogFolder, tmp_path: Path) -> None:
    await folder.append(NAME, 0, b"abc")
    (path,) = [path for path in (tmp_path / "logs").rglob("*") if path.is_file()]
    modes = [stat.S_IMODE(at.stat().st_mode) for at in (path, path.parent, tmp_path / "logs")]
    assert modes == [0o600, 0o700, 0o700]
    await folder.remove(NAME)
    await folder.remove(NAME)
    assert list((tmp_path / "logs").iterdir()) == []


async def test_a_folder_that_does_not_work_is_told_without_its_words(folder: LogFolder, tmp_path: Path) -> None:
    (tmp_path / "logs").rmdir()
    (tmp_path / "logs").write_text("a file where the folder was")
    with pytest.raises(LogStoreError) as raised:
        await folder.append(NAME, 0, b"abc")
    assert str(tmp_path) not in str(raised.value)

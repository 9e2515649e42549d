from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium import logformat
from podium_agent.store.logs import SMALL, LogWriter, append_output, complete, discard


def printed(path: Path, stream: int = 1) -> bytes:
    records, rest = logformat.decode(path.read_bytes())
    assert rest == b""
    return b"".join(record.data for record in records if record.stream == stream)


def test_a_silent_attempt_has_no_file(tmp_path: Path) -> None:
    log = LogWriter(tmp_path / "a.log", 1000, 1000)
    log.close()
    assert (log.on_disk, log.small(), log.size) == (False, b"", 0)
    assert not list(tmp_path.iterdir())


def test_a_small_log_is_on_disk_and_at_hand(tmp_path: Path) -> None:
    log = LogWriter(tmp_path / "a.log", 10_000, 1000)
    log.write(1, b"one\n")
    log.write(2, b"two\n")
    log.close()
    assert log.small() == (tmp_path / "a.log").read_bytes()
    assert (printed(tmp_path / "a.log"), printed(tmp_path / "a.log", 2)) == (b"one\n", b"two\n")
    log = LogWriter(tmp_path / "b.log", 10_000, 1000)
    log.write(1, b"x" * SMALL)
    assert log.small() is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=60), st.booleans())
def test_head_marker_and_tail_account_for_every_byte(sizes: list[int], closed: bool) -> None:
    import tempfile

    head, tail = 3000, 2000
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.log"
        log = LogWriter(path, head, tail)
        pieces = [bytes([65 + number % 26]) * size for number, size in enumerate(sizes)]
        for piece in pieces:
            log.write(1, piece)
        if closed:
            log.close()
        else:
            complete(path, tail)
        total = sum(len(piece) + logformat.HEADER_BYTES for piece in pieces)
        whole, kept = b"".join(pieces), printed(path)
        marker = printed(path, 3)
        left_out = int(marker.split()[1]) if marker else 0
        in_records = path.stat().st_size - (logformat.HEADER_BYTES + len(marker) if marker else 0)
        assert in_records + left_out - total in (0, logformat.HEADER_BYTES), "one record is cut where the head ends"
        if marker:
            begin = len(whole) - len(whole[kept_prefix(whole, kept) :])
            assert whole.startswith(kept[:begin])
            assert whole.endswith(kept[begin:])
            assert head + tail + 1000 >= in_records
            assert in_records >= tail - 1000
        else:
            assert kept == whole
        assert [part.name for part in Path(name).iterdir()] == ["a.log"]


def test_a_piece_too_large_for_the_head_fills_it(tmp_path: Path) -> None:
    log = LogWriter(tmp_path / "a.log", 100_000, 1000)
    log.write(1, b"the first line\n")
    log.write(1, b"x" * 1_000_000)
    log.close()
    (head, *_), _ = logformat.decode((tmp_path / "a.log").read_bytes()[:100_000])
    assert head.data == b"the first line\n"
    kept = printed(tmp_path / "a.log")
    assert 99_000 <= len(kept.partition(b"\n")[2]) <= 101_000


def kept_prefix(whole: bytes, kept: bytes) -> int:
    """Return how many bytes two texts have in common at their beginning."""
    return next((at for at, (one, other) in enumerate(zip(whole, kept, strict=False)) if one != other), len(kept))


def test_a_broken_disk_stops_the_log_and_nothing_else(tmp_path: Path) -> None:
    log = LogWriter(tmp_path / "nowhere" / "a.log", 1000, 1000)
    log.write(1, b"lost")
    log.write(1, b"lost too")
    log.close()
    assert "No such file" in log.broken
    assert log.size == 0


def test_last_output_of_a_dead_worker_is_appended(tmp_path: Path) -> None:
    path, rest = tmp_path / "a.log", tmp_path / "w.out"
    rest.write_bytes(b"last words")
    append_output(path, 1, rest)
    append_output(path, 2, tmp_path / "w.err")
    assert printed(path) == b"last words"
    assert not rest.exists()
    discard(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("head", [0, 10])
def test_a_head_too_small_for_the_first_record_leaves_only_a_tail(tmp_path: Path, head: int) -> None:
    log = LogWriter(tmp_path / "a.log", head, 1000)
    log.write(1, b"x" * 100)
    log.close()
    assert printed(tmp_path / "a.log") == b"x" * 100

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podium.errors import DigestMismatchError
from podium_agent.store.blobs import BlobCache


class Source:
    """Blobs in memory, and how often each was asked for."""

    def __init__(self, *contents: bytes) -> None:
        self.blobs = {hashlib.sha256(content).hexdigest(): content for content in contents}
        self.asked: list[str] = []

    async def get(self, sha256: str) -> AsyncIterator[bytes]:
        self.asked.append(sha256)
        data = self.blobs[sha256]
        for at in range(0, len(data), 7):
            await asyncio.sleep(0)
            yield data[at : at + 7]


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_blob_is_fetched_once_for_all_who_ask_at_the_same_time(tmp_path: Path) -> None:
    source = Source(b"some bytes of a blob")
    [name] = source.blobs
    cache = BlobCache(tmp_path, source, 1000)
    paths = await asyncio.gather(*(cache.hold(name) for _ in range(5)))
    assert {path.read_bytes() for path in paths} == {b"some bytes of a blob"}
    assert source.asked == [name]
    assert paths[0].stat().st_mode & 0o777 == 0o400


async def test_the_cache_is_known_to_the_next_process(tmp_path: Path) -> None:
    source = Source(b"kept")
    [name] = source.blobs
    await BlobCache(tmp_path, source, 1000).hold(name)
    (tmp_path / name[:2] / f"{name}.part").write_bytes(b"torn")
    again = BlobCache(tmp_path, source, 1000)
    assert again.has(name)
    await again.hold(name)
    assert source.asked == [name]
    assert [path.name for path in (tmp_path / name[:2]).iterdir()] == [name]


async def test_what_was_used_least_recently_goes_first_and_what_is_held_stays(tmp_path: Path) -> None:
    source = Source(b"a" * 40, b"b" * 40, b"c" * 40)
    first, second, third = source.blobs
    cache = BlobCache(tmp_path, source, 100)
    await cache.hold(first)
    await cache.hold(second)
    cache.let_go([second])
    await cache.hold(third)
    assert [cache.has(name) for name in (first, second, third)] == [True, False, True]
    cache.let_go([first, third])
    await cache.hold(second)
    assert [cache.has(name) for name in (first, second, third)] == [False, True, True]


async def test_other_bytes_than_the_name_promises_are_refused(tmp_path: Path) -> None:
    source = Source(b"right")
    [name] = source.blobs
    source.blobs[name] = b"wrong"
    cache = BlobCache(tmp_path, source, 100)
    with pytest.raises(DigestMismatchError):
        await cache.hold(name)
    assert not cache.has(name)
    assert not files_in(tmp_path)


async def test_a_failed_fetch_is_told_to_all_and_tried_again_by_the_next(tmp_path: Path) -> None:
    source = Source(b"late")
    [name] = source.blobs
    data = source.blobs.pop(name)
    cache = BlobCache(tmp_path, source, 100)
    failed = await asyncio.gather(*(cache.hold(name) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in failed] == [KeyError] * 3
    source.blobs[name] = data
    assert (await cache.hold(name)).read_bytes() == b"late"

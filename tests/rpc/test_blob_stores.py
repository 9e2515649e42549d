"""The two blob stores do the same: one folder on this disk, one bucket on a real S3 server."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from podium.errors import BlobNotFoundError, BlobTooLargeError, DigestMismatchError, InvalidSettingError
from podium_coordinator.blobs.contract import BlobStore, BlobStoreError
from podium_coordinator.blobs.folder import FolderStore
from podium_coordinator.blobs.objects import ObjectStore
from podium_coordinator.blobs.opening import open_store

LIMIT = 64 << 20


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An S3 server with a bucket; its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    bucket = http.client.HTTPConnection(host, port)
    bucket.request("PUT", "/podium-blobs")
    assert bucket.getresponse().status == 200
    bucket.close()
    yield address
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    if request.param == "folder":
        return open_store("", tmp_path / "blobs")
    reach(request.getfixturevalue("s3"), monkeypatch)
    return open_store("s3://podium-blobs/some/prefix", tmp_path)


def reach(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)


async def pieces(data: bytes, size: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def named(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


async def put(store: BlobStore, data: bytes, name: bytes | None = None, limit: int = LIMIT) -> int:
    return await store.put(name or named(data), pieces(data), limit)


async def got(store: BlobStore, name: bytes, offset: int = 0) -> bytes:
    return b"".join([block async for block in store.read(name, offset)])


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (20 << 20) + 7])
async def test_what_is_put_is_got_whole_and_from_any_place(store: BlobStore, size: int) -> None:
    data = os.urandom(size)
    assert await put(store, data) == size
    assert await store.size(named(data)) == size
    assert await got(store, named(data)) == data
    assert await got(store, named(data), size // 2) == data[size // 2 :]
    assert await got(store, named(data), size + 10) == b""
    assert await got(store, named(data), 2**63 - 1) == b""


async def test_blocks_are_bounded(store: BlobStore) -> None:
    data = os.urandom((3 << 20) + 5)
    await put(store, data)
    assert max([len(block) async for block in store.read(named(data))]) <= 1 << 20


async def test_putting_twice_is_harmless(store: BlobStore) -> None:
    assert await put(store, b"same") == await put(store, b"same") == 4
    assert await got(store, named(b"same")) == b"same"


@pytest.mark.parametrize("size", [10, 17 << 20])
async def test_other_bytes_than_promised_are_refused_and_never_seen(store: BlobStore, size: int) -> None:
    name = named(b"promised")
    with pytest.raises(DigestMismatchError) as raised:
        await put(store, os.urandom(size), name)
    assert raised.value.metadata["sha256"] == name.hex()
    assert await store.size(name) is None


@pytest.mark.parametrize("size", [11, 17 << 20])
async def test_a_blob_over_the_limit_is_refused_with_the_limit(store: BlobStore, size: int) -> None:
    data = os.urandom(size)
    with pytest.raises(BlobTooLargeError) as raised:
        await put(store, data, limit=10)
    assert raised.value.metadata["limit"] == "10"
    assert await store.size(named(data)) is None


async def test_a_failing_upload_leaves_nothing(store: BlobStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield os.urandom(12 << 20)
        raise LookupError("the caller is gone")

    with pytest.raises(LookupError):
        await store.put(named(b"x"), broken(), LIMIT)
    assert await store.size(named(b"x")) is None


async def test_deleting_is_for_good_and_may_be_repeated(store: BlobStore) -> None:
    await put(store, b"short-lived")
    await store.delete(named(b"short-lived"))
    await store.delete(named(b"short-lived"))
    assert await store.size(named(b"short-lived")) is None
    with pytest.raises(BlobNotFoundError):
        await got(store, named(b"short-lived"))


async def test_a_folder_is_for_its_owner_alone_and_starts_without_leftovers(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "blobs")
    await put(store, b"data")
    (path,) = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert path.relative_to(tmp_path / "blobs").parts == (named(b"data").hex()[:2], named(b"data").hex()[2:])
    assert [stat.S_IMODE(at.stat().st_mode) for at in (path, path.parent, tmp_path / "blobs")] == [0o600, 0o700, 0o700]

    left = tmp_path / "blobs" / "unfinished" / "cut off"
    left.write_bytes(b"half")
    FolderStore(tmp_path / "blobs")
    assert not left.exists()


async def test_a_full_disk_is_told_without_its_words(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "blobs")
    (tmp_path / "blobs" / "unfinished").rmdir()
    with pytest.raises(BlobStoreError) as raised:
        await put(store, b"data")
    assert str(tmp_path) not in str(raised.value)


async def test_an_object_store_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch, s3: str) -> None:
    reach(s3, monkeypatch)
    store = ObjectStore.from_url("s3://no-such-bucket/")
    with pytest.raises(BlobStoreError):
        await put(store, b"data")


def test_a_folder_that_cannot_be_made_is_told_by_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidSettingError, match="data_dir"):
        FolderStore(tmp_path / "file" / "blobs")


def test_stores_are_chosen_by_url(tmp_path: Path) -> None:
    assert isinstance(open_store(f"file://{tmp_path}/there", tmp_path), FolderStore)
    assert (tmp_path / "there").is_dir()
    assert isinstance(open_store("memory:///", tmp_path), ObjectStore)
    for url in ("nonsense", "ftp://host/path", "s3://"):
        with pytest.raises(InvalidSettingError, match="blob_store"):
            open_store(url, tmp_path)


async def test_a_store_in_memory_works_for_a_trial(tmp_path: Path) -> None:
    store = open_store("memory:///", tmp_path)
    await put(store, b"data")
    assert await got(store, named(b"data"), 1) == b"ata"


async def test_an_upload_that_is_cancelled_at_any_moment_leaves_nothing(tmp_path: Path) -> None:
    store, data = FolderStore(tmp_path), bytes(8 << 20)
    for turns in range(60):
        upload = asyncio.create_task(put(store, data))
        for _ in range(turns):
            await asyncio.sleep(0)
        upload.cancel()
        await asyncio.gather(upload, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()  # what was at work in threads has ended
    assert list((tmp_path / "unfinished").iterdir()) == []

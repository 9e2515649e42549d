"""Putting, getting and collecting blobs, with their rows."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from podium.v1 import blob_pb2 as pb
from podium_coordinator.blobs.contract import BlobStoreError
from podium_coordinator.blobs.folder import FolderStore
from podium_coordinator.blobs.keeper import BlobKeeper, BlobRules
from podium_coordinator.store import blobs as rows
from podium_coordinator.store import workflows
from tests.rpc.probe import details, refused
from tests.rpc.site import Site

HOUR = timedelta(hours=1)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def messages(data: bytes, name: str | None = None, size: int = 1 << 20) -> Iterator[pb.PutBlobRequest]:
    yield pb.PutBlobRequest(sha256=sha(data) if name is None else name, data=data[:size])
    for start in range(size, len(data), size):
        yield pb.PutBlobRequest(data=data[start : start + size])


async def fetched(site: Site, name: str, offset: int = 0) -> bytes:
    call = site.blob.GetBlob(pb.GetBlobRequest(sha256=name, offset=offset))
    return b"".join([message.data async for message in call])


async def stored(site: Site, *names: str) -> dict[str, int]:
    return dict((await site.blob.StatBlobs(pb.StatBlobsRequest(sha256=names))).sizes)


async def age(site: Site, data: bytes, by: timedelta = 2 * HOUR) -> None:
    """Make it so that nobody has wanted a blob for a while."""
    async with site.database.write.connection() as conn:
        await conn.execute(
            "UPDATE blob SET wanted_at = wanted_at - %s WHERE sha256 = %s", [by, hashlib.sha256(data).digest()]
        )


async def test_a_blob_comes_back_whole_from_an_offset_and_by_its_size(site: Site) -> None:
    data = os.urandom((5 << 20) + 3)
    answer = await site.blob.PutBlob(messages(data))
    assert answer.size == len(data)
    assert await fetched(site, sha(data)) == data
    assert await fetched(site, sha(data), 1 << 20) == data[1 << 20 :]
    assert await stored(site, sha(data), sha(b"other")) == {sha(data): len(data)}


async def test_repeating_a_put_is_harmless_and_is_checked_as_well(site: Site) -> None:
    for _ in range(2):
        assert (await site.blob.PutBlob(messages(b"data"))).size == 4
    told = await refused(site.blob.PutBlob(messages(b"tada", sha(b"data"))))
    assert details(told)[0].reason == "DIGEST_MISMATCH"
    assert await fetched(site, sha(b"data")) == b"data"


@pytest.mark.parametrize(
    ("requests", "code", "reason"),
    [
        ([], grpc.StatusCode.INVALID_ARGUMENT, "INVALID_DIGEST"),
        ([pb.PutBlobRequest(sha256="ABC", data=b"x")], grpc.StatusCode.INVALID_ARGUMENT, "INVALID_DIGEST"),
        ([pb.PutBlobRequest(sha256="A" * 64, data=b"x")], grpc.StatusCode.INVALID_ARGUMENT, "INVALID_DIGEST"),
        (list(messages(b"x", sha(b"y"))), grpc.StatusCode.INVALID_ARGUMENT, "DIGEST_MISMATCH"),
        (list(messages(bytes((16 << 20) + 1))), grpc.StatusCode.RESOURCE_EXHAUSTED, "BLOB_TOO_LARGE"),
        (list(messages(bytes(3 << 20), size=3 << 20)), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
    ],
)
async def test_a_put_that_cannot_be_is_refused(
    site: Site, requests: list[pb.PutBlobRequest], code: grpc.StatusCode, reason: str
) -> None:
    told = await refused(site.blob.PutBlob(iter(requests)))
    assert (told.code(), details(told)[0].reason) == (code, reason)


async def test_what_is_not_stored_is_not_found(site: Site) -> None:
    told = await refused(fetched(site, sha(b"nothing")))
    assert (told.code(), details(told)[0].reason) == (grpc.StatusCode.NOT_FOUND, "BLOB_NOT_FOUND")
    for wrong in (fetched(site, "x"), stored(site, "x")):
        assert details(await refused(wrong))[0].reason == "INVALID_DIGEST"
    for beyond in (fetched(site, sha(b"a"), -1), stored(site, *[sha(b"a")] * 1001)):
        assert details(await refused(beyond))[0].reason == "INVALID_ARGUMENT"


async def test_only_old_blobs_that_nothing_refers_to_are_collected(site: Site) -> None:
    for data in (b"young", b"old", b"bundle", b"output"):
        await site.put(data)
    for data in (b"old", b"bundle", b"output"):
        await age(site, data)
    async with site.database.write.connection() as conn:
        await workflows.register(conn, "flow", b"d", b"", hashlib.sha256(b"bundle").digest(), 1)
        await conn.execute(
            "INSERT INTO attempt_blob VALUES (gen_random_uuid(), 0, -1, 1, 'file', %s, 'name', 6)",
            [hashlib.sha256(b"output").digest()],
        )
    assert await site.blobs.collect() == 1
    names = [sha(data) for data in (b"young", b"bundle", b"output", b"old")]
    assert set(await stored(site, *names)) == set(names[:3])
    assert details(await refused(fetched(site, sha(b"old"))))[0].reason == "BLOB_NOT_FOUND"


async def test_asking_about_a_blob_keeps_it(site: Site) -> None:
    await site.put(b"wanted")
    await age(site, b"wanted")
    assert await stored(site, sha(b"wanted"))
    assert await site.blobs.collect() == 0


class GatedStore(FolderStore):
    """A folder whose deletions wait for the test, to hold a collection in its middle."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def delete(self, sha256: bytes) -> None:
        self.reached.set()
        await self.go.wait()
        await super().delete(sha256)


async def test_a_blob_put_while_it_is_being_collected_survives(site: Site, tmp_path: Path) -> None:
    store = GatedStore(tmp_path / "gated")
    keeper = BlobKeeper(store, site.database.write, BlobRules(1 << 20, HOUR))
    name = await keeper.put_bytes(b"contested")
    await age(site, b"contested")

    collecting = asyncio.create_task(keeper.collect())
    await store.reached.wait()
    assert await keeper.stat([name]) == {}
    putting = asyncio.create_task(keeper.put_bytes(b"contested"))
    await others_wait(site)
    store.go.set()

    assert await collecting == 1
    assert await putting == name
    assert await keeper.stat([name]) == {name: 9}
    assert [block async for block in keeper.read(name)] == [b"contested"]


async def others_wait(site: Site) -> None:
    """Return once somebody waits for a lock in this database."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(10), site.database.read.connection() as conn:
        while True:
            row = await (await conn.execute(query)).fetchone()
            if row and row[0]:
                return


async def test_a_blob_that_is_wanted_between_the_list_and_its_turn_survives(site: Site, tmp_path: Path) -> None:
    store = GatedStore(tmp_path / "gated")
    keeper = BlobKeeper(store, site.database.write, BlobRules(1 << 20, HOUR))
    first, second = await keeper.put_bytes(b"first"), await keeper.put_bytes(b"second")
    await age(site, b"first", 3 * HOUR)
    await age(site, b"second", 2 * HOUR)

    collecting = asyncio.create_task(keeper.collect())
    await store.reached.wait()
    assert set(await keeper.stat([first, second])) == {second}
    store.go.set()
    assert await collecting == 1
    assert [block async for block in keeper.read(second)] == [b"second"]


async def test_puts_and_collections_in_any_order_leave_rows_and_bytes_together(site: Site) -> None:
    contents = [f"blob {n}".encode() for n in range(4)]

    async def put_often() -> None:
        for turn in range(12):
            data = contents[turn % 4]
            name = await site.blobs.put_bytes(data)
            assert [block async for block in site.blobs.read(name)] == [data]
            await age(site, data)

    async def collect_often() -> None:
        for _ in range(12):
            await site.blobs.collect()

    await asyncio.gather(put_once_more(site, contents), collect_often())
    await asyncio.gather(put_once_more(site, contents), collect_often(), collect_often())
    await put_often()
    names = [hashlib.sha256(data).digest() for data in contents]
    async with site.database.read.connection() as conn:
        recorded = await rows.sizes(conn, names)
    for name, data in zip(names, contents, strict=True):
        if name in recorded:
            assert [block async for block in site.blobs.read(name)] == [data]


async def put_once_more(site: Site, contents: list[bytes]) -> None:
    for data in contents * 4:
        await site.blobs.put_bytes(data)
        await age(site, data)


async def test_bytes_that_could_not_be_deleted_keep_their_row(site: Site, tmp_path: Path) -> None:
    class Stuck(FolderStore):
        async def delete(self, sha256: bytes) -> None:
            raise BlobStoreError("no", sha256=sha256.hex())

    keeper = BlobKeeper(Stuck(tmp_path / "stuck"), site.database.write, BlobRules(1 << 20, HOUR))
    name = await keeper.put_bytes(b"stuck")
    await age(site, b"stuck")
    assert await keeper.collect() == 0
    assert await keeper.stat([name]) == {name: 5}


async def test_bytes_that_got_lost_are_stored_again(site: Site, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "lossy")
    keeper = BlobKeeper(store, site.database.write, BlobRules(1 << 20, HOUR))
    name = await keeper.put_bytes(b"lost")
    await store.delete(name)
    await keeper.put_bytes(b"lost")
    assert [block async for block in keeper.read(name)] == [b"lost"]


async def test_an_upload_that_breaks_off_leaves_nothing(site: Site) -> None:
    sent = asyncio.Event()

    async def half() -> AsyncIterator[pb.PutBlobRequest]:
        yield pb.PutBlobRequest(sha256=sha(b"whole"), data=b"wh")
        sent.set()
        await asyncio.Event().wait()

    call = site.blob.PutBlob(half())
    await sent.wait()
    call.cancel()
    assert await stored(site, sha(b"whole")) == {}

"""Workflow versions: one per change of meaning, immutable."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from podium.errors import WorkflowNotFoundError
from podium_coordinator.store import workflows
from podium_coordinator.store.pools import write_connection
from tests.store.builders import store_workflow

if TYPE_CHECKING:
    from podium_coordinator.store.pools import Connection


async def test_a_new_workflow_is_version_one(conn: Connection) -> None:
    record, created = await workflows.register(conn, "flights", b"d1", b"spec", b"b" * 32, 3)
    assert created
    assert (record.workflow, record.version, record.digest, record.bundle, record.task_count, record.spec) == (
        "flights",
        1,
        b"d1",
        b"b" * 32,
        3,
        None,
    )


async def test_a_definition_equal_to_the_newest_makes_no_version(conn: Connection) -> None:
    first, _ = await workflows.register(conn, "flights", b"d1", b"spec", None, 3)
    assert await workflows.register(conn, "flights", b"d1", b"spec", None, 3) == (first, False)


async def test_a_definition_equal_to_an_older_version_makes_a_new_one(conn: Connection) -> None:
    versions = [(await workflows.register(conn, "flights", digest, b"", None, 1))[0].version for digest in (b"1", b"2")]
    again, created = await workflows.register(conn, "flights", b"1", b"", None, 1)
    assert (versions, again.version, created) == ([1, 2], 3, True)


async def test_many_may_register_at_once(conn: Connection, database: str) -> None:
    links = [await write_connection(database, "test") for _ in range(6)]
    made = await asyncio.gather(
        *(workflows.register(link, "flights", bytes([n % 3]), b"", None, 1) for n, link in enumerate(links))
    )
    for link in links:
        await link.close()
    created = [record.version for record, new in made if new]
    listed = await workflows.list_versions(conn, "flights", None, 100)
    assert sorted(created) == [record.version for record in reversed(listed)] == list(range(1, len(created) + 1))


async def test_a_version_is_read_with_its_definition(conn: Connection) -> None:
    await workflows.register(conn, "flights", b"1", b"first", None, 1)
    await workflows.register(conn, "flights", b"2", b"second", None, 2)
    assert (await workflows.get(conn, "flights", 1)).spec == b"first"
    assert (await workflows.get(conn, "flights")).spec == b"second"


@pytest.mark.parametrize(("name", "version"), [("flights", 2), ("nothing", 0)])
async def test_a_version_that_is_not_there_is_not_found(conn: Connection, name: str, version: int) -> None:
    await store_workflow(conn)
    with pytest.raises(WorkflowNotFoundError):
        await workflows.get(conn, name, version)


async def test_the_newest_versions_are_listed_by_name_page_by_page(conn: Connection) -> None:
    for name in ("b", "a", "B", "c"):
        for digest in (b"1", b"2"):
            await workflows.register(conn, name, digest, b"", None, 1)
    first = await workflows.list_newest(conn, "", 3)
    rest = await workflows.list_newest(conn, first[-1].workflow, 3)
    assert [(each.workflow, each.version) for each in first + rest] == [("B", 2), ("a", 2), ("b", 2), ("c", 2)]


async def test_versions_are_listed_newest_first_page_by_page(conn: Connection) -> None:
    for digest in (b"1", b"2", b"3"):
        await workflows.register(conn, "flights", digest, b"", None, 1)
    first = await workflows.list_versions(conn, "flights", None, 2)
    rest = await workflows.list_versions(conn, "flights", first[-1].version, 2)
    assert [each.version for each in first + rest] == [3, 2, 1]
    assert await workflows.list_versions(conn, "flights", 1, 2) == []
    with pytest.raises(WorkflowNotFoundError):
        await workflows.list_versions(conn, "nothing", None, 2)

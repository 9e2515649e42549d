"""Commands as rows, and the hint that there are some."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

from podium_coordinator.store import commands
from tests.store.builders import new_run_id, store_run

if TYPE_CHECKING:
    from podium_coordinator.store.pools import Connection


async def test_commands_wait_for_the_owner_of_the_runs_shard_in_order(conn: Connection) -> None:
    run, elsewhere = await store_run(conn), await store_run(conn, shard=1)
    ids = [uuid4() for _ in range(3)]
    for command_id in ids:
        await commands.insert_command(conn, command_id, run.run_id, "cancel", "no\0need")
    await commands.insert_command(conn, uuid4(), elsewhere.run_id, "cancel", "")
    pending = await commands.pending_commands(conn, 0)
    assert [command.command_id for command in pending] == ids
    assert (pending[0].run_id, pending[0].kind, pending[0].reason) == (run.run_id, "cancel", "no\ufffdneed")
    assert len(await commands.pending_commands(conn, 0, 2)) == 2


async def test_a_command_given_twice_is_there_once(conn: Connection) -> None:
    run = await store_run(conn)
    command_id = uuid4()
    for _ in range(2):
        await commands.insert_command(conn, command_id, run.run_id, "cancel", "")
    assert len(await commands.pending_commands(conn, 0)) == 1


async def test_a_run_that_is_not_there_gets_no_command(conn: Connection) -> None:
    await commands.insert_command(conn, uuid4(), new_run_id(), "cancel", "")
    assert await commands.pending_commands(conn, 0) == []


async def test_a_hint_reaches_the_listeners_of_its_shard_only(conn: Connection, other: Connection) -> None:
    heard = commands.hints(other, 1)
    async with asyncio.timeout(20):
        await anext(heard)
        await commands.notify(conn, 0)
        await commands.notify(conn, 1)
        await anext(heard)
        more = asyncio.ensure_future(anext(heard))
        await asyncio.wait([more], timeout=0.05)
        assert not more.done()
        await commands.notify(conn, 1)
        await more
    await heard.aclose()

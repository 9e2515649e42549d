"""Agents as rows, and whose a name is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from podium.errors import AgentNotFoundError
from podium_coordinator.domain.states import AgentState
from podium_coordinator.store import agents
from podium_coordinator.store.batch import Batch
from tests.store.builders import an_agent, at, changed

if TYPE_CHECKING:
    from podium_coordinator.domain.records import AgentRecord
    from podium_coordinator.store.journal import Journal
    from podium_coordinator.store.pools import Connection


async def change(journal: Journal, *records: AgentRecord) -> None:
    await journal.commit(0, Batch(agents_changed=[changed(record) for record in records]))


async def names(conn: Connection) -> list[str]:
    return [record.name for record in await agents.list_agents(conn)]


async def test_an_agent_is_stored_as_it_is(conn: Connection, journal: Journal) -> None:
    agent = an_agent("web1", draining=True, host=b"\x08\x01")
    await change(journal, agent)
    assert await agents.get_agent(conn, "web1") == agent


async def test_an_agent_changes_and_the_last_word_of_a_batch_counts(conn: Connection, journal: Journal) -> None:
    agent = an_agent("web1")
    await change(journal, agent, replace(agent, state=AgentState.LOST, changed_at=at(1)))
    assert (await agents.get_agent(conn, "web1")).state is AgentState.LOST
    back = replace(agent, name="web2", connected_at=at(5), changed_at=at(5))
    await change(journal, back)
    assert await agents.list_agents(conn) == [back]


async def test_an_agent_that_is_not_there_is_not_found(conn: Connection) -> None:
    with pytest.raises(AgentNotFoundError):
        await agents.get_agent(conn, "web1")


async def test_agents_are_listed_by_name_page_by_page(conn: Connection, journal: Journal) -> None:
    await change(journal, *(an_agent(name) for name in ("c", "a", "b")))
    first = await agents.list_agents(conn, "", 2)
    rest = await agents.list_agents(conn, first[-1].name, 2)
    assert [record.name for record in first + rest] == ["a", "b", "c"]


async def test_a_name_goes_to_the_agent_that_connected_last_under_it(conn: Connection, journal: Journal) -> None:
    old, new = an_agent("web1"), an_agent("web1", connected_at=at(60))
    await change(journal, old)
    await change(journal, new)
    assert await agents.get_agent(conn, "web1") == new
    assert await names(conn) == ["web1", f"web1~{old.agent_id}"]


async def test_an_older_agent_does_not_take_its_name_back_by_changing(conn: Connection, journal: Journal) -> None:
    old, new = an_agent("web1"), an_agent("web1", connected_at=at(60))
    await change(journal, old)
    await change(journal, new)
    await change(journal, replace(old, state=AgentState.LOST))
    assert await agents.get_agent(conn, "web1") == new
    assert (await agents.get_agent(conn, f"web1~{old.agent_id}")).state is AgentState.LOST


async def test_two_agents_of_one_name_in_one_batch_are_told_apart(conn: Connection, journal: Journal) -> None:
    old, new = an_agent("web1"), an_agent("web1", connected_at=at(60))
    await change(journal, new, old)
    assert await names(conn) == ["web1", f"web1~{old.agent_id}"]
    await change(journal, old, new)
    assert (await agents.get_agent(conn, "web1")).agent_id == new.agent_id


async def test_an_agent_that_was_displaced_gets_the_name_when_it_connects_again(
    conn: Connection, journal: Journal
) -> None:
    first, second = an_agent("web1"), an_agent("web1", connected_at=at(60))
    await change(journal, first)
    await change(journal, second)
    await change(journal, replace(first, connected_at=at(120)))
    assert (await agents.get_agent(conn, "web1")).agent_id == first.agent_id
    assert await names(conn) == ["web1", f"web1~{second.agent_id}"]

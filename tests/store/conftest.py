"""Connections to a fresh database, and a journal under epoch 0, which nobody has taken over yet."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from podium_coordinator.store.journal import Journal, journal_connection
from podium_coordinator.store.pools import write_connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from podium_coordinator.store.pools import Connection


@pytest.fixture
async def conn(database: str) -> AsyncIterator[Connection]:
    link = await write_connection(database, "test")
    yield link
    await link.close()


@pytest.fixture
async def other(database: str) -> AsyncIterator[Connection]:
    link = await write_connection(database, "test-other")
    yield link
    await link.close()


@pytest.fixture
async def journal(database: str) -> AsyncIterator[Journal]:
    journal = Journal(partial(journal_connection, database, 0), 0)
    yield journal
    await journal.close()

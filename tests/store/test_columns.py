"""Columns against what Postgres makes of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium_coordinator.store.columns import Bigints, Blobs, Column, Flags, Ints, Texts, Times, Uuids
from podium_coordinator.store.values import text
from tests.store.dumping import take_columns

if TYPE_CHECKING:
    from podium_coordinator.store.pools import Connection

TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))

VALUES = st.one_of(
    st.tuples(st.just(Uuids), st.lists(st.uuids())),
    st.tuples(st.just(Ints), st.lists(st.integers(-(2**31), 2**31 - 1))),
    st.tuples(st.just(Bigints), st.lists(st.integers(-(2**63), 2**63 - 1))),
    st.tuples(st.just(Times), st.lists(st.none() | TIMES)),
    st.tuples(st.just(Flags), st.lists(st.booleans())),
    st.tuples(st.just(Blobs), st.lists(st.none() | st.binary())),
    st.tuples(st.just(Texts), st.lists(st.none() | TEXTS)),
)


async def echo(conn: Connection, column: Column) -> tuple[list[Any], str]:
    row = await (await conn.execute("SELECT %(it)s, pg_typeof(%(it)s)::text", {"it": column})).fetchone()
    assert row is not None
    return row


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES)
async def test_postgres_reads_a_column_as_the_values_it_was_made_of(
    conn: Connection, value: tuple[Any, list[Any]]
) -> None:
    kind, values = value
    take_columns(conn)
    assert (await echo(conn, kind.of(values)))[0] == values


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Uuids, "uuid[]"),
        (Ints, "integer[]"),
        (Bigints, "bigint[]"),
        (Times, "timestamp with time zone[]"),
        (Flags, "boolean[]"),
        (Blobs, "bytea[]"),
        (Texts, "text[]"),
    ],
)
async def test_a_column_has_its_type_even_when_empty(conn: Connection, kind: Any, name: str) -> None:
    take_columns(conn)
    assert await echo(conn, kind.of([])) == ([], name)


async def test_a_column_that_misses_every_value_keeps_its_type(conn: Connection) -> None:
    take_columns(conn)
    assert await echo(conn, Times.of([None, None])) == ([None, None], "timestamp with time zone[]")


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        Times.of([datetime(2026, 1, 1)])  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize("given", ["a\0b", "half \ud800 pair"])
async def test_text_that_postgres_cannot_hold_is_made_to_fit(conn: Connection, given: str) -> None:
    row = await (await conn.execute("SELECT %s::text", [text(given)])).fetchone()
    assert row is not None
    assert len(row[0]) == len(given)


def test_a_uuid_is_packed_in_network_order() -> None:
    assert Uuids.of([UUID(int=1)]).endswith(b"\0" * 15 + b"\1")

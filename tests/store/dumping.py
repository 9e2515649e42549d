"""Lets psycopg's own cursors take packed columns, so that a test can send one by itself and see what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import pq
from psycopg.adapt import Dumper

from podium_coordinator.store.columns import Bigints, Blobs, Column, Flags, Ints, Texts, Times, Uuids

if TYPE_CHECKING:
    from psycopg.abc import Buffer

    from podium_coordinator.store.pools import Connection


class _ColumnDumper(Dumper):
    """Hands the bytes on as they are."""

    format = pq.Format.BINARY

    def dump(self, obj: Column) -> Buffer | None:
        return obj


def _dumper(column: type[Column]) -> type[Dumper]:
    return type(f"{column.__name__}Dumper", (_ColumnDumper,), {"oid": column.oid})


_DUMPERS: Final = {column: _dumper(column) for column in (Uuids, Ints, Bigints, Times, Flags, Blobs, Texts)}


def take_columns(conn: Connection) -> None:
    """Let the connection take columns as parameters."""
    for column, dumper in _DUMPERS.items():
        conn.adapters.register_dumper(column, dumper)

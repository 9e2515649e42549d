"""A transaction's statements in one round trip, each prepared once per connection.

psycopg's own pipeline mode does the same for any statement and any type. Its cursors take some 80 us of Python per
statement for that, which was half of what an idle hop cost the coordinator; all the journal ever sends is a dozen
statements with columns that are packed already, and handing these to libpq takes a few.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result
from psycopg.waiting import Ready, Wait

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import LiteralString

    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn

    from podium_coordinator.store.columns import Column
    from podium_coordinator.store.pools import Connection

    Statement = tuple[LiteralString, Mapping[str, Column]]

_PARAMETER: Final = re.compile(r"%\((\w+)\)s")
_BINARY: Final = pq.Format.BINARY
_NONE: Final[Mapping[str, Column]] = {}


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A statement the server knows by `name`; `parameters` are in its order."""

    name: bytes
    parameters: tuple[str, ...]


class Pipeline:
    """Runs statements on one connection, which nobody else uses meanwhile."""

    def __init__(self, link: Connection) -> None:
        self.link = link
        self._prepared: dict[str, _Prepared] = {}
        self._numbers = count(1)

    async def transact(self, statements: Sequence[Statement]) -> None:
        """Run statements between BEGIN and COMMIT, in one round trip.

        Raises:
            psycopg.Error: With an SQLSTATE, the first that the server refused: the transaction is open and failed.
                Without one, the connection broke.
        """
        await self.link.wait(self._exchange([("BEGIN", _NONE), *statements, ("COMMIT", _NONE)]))

    def _exchange(self, statements: Sequence[Statement]) -> PQGen[None]:
        server = self.link.pgconn
        server.enter_pipeline_mode()
        fresh: dict[str, _Prepared] = {}
        for query, parameters in statements:
            self._send(server, query, parameters, fresh)
        server.pipeline_sync()
        yield from _flush(server)
        error = yield from _first_error(server)
        server.exit_pipeline_mode()
        if error is not None:
            raise error
        self._prepared |= fresh

    def _send(self, server: PGconn, query: str, parameters: Mapping[str, Column], fresh: dict[str, _Prepared]) -> None:
        known = self._prepared.get(query) or fresh.get(query)
        if known is None:
            # Under a new name each time it is tried: of one that failed nobody knows whether the server kept it.
            known = fresh[query] = _Prepared(b"podium_%d" % next(self._numbers), _names(query))
            types = [parameters[name].oid for name in known.parameters]
            server.send_prepare(known.name, _numbered(query, known.parameters), types)
        values = [parameters[name] for name in known.parameters]
        server.send_query_prepared(known.name, values, [_BINARY] * len(values))


def _names(query: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_PARAMETER.findall(query)))


def _numbered(query: str, names: tuple[str, ...]) -> bytes:
    return _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", query).encode()


def _flush(server: PGconn) -> PQGen[None]:
    """Send all; read meanwhile, for the server may wait to be read from."""
    while server.flush():
        if (yield Wait.RW) & Ready.R:
            server.consume_input()


def _first_error(server: PGconn) -> PQGen[psycopg.Error | None]:
    """Take in all results; return the first error among them."""
    error: psycopg.Error | None = None
    silent = False
    while True:
        while server.is_busy():
            if (yield Wait.R) & Ready.R:
                server.consume_input()
        result = server.get_result()
        if result is None:  # the end of one statement's results
            if silent:
                raise psycopg.OperationalError("The connection ended before all results came.")
            silent = True
            continue
        silent = False
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            return error
        if result.status == pq.ExecStatus.FATAL_ERROR and error is None:
            error = error_from_result(result)

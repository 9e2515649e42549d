"""Agents as rows. The journal writes them; usage and the time last heard are in the owner's memory only."""

# ruff: noqa: S608 - statements are put together from constants only: LiteralString, which mypy checks
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString

from psycopg.rows import kwargs_row

from podium.errors import AgentNotFoundError
from podium_coordinator.domain.records import AgentRecord
from podium_coordinator.domain.states import AgentState

if TYPE_CHECKING:
    from podium_coordinator.store.pools import Connection

_COLUMNS: Final[LiteralString] = "agent_id, name, state, host, draining, connected_at, changed_at"

LIST: Final[LiteralString] = f"SELECT {_COLUMNS} FROM agent WHERE name > %s ORDER BY name LIMIT %s"
GET: Final[LiteralString] = f"SELECT {_COLUMNS} FROM agent WHERE name = %s"


async def list_agents(conn: Connection, after: str = "", limit: int | None = None) -> list[AgentRecord]:
    """Return at most `limit` agents by name, after the name `after`; None: all.

    An agent whose name another one took over is there as `name~agent_id`.
    """
    async with conn.cursor(row_factory=kwargs_row(_agent)) as cursor:
        return await (await cursor.execute(LIST, [after, limit])).fetchall()


async def get_agent(conn: Connection, name: str) -> AgentRecord:
    """Return one agent.

    Raises:
        AgentNotFoundError: There is none of that name.
    """
    async with conn.cursor(row_factory=kwargs_row(_agent)) as cursor:
        found = await (await cursor.execute(GET, [name])).fetchone()
    if found is None:
        raise AgentNotFoundError(f"There is no agent {name}.", name=name)
    return found


def _agent(*, state: str, **columns: Any) -> AgentRecord:
    return AgentRecord(state=AgentState(state), **columns)

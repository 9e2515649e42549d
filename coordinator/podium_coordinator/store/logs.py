"""Where the log of an attempt is: in its row when small, in a blob when large, in the log folder until it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString

from psycopg.rows import kwargs_row

from podium.errors import AttemptNotFoundError
from podium_coordinator.domain.states import AttemptState

if TYPE_CHECKING:
    from uuid import UUID

    from podium_coordinator.store.pools import Connection

GET: Final[LiteralString] = """
    SELECT number, token, state, log AS inline, log_blob AS blob, log_bytes FROM attempt
    WHERE run_id = %(run_id)s AND task = %(task)s AND map_index = %(map_index)s
      AND (%(number)s = 0 OR number = %(number)s)
    ORDER BY number DESC
    LIMIT 1
"""

# The blob is set once: a repeated call with the same one changes nothing, another one is refused.
SET_BLOB: Final[LiteralString] = """
    WITH hit AS (
        UPDATE attempt SET log_blob = %(sha256)s, log_bytes = %(size)s
        WHERE run_id = %(run_id)s AND task = %(task)s AND map_index = %(map_index)s AND number = %(number)s
          AND state NOT IN ('assigned', 'running') AND (log_blob IS NULL OR log_blob = %(sha256)s)
        RETURNING run_id, task, map_index, number
    ), reference AS (
        INSERT INTO attempt_blob (run_id, task, map_index, number, purpose, sha256, name, size)
        SELECT run_id, task, map_index, number, 'log', %(sha256)s, '', %(size)s FROM hit
        ON CONFLICT DO NOTHING
    )
    SELECT count(*) FROM hit
"""


@dataclass(frozen=True, slots=True)
class AttemptLog:
    """Where to find a log. `inline` and `blob` (a SHA-256) are None unless it is there; `log_bytes` is its length."""

    number: int
    token: UUID
    state: AttemptState
    inline: bytes | None
    blob: bytes | None
    log_bytes: int


async def attempt_log(conn: Connection, run_id: UUID, task: int, map_index: int, number: int = 0) -> AttemptLog:
    """Return where an attempt's log is; number 0 is the newest attempt.

    Raises:
        AttemptNotFoundError: There is no such attempt.
    """
    named = {"run_id": run_id, "task": task, "map_index": map_index, "number": number}
    async with conn.cursor(row_factory=kwargs_row(_log)) as cursor:
        found = await (await cursor.execute(GET, named)).fetchone()
    if found is None:
        raise AttemptNotFoundError(
            f"Task {task} of run {run_id} has no attempt{f' {number}' if number else ''}.",
            run_id=str(run_id),
            task=task,
            map_index=map_index,
            number=number,
        )
    return found


async def set_log_blob(
    conn: Connection, run_id: UUID, task: int, map_index: int, number: int, sha256: bytes, size: int
) -> bool:
    """Say that the log of an attempt that ended is the blob `sha256` of `size` bytes.

    Returns:
        False, and changes nothing, when the attempt has not ended or its log is another blob.
    """
    row = {"run_id": run_id, "task": task, "map_index": map_index, "number": number, "sha256": sha256, "size": size}
    found = await (await conn.execute(SET_BLOB, row)).fetchone()
    return found is not None and found[0] == 1


def _log(*, state: str, **columns: Any) -> AttemptLog:
    return AttemptLog(state=AttemptState(state), **columns)

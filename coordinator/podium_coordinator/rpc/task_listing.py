"""Pages of task runs. A task run that waits has no row; here its place in the definition gives it one."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from podium_coordinator.domain.records import TaskRunRecord
from podium_coordinator.domain.states import TaskRunState
from podium_coordinator.rpc.following import rowless_state
from podium_coordinator.store import task_runs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence
    from uuid import UUID

    from podium_coordinator.domain.records import RunRecord
    from podium_coordinator.store.pools import Pool

Place = tuple[int, int]
"""The position of a task and a map index."""

BEGINNING: Final[Place] = (-1, task_runs.LAST_INDEX)
_ROWLESS: Final = frozenset({TaskRunState.PENDING, TaskRunState.SCHEDULED, TaskRunState.CANCELLED})
_WINDOW: Final = 1000


class TaskListing:
    """Lists a run's task runs in the order of the definition."""

    def __init__(self, pool: Pool) -> None:
        """`pool` gives connections that read."""
        self._pool = pool

    async def page(
        self, run: RunRecord, ready: frozenset[int], states: frozenset[TaskRunState], after: Place, count: int
    ) -> list[TaskRunRecord]:
        """Return at most `count` task runs after a place, in one of `states` (none: in any)."""
        if states and not states & _ROWLESS:
            return await self._rows(run.run_id, after, count, states)
        found: list[TaskRunRecord] = []
        async with aclosing(self._all(run, ready, after)) as records:
            async for record in records:
                if not states or record.state in states:
                    found.append(record)
                    if len(found) == count:
                        break
        return found

    async def _all(self, run: RunRecord, ready: frozenset[int], after: Place) -> AsyncGenerator[TaskRunRecord, None]:
        while True:
            rows = await self._rows(run.run_id, after, _WINDOW)
            whole = len(rows) < _WINDOW
            for record in _with_gaps(run, ready, rows, after[0], run.task_count if whole else rows[-1].task):
                yield record
            if whole:
                return
            after = (rows[-1].task, rows[-1].map_index)
            await asyncio.sleep(0)

    async def _rows(
        self, run_id: UUID, after: Place, count: int, states: frozenset[TaskRunState] = frozenset()
    ) -> list[TaskRunRecord]:
        async with self._pool.connection() as conn:
            return await task_runs.list_task_runs(
                conn, run_id, after[0], count, after_map_index=after[1], states=states
            )


def _with_gaps(
    run: RunRecord, ready: frozenset[int], rows: Sequence[TaskRunRecord], task: int, end: int
) -> Iterator[TaskRunRecord]:
    """Yield rows, and a record for each task between `task` and `end`, both left out, that has none."""
    for row in rows:
        yield from _rowless(run, ready, range(task + 1, row.task))
        yield row
        task = row.task
    yield from _rowless(run, ready, range(task + 1, end))


def _rowless(run: RunRecord, ready: frozenset[int], tasks: range) -> Iterator[TaskRunRecord]:
    for task in tasks:
        state = rowless_state(run, task in ready)
        ended = run.finished_at if state is TaskRunState.CANCELLED else None
        yield TaskRunRecord(task, -1, state, finished_at=ended)

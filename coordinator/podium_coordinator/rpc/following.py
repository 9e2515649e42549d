"""Follows a run: by signals where its shard's owner is this process, by looking once a second where it is not.

Whatever the source, what is yielded first is a snapshot, and so is the first thing after a change of source (the shard
was taken over, the run was taken up or ended). Looking at the database goes on only while somebody follows, and begins
with short pauses: a run that was just created is taken up within milliseconds, and may be over soon after.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Final

from podium_coordinator.domain.records import RunUpdate
from podium_coordinator.domain.states import RUN_TERMINAL, RunState, TaskRunState
from podium_coordinator.store import runs, task_runs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping
    from uuid import UUID

    from podium_coordinator.domain.records import RunRecord, TaskRunRecord
    from podium_coordinator.rpc.owner import RunNews, ShardView
    from podium_coordinator.store.pools import Connection, Pool

POLL: Final = 1.0
"""Seconds between two looks at a run that is not under way here; the first looks follow each other faster."""

_FIRST_PAUSE: Final = 0.01
_LATEST: Final = 3.0
"""Seconds of a pause at most, however long a look took: it may have waited for a database that is back by now."""

_PAGE: Final = 5000
_STOPPED: Final = RUN_TERMINAL | {RunState.CANCELLING}


class Follower:
    """Gives news of runs, whoever owns them."""

    def __init__(self, pool: Pool, shard: ShardView, poll: float = POLL) -> None:
        """`pool` gives connections that read."""
        self._pool = pool
        self._shard = shard
        self._poll = poll

    async def updates(self, run_id: UUID, run_only: bool) -> AsyncGenerator[RunUpdate, None]:
        """Yield a snapshot, then changes, until the run's end has been told. Raises RunNotFoundError."""
        told: RunUpdate | None = None
        pauses = _Pauses(self._poll)
        while told is None or told.run.state not in RUN_TERMINAL:
            news = await self._shard.subscribe(run_id, run_only)
            if news is not None:
                async with aclosing(_until_cut(news)) as changes:
                    async for told in changes:
                        yield told
            else:
                with pauses.looking():
                    found = await self._look(run_id, run_only)
                if found != told:
                    told = found
                    yield told
                if told.run.state not in RUN_TERMINAL:
                    await pauses.next()

    async def now(self, run_id: UUID) -> RunUpdate:
        """Return how a run stands, with counts. Raises RunNotFoundError."""
        async with aclosing(self.updates(run_id, run_only=True)) as updates:
            return await anext(updates)

    async def ticks(self, run_id: UUID) -> AsyncGenerator[RunState, None]:
        """Yield the run's state now, and each time something about the run may have changed, until it ends.

        Unlike `updates` this reads one row a look, and may say nothing new. Raises RunNotFoundError.
        """
        state = None
        pauses = _Pauses(self._poll)
        while state not in RUN_TERMINAL:
            news = await self._shard.subscribe(run_id, True)
            if news is not None:
                async with aclosing(_until_cut(news)) as changes:
                    async for update in changes:
                        state = update.run.state
                        yield state
            else:
                with pauses.looking():
                    state = (await self._run(run_id)).state
                yield state
                if state not in RUN_TERMINAL:
                    await pauses.next()

    async def _run(self, run_id: UUID) -> RunRecord:
        async with self._pool.connection() as conn:
            return await runs.get_run(conn, run_id)

    async def _look(self, run_id: UUID, run_only: bool) -> RunUpdate:
        async with self._pool.connection() as conn:
            run = await runs.get_run(conn, run_id)
            counts = run.counts if run.counts is not None else await task_runs.count_task_runs(conn, run_id)
            known = () if run_only else await _known(conn, run_id)
        return RunUpdate(run, filled_counts(run, counts, self._shard.ready(run_id)), known, snapshot=True)


class _Pauses:
    """Pauses between looks: from short to `longest`; where looks are slow, ten times what one takes, to a bound."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._pause = _FIRST_PAUSE
        self._took = 0.0

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Measure a look."""
        began = asyncio.get_running_loop().time()
        yield
        self._took = asyncio.get_running_loop().time() - began

    async def next(self) -> None:
        """Pause."""
        await asyncio.sleep(max(min(self._pause, self._longest), min(10 * self._took, _LATEST)))
        self._pause *= 2


async def _until_cut(news: RunNews) -> AsyncGenerator[RunUpdate, None]:
    try:
        async for update in news:
            yield update
    finally:
        news.close()


async def _known(conn: Connection, run_id: UUID) -> tuple[TaskRunRecord, ...]:
    known: list[TaskRunRecord] = []
    while True:
        task, map_index = (known[-1].task, known[-1].map_index) if known else (-1, task_runs.LAST_INDEX)
        page = await task_runs.list_task_runs(conn, run_id, task, _PAGE, after_map_index=map_index)
        known += page
        if len(page) < _PAGE:
            return tuple(known)


def rowless_state(run: RunRecord, ready: bool) -> TaskRunState:
    """Return the state of a task run that has no row: nothing starts any more in a run that ends or is over."""
    if run.state in _STOPPED:
        return TaskRunState.CANCELLED
    return TaskRunState.SCHEDULED if ready else TaskRunState.PENDING


def filled_counts(run: RunRecord, known: Mapping[TaskRunState, int], ready: frozenset[int]) -> dict[TaskRunState, int]:
    """Return the counts of all task runs, from those that have rows and the tasks that wait for capacity."""
    counts = dict(known)
    rowless = run.task_count - sum(counts.values())
    waiting = min(rowless, max(0, len(ready) - counts.get(TaskRunState.SCHEDULED, 0)))
    for is_ready, count in ((True, waiting), (False, rowless - waiting)):
        if count > 0:
            state = rowless_state(run, is_ready)
            counts[state] = counts.get(state, 0) + count
    return counts

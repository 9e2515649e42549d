"""Watchers of runs.

Each has a merged view of what changed since it last looked, so a slow one costs no more than the run has task runs, and
is never told anything wrong.

A task run's records are ordered by attempt and by how far the attempt came; of two records the later one stands. That
lets a snapshot read from the database and changes told by the shard loop be merged in any order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from uuid import UUID

from podium_coordinator.domain.records import RunRecord, RunUpdate, TaskRunRecord
from podium_coordinator.domain.states import RUN_TERMINAL, TASK_RUN_TERMINAL, TaskRunState

Snapshot = Callable[[UUID], Awaitable[tuple[TaskRunRecord, ...]]]
"""Reads the task runs of a run that have rows."""

_PROGRESS = {
    TaskRunState.PENDING: 0,
    TaskRunState.ASSIGNED: 1,
    TaskRunState.RUNNING: 2,
    TaskRunState.WAITING: 3,
    TaskRunState.RETRYING: 4,
    TaskRunState.SCHEDULED: 5,
}


def age(record: TaskRunRecord) -> tuple[int, int]:
    """Return what orders the records of one task run in time."""
    return record.attempt, 6 if record.state in TASK_RUN_TERMINAL else _PROGRESS[record.state]


class Subscription:
    """One watcher of one run: an asynchronous iterator that ends after the run's end was told."""

    def __init__(
        self,
        run: RunRecord,
        counts: dict[TaskRunState, int],
        run_only: bool,
        snapshot: Snapshot,
        leave: Callable[[Subscription], None],
    ) -> None:
        self.run_only = run_only
        self._run = run
        self._counts = counts
        self._changed: dict[tuple[int, int], TaskRunRecord] = {}
        self._news = asyncio.Event()
        self._news.set()
        self._snapshot = snapshot
        self._leave = leave
        self._cut = False

    @property
    def run_id(self) -> UUID:
        """The run that is watched."""
        return self._run.run_id

    def tell(self, run: RunRecord, counts: dict[TaskRunState, int], changed: Iterable[TaskRunRecord]) -> None:
        """Merge what was committed."""
        self._run, self._counts = run, counts
        if not self.run_only:
            for record in changed:
                self._merge(record)
        self._news.set()

    def cut(self) -> None:
        """End the iteration early: this coordinator no longer owns the run."""
        self._cut = True
        self._news.set()

    def close(self) -> None:
        """Stop watching."""
        self._leave(self)

    def _merge(self, record: TaskRunRecord) -> None:
        key = (record.task, record.map_index)
        known = self._changed.get(key)
        if known is None or age(record) >= age(known):
            self._changed[key] = record

    async def __aiter__(self) -> AsyncIterator[RunUpdate]:
        """Yield a snapshot, then changes."""
        first = True
        while True:
            await self._news.wait()
            self._news.clear()
            if first and not self.run_only:
                for record in await self._snapshot(self.run_id):
                    self._merge(record)
            if self._cut:
                return
            yield self._take(first)
            first = False
            if self._run.state in RUN_TERMINAL and not self._news.is_set():
                return

    def _take(self, snapshot: bool) -> RunUpdate:
        changed = tuple(self._changed[key] for key in sorted(self._changed))
        self._changed.clear()
        return RunUpdate(self._run, self._counts, changed, snapshot)


class Watchers:
    """All subscriptions by run."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._by_run: dict[UUID, set[Subscription]] = {}

    def subscribe(self, run: RunRecord, counts: dict[TaskRunState, int], run_only: bool) -> Subscription:
        """Begin to watch a run."""
        subscription = Subscription(run, counts, run_only, self._snapshot, self._leave)
        self._by_run.setdefault(run.run_id, set()).add(subscription)
        return subscription

    @property
    def any_in_detail(self) -> bool:
        """Whether anybody watches the task runs of any run."""
        return any(not each.run_only for subscriptions in self._by_run.values() for each in subscriptions)

    def watched(self, run_id: UUID) -> bool:
        """Whether anybody watches a run."""
        return run_id in self._by_run

    def watched_in_detail(self, run_id: UUID) -> bool:
        """Whether anybody watches a run's task runs."""
        return any(not each.run_only for each in self._by_run.get(run_id, ()))

    def tell(self, run: RunRecord, counts: dict[TaskRunState, int], changed: list[TaskRunRecord]) -> None:
        """Tell a run's watchers what was committed."""
        for subscription in self._by_run.get(run.run_id, ()):
            subscription.tell(run, counts, changed)

    def cut_all(self) -> None:
        """End all subscriptions."""
        for subscriptions in self._by_run.values():
            for subscription in subscriptions:
                subscription.cut()

    def _leave(self, subscription: Subscription) -> None:
        subscriptions = self._by_run.get(subscription.run_id)
        if subscriptions is not None:
            subscriptions.discard(subscription)
            if not subscriptions:
                del self._by_run[subscription.run_id]

"""Workflow versions as the API needs them: keys, leaves and parameters, read once and kept while they fit."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from podium.errors import TaskNotFoundError
from podium.model.spec import WorkflowSpec
from podium.v1 import workflow_pb2
from podium.wire import workflow_from_proto
from podium_coordinator.store import workflows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podium_coordinator.domain.records import RunRecord, WorkflowRecord
    from podium_coordinator.store.pools import Pool

MOST_TASKS_KEPT: Final = 500_000
"""Tasks of all kept versions together; the least recently used go first."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version. `head` is its definition without tasks; `keys` by position; `leaves` are what nothing follows."""

    head: WorkflowSpec
    number: int
    keys: tuple[str, ...]
    positions: dict[str, int]
    leaves: tuple[int, ...]

    def position(self, key: str) -> int:
        """Return where a task stands in the definition. Raises TaskNotFoundError."""
        found = self.positions.get(key)
        if found is None:
            shown = key if len(key) <= 200 else f"{key[:200]}..."
            raise TaskNotFoundError(
                f'Version {self.number} of workflow {self.head.name} has no task "{shown}".',
                task=shown,
                workflow=self.head.name,
                version=self.number,
            )
        return found


def prepare(record: WorkflowRecord) -> Version:
    """Prepare a stored version. Takes some microseconds per task: call it off the event loop."""
    message = workflow_pb2.WorkflowSpec.FromString(record.spec or b"")
    keys = tuple(task.key for task in message.tasks)
    followed = {upstream for task in message.tasks for upstream in task.upstream}
    leaves = tuple(position for position, key in enumerate(keys) if key not in followed)
    message.ClearField("tasks")
    positions = {key: position for position, key in enumerate(keys)}
    return Version(workflow_from_proto(message), record.version, keys, positions, leaves)


class Versions:
    """Reads versions through a bounded cache. A version never changes, so nothing in it can be out of date."""

    def __init__(self, pool: Pool, most_tasks: int = MOST_TASKS_KEPT) -> None:
        self._pool = pool
        self._most_tasks = most_tasks
        self._kept: OrderedDict[tuple[str, int], Version] = OrderedDict()
        self._tasks = 0
        self._reading = asyncio.Semaphore(2)

    async def get(self, workflow: str, number: int) -> Version:
        """Return a version; number 0 is the newest. Raises WorkflowNotFoundError."""
        if number == 0:
            number = await self._newest(workflow)
        known = self._known(workflow, number)
        if known is not None:
            return known
        async with self._reading:
            return self._known(workflow, number) or await self._read(workflow, number)

    async def of(self, run: RunRecord) -> Version:
        """Return the version a run executes."""
        return await self.get(run.workflow, run.version)

    async def keys(self, run: RunRecord) -> Sequence[str]:
        """Return the keys of a run's tasks by position."""
        return (await self.of(run)).keys

    async def _newest(self, workflow: str) -> int:
        async with self._pool.connection() as conn:
            (newest,) = await workflows.list_versions(conn, workflow, None, 1)
        return newest.version

    def _known(self, workflow: str, number: int) -> Version | None:
        version = self._kept.get((workflow, number))
        if version is not None:
            self._kept.move_to_end((workflow, number))
        return version

    async def _read(self, workflow: str, number: int) -> Version:
        async with self._pool.connection() as conn:
            record = await workflows.get(conn, workflow, number)
        version = await asyncio.to_thread(prepare, record)
        self._kept[workflow, number] = version
        self._tasks += len(version.keys)
        while self._tasks > self._most_tasks and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._tasks -= len(oldest.keys)
        return version

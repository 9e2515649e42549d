"""RunService: starts, follows, reads and cancels runs."""

# ruff: noqa: N802 - the names are the contract's

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from podium.errors import OutputsTooLargeError
from podium.v1 import run_pb2 as pb
from podium.v1 import run_pb2_grpc
from podium_coordinator.rpc import batches, pages, parse, render
from podium_coordinator.rpc.outputs import output
from podium_coordinator.rpc.starting import Wish
from podium_coordinator.rpc.task_listing import BEGINNING
from podium_coordinator.store import runs, task_runs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    import grpc.aio

    from podium_coordinator.domain.records import AttemptRecord, Failure, RunRecord, RunUpdate, TaskRunRecord
    from podium_coordinator.rpc.following import Follower
    from podium_coordinator.rpc.owner import ShardView
    from podium_coordinator.rpc.starting import Starter
    from podium_coordinator.rpc.task_listing import TaskListing
    from podium_coordinator.rpc.versions import Versions
    from podium_coordinator.store.pools import Pool

    Context = grpc.aio.ServicerContext[object, object]

_RUNS_AT_ONCE: Final = 100
_TASK_RUNS_IN_A_MESSAGE: Final = 1000
_MESSAGE_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class RunParts:
    """What RunService works with; `pool` gives connections that read."""

    pool: Pool
    shard: ShardView
    versions: Versions
    follower: Follower
    starter: Starter
    listing: TaskListing
    max_outputs_bytes: int


class RunService(run_pb2_grpc.RunServiceServicer):
    """Serves podium.v1.RunService."""

    def __init__(self, parts: RunParts) -> None:
        self._parts = parts

    async def CreateRun(self, request: pb.CreateRunRequest, context: Context) -> pb.CreateRunResponse:
        """Start a run; see the contract."""
        del context
        run, created = await self._parts.starter.start(batches.wish(request))
        return pb.CreateRunResponse(run=render.run(run), created=created)

    async def CreateRuns(self, request: pb.CreateRunsRequest, context: Context) -> pb.CreateRunsResponse:
        """Start many runs; see the contract."""
        del context
        wishes = await batches.wishes(request)
        started = iter(await self._parts.starter.start_many([wish for wish in wishes if isinstance(wish, Wish)]))
        return await batches.answer([next(started) if isinstance(wish, Wish) else wish for wish in wishes])

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:
        """Read one run; see the contract."""
        del context
        now = await self._parts.follower.now(parse.run_id(request.run_id))
        return pb.GetRunResponse(run=render.run(now.run, now.counts))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        """List runs; see the contract."""
        del context
        size, after = pages.page_size(request), pages.place(request, UUID)
        found = await self._some_runs(parse.run_filter(request.filter), after, size + 1)
        shown, last = pages.cut(found, size, _run_weight)
        return pb.ListRunsResponse(
            runs=await asyncio.to_thread(lambda: [render.run(run) for run in shown]),
            next_page_token=pages.token(request, last.run_id) if last else "",
        )

    async def WatchRun(self, request: pb.WatchRunRequest, context: Context) -> AsyncIterator[pb.WatchRunResponse]:
        """Follow a run; see the contract."""
        del context
        updates = self._parts.follower.updates(parse.run_id(request.run_id), request.run_only)
        async with aclosing(updates):
            async for update in updates:
                keys = await self._parts.versions.keys(update.run)
                for message in _told(update, keys):
                    yield message

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:
        """Cancel a run; see the contract."""
        del context
        run = await self._parts.starter.cancel(parse.run_id(request.run_id), parse.reason(request.reason))
        return pb.CancelRunResponse(run=render.run(run))

    async def ListTaskRuns(self, request: pb.ListTaskRunsRequest, context: Context) -> pb.ListTaskRunsResponse:
        """List task runs; see the contract."""
        del context
        size, states = pages.page_size(request), parse.task_run_states(request.states)
        after = pages.place(request, tuple[pages.Count, pages.Count]) or BEGINNING
        run = await self._run(request.run_id)
        ready = self._parts.shard.ready(run.run_id)
        found = await self._parts.listing.page(run, ready, states, after, size + 1)
        shown, last = pages.cut(found, size, _weight)
        keys = await self._parts.versions.keys(run)
        return pb.ListTaskRunsResponse(
            task_runs=[render.task_run(record, keys[record.task]) for record in shown],
            next_page_token=pages.token(request, (last.task, last.map_index)) if last else "",
        )

    async def ListAttempts(self, request: pb.ListAttemptsRequest, context: Context) -> pb.ListAttemptsResponse:
        """List attempts; see the contract."""
        del context
        size = pages.page_size(request)
        after = pages.place(request, tuple[pages.Count, pages.Count, pages.Count])
        run = await self._run(request.run_id)
        version = await self._parts.versions.of(run)
        task = version.position(request.task) if request.task else None
        async with self._parts.pool.connection() as conn:
            found = await task_runs.list_attempts(conn, run.run_id, after, size + 1, task=task)
        shown, last = pages.cut(found, size, _weight)
        return pb.ListAttemptsResponse(
            attempts=[render.attempt(record, version.keys[record.task]) for record in shown],
            next_page_token=pages.token(request, (last.task, last.map_index, last.number)) if last else "",
        )

    async def GetOutputs(self, request: pb.GetOutputsRequest, context: Context) -> pb.GetOutputsResponse:
        """Read outputs; see the contract."""
        del context
        parse.few_enough("tasks", len(request.tasks))
        run = await self._run(request.run_id)
        version = await self._parts.versions.of(run)
        tasks = [version.position(key) for key in request.tasks] or list(version.leaves)
        async with self._parts.pool.connection() as conn:
            size = await task_runs.outputs_size(conn, run.run_id, tasks)
            self._bound_outputs(size)
            found = await task_runs.load_outputs(conn, run.run_id, tasks)
        outputs = await asyncio.to_thread(
            lambda: [output(version.keys[task], index, found[task, index], size) for task, index in sorted(found)]
        )
        return pb.GetOutputsResponse(outputs=outputs)

    def _bound_outputs(self, size: int) -> None:
        limit = self._parts.max_outputs_bytes
        if size > limit:
            raise OutputsTooLargeError(
                f"The outputs have {size} bytes; the limit for one answer is {limit} (setting max_outputs_bytes):"
                " ask for fewer tasks.",
                size=size,
                limit=limit,
            )

    async def _run(self, given: str) -> RunRecord:
        run_id = parse.run_id(given)
        async with self._parts.pool.connection() as conn:
            return await runs.get_run(conn, run_id)

    async def _some_runs(self, which: runs.RunFilter, after: UUID | None, count: int) -> list[RunRecord]:
        """Read runs in portions, since each may have large parameters, until there are enough for a page."""
        found: list[RunRecord] = []
        weight = 0
        while len(found) < count and weight <= pages.MOST_BYTES:
            portion = min(_RUNS_AT_ONCE, count - len(found))
            async with self._parts.pool.connection() as conn:
                some = await runs.list_runs(conn, which, found[-1].run_id if found else after, portion)
            found += some
            weight += sum(map(_run_weight, some))
            if len(some) < portion:
                break
        return found


def _told(update: RunUpdate, keys: Sequence[str]) -> Iterator[pb.WatchRunResponse]:
    """Yield an update as messages of bounded size; all but the first of them add to it."""
    snapshot = update.snapshot
    for records in _portions(update.task_runs):
        yield pb.WatchRunResponse(
            run=render.run(update.run, update.counts),
            task_runs=[render.task_run(record, keys[record.task]) for record in records],
            snapshot=snapshot,
        )
        snapshot = False


def _portions(records: Sequence[TaskRunRecord]) -> Iterator[Sequence[TaskRunRecord]]:
    begin, weight = 0, 0
    for position, record in enumerate(records):
        weight += _weight(record)
        if position > begin and (position - begin == _TASK_RUNS_IN_A_MESSAGE or weight > _MESSAGE_BYTES):
            yield records[begin:position]
            begin, weight = position, _weight(record)
    yield records[begin:]


def _run_weight(run: RunRecord) -> int:
    return 500 + 3 * len(run.params)


def _weight(record: TaskRunRecord | AttemptRecord) -> int:
    return 300 + _failure_weight(record.failure)


def _failure_weight(failure: Failure | None) -> int:
    return 0 if failure is None else 4 * (len(failure.message) + len(failure.traceback))

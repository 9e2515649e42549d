"""Starts runs and asks for their cancellation: rows first, then a hint to whoever owns the shard."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from podium.errors import (
    BatchTooLargeError,
    InvalidArgumentError,
    NotFoundError,
    PodiumError,
    RunAlreadyFinishedError,
    UnavailableError,
)
from podium.model.exactness import json_bytes
from podium.model.parameters import resolve
from podium_coordinator.domain.ids import RANDOM_BITS, uuid7
from podium_coordinator.domain.records import RunRecord
from podium_coordinator.domain.states import RUN_TERMINAL, RunState
from podium_coordinator.store import commands, runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from podium_coordinator.rpc.database import Database
    from podium_coordinator.rpc.following import Follower
    from podium_coordinator.rpc.owner import ShardView
    from podium_coordinator.rpc.versions import Version, Versions

PATIENCE: Final = 2.0
"""Seconds a cancellation waits to see that the owner has taken it up."""

MOST_BATCH_BYTES: Final = 8 << 20
"""Bytes of the requests of one call, and of their parameters as JSON."""
AT_ONE_GO: Final = 50
"""Runs of a batch that are prepared before others get their turn on the event loop."""

_HEEDED: Final = RUN_TERMINAL | {RunState.CANCELLING}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller asks for: a run of `workflow` in `version` (0: the newest) with the parameters `given`."""

    workflow: str
    version: int
    given: Mapping[str, Any]
    request_id: str | None

    def fingerprint(self) -> bytes:
        """Return a digest, equal for equal wishes."""
        return hashlib.sha256(json_bytes([self.workflow, self.version, dict(self.given)])).digest()


class Starter:
    """Makes the rows of runs and commands. `shard_number` is the shard that new runs belong to."""

    def __init__(
        self, database: Database, shard: ShardView, versions: Versions, follower: Follower, shard_number: int = 0
    ) -> None:
        self._database = database
        self._shard = shard
        self._versions = versions
        self._follower = follower
        self._shard_number = shard_number

    async def start(self, wish: Wish) -> tuple[RunRecord, bool]:
        """Commit a new run and return it and True; or the run that an equal request made before, and False.

        Raises:
            WorkflowNotFoundError: There is no such workflow or version.
            InvalidParametersError: The parameters do not fit.
            RequestIdReusedError: The request id came before, with another request.
        """
        version = await self._versions.get(wish.workflow, wish.version)
        made = _new_run(wish, version, self._shard_number)
        async with self._database.write.connection() as conn:
            run, created = await runs.insert_run(conn, made, wish.fingerprint())
        if created:
            await self._hint(run)
        return run, created

    async def start_many(self, wishes: Sequence[Wish]) -> list[tuple[RunRecord, bool] | PodiumError]:
        """Commit new runs in one transaction; return for each wish what `start` would return or raise, in order.

        Raises:
            BatchTooLargeError: All their parameters together are too large.
        """
        versions = await self._versions_of(wishes)
        outcomes: list[RunRecord | PodiumError] = []
        for position, wish in enumerate(wishes):
            outcomes.append(_tried(wish, versions[wish.workflow, wish.version], self._shard_number))
            if position % AT_ONE_GO == AT_ONE_GO - 1:
                await asyncio.sleep(0)
        made = [(run, wish) for run, wish in zip(outcomes, wishes, strict=True) if isinstance(run, RunRecord)]
        _bound(made)
        async with self._database.write.connection() as conn:
            stored = await runs.insert_runs(conn, [(run, wish.fingerprint()) for run, wish in made])
        await self._hint(*[outcome[0] for outcome in stored if isinstance(outcome, tuple) and outcome[1]])
        in_order = iter(stored)
        return [outcome if isinstance(outcome, PodiumError) else next(in_order) for outcome in outcomes]

    async def _versions_of(self, wishes: Sequence[Wish]) -> dict[tuple[str, int], Version | NotFoundError]:
        found: dict[tuple[str, int], Version | NotFoundError] = {}
        for name in dict.fromkeys((wish.workflow, wish.version) for wish in wishes):
            try:
                found[name] = await self._versions.get(*name)
            except NotFoundError as error:
                found[name] = error
        return found

    async def cancel(self, run_id: UUID, reason: str) -> RunRecord:
        """Ask for a run's end; return the run, as a rule once the owner has taken that up.

        Raises:
            RunNotFoundError: There is no such run.
            RunAlreadyFinishedError: It has ended.
        """
        async with self._database.write.connection() as conn:
            run = await runs.get_run(conn, run_id)
            if run.state in RUN_TERMINAL:
                raise RunAlreadyFinishedError(
                    f"Run {run_id} has ended: it {_ENDED[run.state]}.", run_id=str(run_id), state=run.state.value
                )
            await commands.insert_command(conn, _new_id(), run_id, "cancel", reason)
            if not self._shard.owned:
                await commands.notify(conn, run.shard)
        self._shard.wake()
        return await self._heeded(run)

    async def _heeded(self, run: RunRecord) -> RunRecord:
        """Follow the run until it is being cancelled, for a bounded time; the command holds in any case."""
        try:
            async with (
                asyncio.timeout(PATIENCE),
                aclosing(self._follower.updates(run.run_id, run_only=True)) as updates,
            ):
                async for update in updates:
                    run = update.run
                    if run.state in _HEEDED:
                        break
        except TimeoutError:
            return run
        return run

    async def _hint(self, *made: RunRecord) -> None:
        """Tell the owner; a hint that cannot be given costs time only, since the row is found by a sweep."""
        if self._shard.owned:
            try:
                for run in made:
                    self._shard.submit(run)
            except UnavailableError:
                return
        elif made:
            async with self._database.write.connection() as conn:
                await commands.notify(conn, self._shard_number)


_ENDED: Final = {
    RunState.SUCCEEDED: "succeeded",
    RunState.FAILED: "failed",
    RunState.CANCELLED: "was cancelled",
}


def _tried(wish: Wish, version: Version | NotFoundError, shard_number: int) -> RunRecord | PodiumError:
    if isinstance(version, NotFoundError):
        return version
    try:
        return _new_run(wish, version, shard_number)
    except InvalidArgumentError as error:
        return error


def _bound(made: Sequence[tuple[RunRecord, Wish]]) -> None:
    size = sum(len(run.params) for run, _ in made)
    if size > MOST_BATCH_BYTES:
        raise BatchTooLargeError(
            f"The parameters of the {len(made)} runs have {size} bytes as JSON; the limit for one call is"
            f" {MOST_BATCH_BYTES}: start them in several calls.",
            size=size,
            limit=MOST_BATCH_BYTES,
        )


def _new_run(wish: Wish, version: Version, shard_number: int) -> RunRecord:
    return RunRecord(
        run_id=_new_id(),
        shard=shard_number,
        workflow=wish.workflow,
        version=version.number,
        task_count=len(version.keys),
        params=json_bytes(resolve(version.head, wish.given)),
        state=RunState.QUEUED,
        request_id=wish.request_id,
        trace_id=os.urandom(16),
        created_at=datetime.now(UTC),
    )


def _new_id() -> UUID:
    draw = int.from_bytes(os.urandom(10), "big") >> (80 - RANDOM_BITS)
    return uuid7(time.time_ns() // 1_000_000, draw)

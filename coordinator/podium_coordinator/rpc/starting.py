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

from podium.errors import RunAlreadyFinishedError, UnavailableError
from podium.model.exactness import json_bytes
from podium.model.parameters import resolve
from podium_coordinator.domain.ids import RANDOM_BITS, uuid7
from podium_coordinator.domain.records import RunRecord
from podium_coordinator.domain.states import RUN_TERMINAL, RunState
from podium_coordinator.store import commands, runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podium_coordinator.rpc.database import Database
    from podium_coordinator.rpc.following import Follower
    from podium_coordinator.rpc.owner import ShardView
    from podium_coordinator.rpc.versions import Version, Versions

PATIENCE: Final = 2.0
"""Seconds a cancellation waits to see that the owner has taken it up."""

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

    async def _hint(self, run: RunRecord) -> None:
        """Tell the owner; a hint that cannot be given costs time only, since the row is found by a sweep."""
        if self._shard.owned:
            try:
                self._shard.submit(run)
            except UnavailableError:
                return
        else:
            async with self._database.write.connection() as conn:
                await commands.notify(conn, run.shard)


_ENDED: Final = {
    RunState.SUCCEEDED: "succeeded",
    RunState.FAILED: "failed",
    RunState.CANCELLED: "was cancelled",
}


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

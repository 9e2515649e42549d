"""LogService: reads and follows logs."""

# ruff: noqa: N802 - the names are the contract's

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from podium.v1 import log_pb2 as pb
from podium.v1 import log_pb2_grpc
from podium_coordinator.logs.folder import AttemptName
from podium_coordinator.rpc import parse
from podium_coordinator.rpc.log_text import entries
from podium_coordinator.store import runs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc.aio

    from podium_coordinator.logs.reader import LogReader
    from podium_coordinator.rpc.versions import Versions
    from podium_coordinator.store.pools import Pool

    Context = grpc.aio.ServicerContext[object, object]


class LogService(log_pb2_grpc.LogServiceServicer):
    """Serves podium.v1.LogService."""

    def __init__(self, reader: LogReader, versions: Versions, pool: Pool) -> None:
        """`pool` gives connections that read."""
        self._reader = reader
        self._versions = versions
        self._pool = pool

    async def ReadLog(self, request: pb.ReadLogRequest, context: Context) -> AsyncIterator[pb.ReadLogResponse]:
        """Read a log; see the contract."""
        del context
        async with aclosing(self._reader.read(await self._named(request))) as pieces:
            async for some in entries(pieces):
                yield pb.ReadLogResponse(entries=some)

    async def TailLog(self, request: pb.TailLogRequest, context: Context) -> AsyncIterator[pb.TailLogResponse]:
        """Read and follow a log; see the contract."""
        del context
        async with aclosing(self._reader.tail(await self._named(request))) as pieces:
            async for some in entries(pieces):
                yield pb.TailLogResponse(entries=some)

    async def _named(self, request: pb.ReadLogRequest | pb.TailLogRequest) -> AttemptName:
        run_id = parse.run_id(request.run_id)
        async with self._pool.connection() as conn:
            run = await runs.get_run(conn, run_id)
        task = (await self._versions.of(run)).position(request.task)
        map_index = request.map_index if request.HasField("map_index") else -1
        return AttemptName(run_id, task, map_index, parse.attempt_number(request.attempt))

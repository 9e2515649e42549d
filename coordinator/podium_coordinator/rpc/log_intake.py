"""Takes the logs of attempts under way, from the stream that agents carry them on.

A piece is taken when it speaks for an attempt with that attempt's token. Pieces of an attempt that is void are
acknowledged and dropped: the agent has no other way to be rid of them, and nobody will read them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeAlias
from uuid import UUID

import structlog

from podium.errors import AttemptNotFoundError, FieldViolation, InvalidArgumentError
from podium.v1 import session_pb2 as pb
from podium_coordinator.logs.folder import AttemptName
from podium_coordinator.store.logs import attempt_log
from podium_coordinator.structured_logs import Event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from podium_coordinator.logs.finisher import LogFinisher
    from podium_coordinator.logs.folder import LogFolder
    from podium_coordinator.store.pools import Pool

    Verify: TypeAlias = Callable[[AttemptName, UUID], Awaitable[bool]]

_log = structlog.stdlib.get_logger("podium.logs")

PIECE_BYTES: Final = 256 * 1024
_MOST_REMEMBERED: Final = 10_000


class LogIntake:
    """Appends what comes to the folder of logs, and offers finished logs to the finisher."""

    def __init__(self, folder: LogFolder, finisher: LogFinisher, verify: Verify) -> None:
        """`verify` tells whether a token is that of the attempt."""
        self._folder = folder
        self._finisher = finisher
        self._verify = verify

    async def append(self, requests: AsyncIterator[pb.AppendLogsRequest]) -> AsyncIterator[pb.AppendLogsResponse]:
        """Store each piece, and answer it with how far its log is stored.

        Raises:
            InvalidArgumentError: A piece names no attempt, or is too large.
            LogStoreError: The folder does not work.
        """
        verified: OrderedDict[tuple[AttemptName, UUID], bool] = OrderedDict()
        async for request in requests:
            name, token = _attempt(request.attempt)
            _check(request)
            if await self._may_speak(name, token, verified):
                stored = await self._folder.append(name, request.offset, request.data, request.last)
                if request.last:
                    self._finisher.offer(name)
            else:
                stored = request.offset + len(request.data)
            yield pb.AppendLogsResponse(attempt=request.attempt, stored=stored)

    async def _may_speak(
        self, name: AttemptName, token: UUID, verified: OrderedDict[tuple[AttemptName, UUID], bool]
    ) -> bool:
        known = verified.get((name, token))
        if known is None:
            known = verified[name, token] = await self._verify(name, token)
            if not known:
                _log.warning(Event.LOG_REFUSED, run_id=str(name.run_id), task=name.task, number=name.number)
            if len(verified) > _MOST_REMEMBERED:
                verified.popitem(last=False)
        return known


def verify_by(pool: Pool) -> Verify:
    """Return a check of tokens by the attempts' rows, which are committed before an agent hears of the attempt."""

    async def verify(name: AttemptName, token: UUID) -> bool:
        async with pool.connection() as conn:
            try:
                found = await attempt_log(conn, name.run_id, name.task, name.map_index, name.number)
            except AttemptNotFoundError:
                return False
        return found.token == token

    return verify


def _attempt(given: pb.AttemptReference) -> tuple[AttemptName, UUID]:
    if len(given.run_id) != 16 or len(given.token) != 16 or given.number < 1:
        raise _refused("attempt", "names no attempt: run_id and token are 16 bytes, number counts from 1")
    name = AttemptName(UUID(bytes=given.run_id), given.task, given.map_index, given.number)
    return name, UUID(bytes=given.token)


def _check(request: pb.AppendLogsRequest) -> None:
    if len(request.data) > PIECE_BYTES:
        raise _refused("data", f"has {len(request.data)} bytes; the limit for one piece is {PIECE_BYTES}")
    if request.offset < 0:
        raise _refused("offset", f"must be 0 or more; is {request.offset}")


def _refused(field: str, what: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{field} {what}.", (FieldViolation(field, what),), field=field)

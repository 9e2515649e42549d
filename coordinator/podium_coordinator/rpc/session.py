"""The agents' sessions: one bidirectional stream each, between the wire and the shard loop.

What the loop says to an agent gathers in the session's outbox and leaves as one message as soon as the stream takes
one: batches grow by themselves when the stream is slower than the loop. What an agent may hold bounds the outbox.

An agent does not confirm orders one by one: it says which message it heard last. So the session remembers, for each
message that ordered something, what that was, until the agent has heard it; what an agent may hold bounds this, too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Protocol
from uuid import UUID

import grpc
import structlog
from google.protobuf.duration_pb2 import Duration

from podium.errors import IncompatibleAgentError, NoOwnerError, PodiumError
from podium.v1 import session_pb2, session_pb2_grpc
from podium.version import __version__
from podium_coordinator.app.events import AttemptName, LinkClosed, Order
from podium_coordinator.app.shard import Shard
from podium_coordinator.domain.run import LiveAttempt
from podium_coordinator.rpc import dispatch
from podium_coordinator.structured_logs import Event

log = structlog.stdlib.get_logger(__name__)

PROTOCOL_VERSION = 1
LARGEST_BATCH = 2 * 1024 * 1024
"""Bytes of one message to an agent; a single assignment may exceed it."""

Requests = AsyncIterator[session_pb2.ConnectRequest]
Context = grpc.aio.ServicerContext[session_pb2.ConnectRequest, session_pb2.ConnectResponse]


class ShardOwner(Protocol):
    """Tells which shard this process owns now."""

    def current(self) -> Shard:
        """Return the shard; raises NoOwnerError when this process owns none."""


class LogIntake(Protocol):
    """Takes logs of running attempts."""

    def append(
        self, requests: AsyncIterator[session_pb2.AppendLogsRequest]
    ) -> AsyncIterator[session_pb2.AppendLogsResponse]:
        """Store what comes; tell how far."""


class Session:
    """One agent's stream, as the shard loop sees it: an `AgentLink`."""

    def __init__(self, heartbeat: float) -> None:
        self.heard = 0
        self._heartbeat = heartbeat
        self._sequence = 0
        self._committed = 0
        self._outbox = session_pb2.ConnectResponse()
        self._orders: list[Order] = []
        self._unheard: deque[tuple[int, list[LiveAttempt]]] = deque()
        self._news = asyncio.Event()
        self.ended: PodiumError | None = None

    def welcome(self, epoch: int) -> None:
        """Accept the agent's hello."""
        interval = Duration()
        interval.FromMilliseconds(int(self._heartbeat * 1000))
        self._outbox.welcome.CopyFrom(
            session_pb2.Welcome(epoch=epoch, heartbeat_interval=interval, coordinator_version=__version__)
        )
        self._news.set()

    def assign(self, orders: Sequence[Order]) -> None:
        """Order attempts."""
        self._orders += orders
        self._news.set()

    def committed(self, sequence: int) -> None:
        """Let the agent forget the ends it told up to that message."""
        self._committed = sequence
        self._news.set()

    def delivered(self, heard: int) -> list[LiveAttempt]:
        """Return the attempts that the agent has heard of since the last call."""
        attempts: list[LiveAttempt] = []
        while self._unheard and self._unheard[0][0] <= heard:
            attempts += self._unheard.popleft()[1]
        return attempts

    def cancel(self, name: AttemptName) -> None:
        """Stop an attempt."""
        self._outbox.cancels.append(dispatch.reference(name))
        self._news.set()

    def take_back(self, name: AttemptName) -> None:
        """Return an attempt if it has not started."""
        self._outbox.take_backs.append(dispatch.reference(name))
        self._news.set()

    def stale(self, name: AttemptName) -> None:
        """Stop and forget an attempt."""
        self._outbox.stale.append(dispatch.reference(name))
        self._news.set()

    def beat(self) -> None:
        """Give a sign of life."""
        self._news.set()

    def close(self, error: PodiumError) -> None:
        """End the session."""
        self.ended = error
        self._news.set()

    async def messages(self) -> AsyncIterator[session_pb2.ConnectResponse]:
        """Yield what there is to say, until the session is closed; then raise why."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self.ended is not None:
                raise self.ended
            yield self._take()
            while self._orders:
                yield self._take()

    def _take(self) -> session_pb2.ConnectResponse:
        message, self._outbox = self._outbox, session_pb2.ConnectResponse()
        self._sequence += 1
        message.sequence, message.heard, message.committed = self._sequence, self.heard, self._committed
        if self._orders:
            orders = self._next_orders()
            message.assignments.extend(dispatch.assignments(orders))
            self._unheard.append((self._sequence, [order.attempt for order in orders]))
        return message

    def _next_orders(self) -> list[Order]:
        """Take as many orders as one message may have."""
        size = count = 0
        for order in self._orders:
            size, count = size + dispatch.weight(order), count + 1
            if size >= LARGEST_BATCH:
                break
        orders, self._orders = self._orders[:count], self._orders[count:]
        return orders


class AgentSessions(session_pb2_grpc.AgentSessionServiceServicer):
    """The agents' own service."""

    def __init__(self, owner: ShardOwner, heartbeat: float, intake: LogIntake) -> None:
        self._owner = owner
        self._heartbeat = heartbeat
        self._intake = intake

    async def Connect(  # noqa: N802 - the name is the contract's
        self, request_iterator: Requests, context: Context
    ) -> AsyncIterator[session_pb2.ConnectResponse]:
        """Hold an agent's session until either side ends it."""
        del context
        shard = self._owner.current()
        session = Session(self._heartbeat)
        agent_id = await _greet(shard, session, request_iterator)
        listener = asyncio.create_task(_listen(shard, session, agent_id, request_iterator))
        try:
            async for message in session.messages():
                yield message
        finally:
            listener.cancel()
            await asyncio.wait([listener])
            _leave(shard, session, agent_id)

    async def AppendLogs(  # noqa: N802 - the name is the contract's
        self,
        request_iterator: AsyncIterator[session_pb2.AppendLogsRequest],
        context: grpc.aio.ServicerContext[session_pb2.AppendLogsRequest, session_pb2.AppendLogsResponse],
    ) -> AsyncIterator[session_pb2.AppendLogsResponse]:
        """Take logs of running attempts."""
        del context
        async for response in self._intake.append(request_iterator):
            yield response


async def _greet(shard: Shard, session: Session, requests: Requests) -> UUID:
    async for request in requests:
        if not request.HasField("hello"):
            raise dispatch.InvalidReportError("The first message of a session must carry a hello.")
        spoken = request.hello.protocol_version
        if spoken != PROTOCOL_VERSION:
            raise IncompatibleAgentError(
                f"The agent speaks version {spoken} of the session protocol, this coordinator ({__version__}) version "
                f"{PROTOCOL_VERSION}; install the same release of Podium on both.",
                agent=spoken,
                coordinator=PROTOCOL_VERSION,
            )
        event = dispatch.hello(session, request.hello)
        session.heard = request.sequence
        shard.tell(event)
        shard.tell(dispatch.report(session, event.agent_id, request))
        return event.agent_id
    raise dispatch.InvalidReportError("The session ended before a hello.")


async def _listen(shard: Shard, session: Session, agent_id: UUID, requests: Requests) -> None:
    """Hand the loop what the agent says; the agent's end, or a fault in what it says, ends the session."""
    try:
        async for request in requests:
            session.heard = request.sequence
            shard.tell(dispatch.report(session, agent_id, request, session.delivered(request.heard)))
    except PodiumError as error:
        session.close(error)
    except ValueError as error:
        session.close(dispatch.InvalidReportError(f"The agent's message cannot be read: {error}."))
    else:
        session.close(NoOwnerError("The agent ended the session."))


def _leave(shard: Shard, session: Session, agent_id: UUID) -> None:
    try:
        shard.tell(LinkClosed(session, agent_id))
    except NoOwnerError:
        log.info(Event.SESSION_OUTLIVED_SHARD, agent_id=str(agent_id))

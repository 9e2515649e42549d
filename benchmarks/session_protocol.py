"""All that the simulated agents know of the session protocol (`protos/podium/v1/session.proto`)."""

from __future__ import annotations

import time
from uuid import UUID

from podium.v1 import agent_pb2, run_pb2, session_pb2, session_pb2_grpc

Request = session_pb2.ConnectRequest
Response = session_pb2.ConnectResponse
Stub = session_pb2_grpc.AgentSessionServiceStub
VERSION = 1


class SimulatedAgent:
    """One agent's side of the conversation: every attempt succeeds as soon as it is assigned."""

    def __init__(self, agent_id: UUID, name: str, cpu_millis: int) -> None:
        self.attempts = 0
        self.stale = 0
        self.interval = 3.0
        self._agent_id, self._name, self._cpu_millis = agent_id, name, cpu_millis
        self._sequence = 0
        self._heard = 0

    def hello(self) -> Request:
        host = agent_pb2.HostFacts(hostname=self._name, cpu_millis=self._cpu_millis, memory_bytes=1 << 30)
        hello = session_pb2.Hello(
            protocol_version=VERSION, agent_id=str(self._agent_id), name=self._name, host=host, held=()
        )
        return self._numbered(Request(hello=hello))

    def beat(self) -> Request:
        return self._numbered(Request())

    def answer(self, response: Response) -> Request | None:
        """Return what to say to a message, if anything."""
        self._heard = response.sequence
        self.stale += len(response.stale)
        if response.HasField("welcome"):
            self.interval = response.welcome.heartbeat_interval.ToTimedelta().total_seconds()
        if not response.assignments:
            return None
        self.attempts += len(response.assignments)
        return self._numbered(Request(finished=[_finished(order.attempt) for order in response.assignments]))

    def _numbered(self, request: Request) -> Request:
        self._sequence += 1
        request.sequence, request.heard = self._sequence, self._heard
        return request


def _finished(attempt: session_pb2.AttemptReference) -> session_pb2.AttemptFinished:
    message = session_pb2.AttemptFinished(
        attempt=attempt, state=run_pb2.ATTEMPT_STATE_SUCCEEDED, output=b"null", log_bytes=0
    )
    now = time.time_ns()
    message.start_time.FromNanoseconds(now - 1000)
    message.end_time.FromNanoseconds(now)
    return message

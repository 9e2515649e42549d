"""All that the simulated agents know of the session protocol (`protos/podium/v1/session.proto`)."""

from __future__ import annotations

import time
from uuid import UUID

from podium.v1 import agent_pb2, session_pb2, session_pb2_grpc

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
        self.attempts += sum(len(group.tasks) for group in response.assignments)
        return self._numbered(Request(succeeded=[_succeeded(group) for group in response.assignments]))

    def _numbered(self, request: Request) -> Request:
        self._sequence += 1
        request.sequence, request.heard = self._sequence, self._heard
        return request


def _succeeded(group: session_pb2.Assignments) -> session_pb2.Successes:
    count = len(group.tasks)
    return session_pb2.Successes(
        run_id=group.run_id,
        tasks=group.tasks,
        map_indexes=group.map_indexes,
        numbers=group.numbers,
        tokens=group.tokens,
        start_micros=[time.time_ns() // 1000] * count,
        duration_micros=[1] * count,
        outputs=[b"null"] * count,
        peak_memory_bytes=[0] * count,
        cpu_micros=[0] * count,
    )

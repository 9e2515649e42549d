"""A scriptable coordinator: a real gRPC server that says what a test tells it to, and remembers what it hears."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from podium import logformat
from podium.v1 import blob_pb2, blob_pb2_grpc, run_pb2, session_pb2, session_pb2_grpc, workflow_pb2

PATIENCE = 20.0


def an_attempt(number: int = 1) -> session_pb2.AttemptReference:
    """Name an attempt nobody has heard of."""
    return session_pb2.AttemptReference(
        run_id=uuid.uuid4().bytes, task=0, map_index=-1, number=number, token=uuid.uuid4().bytes
    )


@dataclass
class Assignment:
    """An order for one attempt, as a test sees it; `order` makes it what the stream carries."""

    attempt: session_pb2.AttemptReference = field(default_factory=an_attempt)
    action: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] | None = None
    task_key: str = "task"
    workflow: str = "flow"
    version: int = 1
    params: bytes = b"{}"
    inputs: list[session_pb2.TaskInput] = field(default_factory=list)
    resources: workflow_pb2.Resources = field(
        default_factory=lambda: workflow_pb2.Resources(cpu_millis=100, memory_bytes=0)
    )
    run_timeout: Duration | None = None
    bundle: str = ""
    trace_id: bytes = b""

    @property
    def env(self) -> dict[str, str]:
        """The environment of a program."""
        found: dict[str, str] = self.action["env"]
        return found

    def order(self) -> session_pb2.Order:
        return session_pb2.Order(
            workflow=self.workflow,
            version=self.version,
            action=json.dumps(self.action).encode(),
            params=self.params,
            resources=self.resources,
            run_timeout=self.run_timeout,
            bundle=self.bundle,
            trace_id=self.trace_id,
        )


def in_columns(assignments: Sequence[Assignment]) -> Iterator[session_pb2.Assignments]:
    """Put neighbours of one run and order together."""

    def common(one: Assignment) -> tuple[bytes, bytes]:
        return one.attempt.run_id, one.order().SerializeToString(deterministic=True)

    for (run_id, _), grouped in itertools.groupby(assignments, common):
        group = list(grouped)
        arguments = [json.dumps(one.arguments).encode() for one in group if one.arguments is not None]
        yield session_pb2.Assignments(
            run_id=run_id,
            order=group[0].order(),
            tasks=[one.attempt.task for one in group],
            task_keys=[one.task_key for one in group],
            map_indexes=[one.attempt.map_index for one in group if any(o.attempt.map_index != -1 for o in group)],
            numbers=[one.attempt.number for one in group if any(o.attempt.number != 1 for o in group)],
            tokens=b"".join(one.attempt.token for one in group),
            arguments=arguments[:1] if len(set(arguments)) == 1 else arguments,
            inputs=[session_pb2.TaskInputs(inputs=one.inputs) for one in group if any(o.inputs for o in group)],
        )


def succeeded(told: session_pb2.Successes) -> Iterator[session_pb2.AttemptFinished]:
    """Yield the ends told in columns, one by one."""
    for index, task in enumerate(told.tasks):
        log = told.logs[index] if told.logs else b""
        end = session_pb2.AttemptFinished(
            attempt=session_pb2.AttemptReference(
                run_id=told.run_id,
                task=task,
                map_index=told.map_indexes[index] if told.map_indexes else -1,
                number=told.numbers[index] if told.numbers else 1,
                token=told.tokens[index * 16 : index * 16 + 16],
            ),
            state=run_pb2.ATTEMPT_STATE_SUCCEEDED,
            output=told.outputs[index],
            log=log,
            log_bytes=told.log_bytes[index] if told.log_bytes else len(log),
            peak_memory_bytes=told.peak_memory_bytes[index],
        )
        end.start_time.FromMicroseconds(told.start_micros[index])
        end.end_time.FromMicroseconds(told.start_micros[index] + told.duration_micros[index])
        end.cpu_time.FromMicroseconds(told.cpu_micros[index])
        yield end


def an_assignment(**fields: Any) -> Assignment:
    """Order an attempt that takes little."""
    return Assignment(**fields)


def a_shell(script: str, **fields: Any) -> Assignment:
    """Order a script."""
    action = {"exec": [], "script": script, "env": {}, "cwd": "", "env_bindings": {}}
    return an_assignment(action=action, **fields)


@dataclass
class Log:
    """What came of one attempt's log."""

    data: bytes = b""
    last: bool = False

    def text(self, stream: int = 1) -> str:
        """Return what one stream printed."""
        records, _ = logformat.decode(self.data)
        return b"".join(record.data for record in records if record.stream == stream).decode()


@dataclass
class Peer(session_pb2_grpc.AgentSessionServiceServicer, blob_pb2_grpc.BlobServiceServicer):
    """Everything heard, by the attempt's token; `changed` is notified of each message."""

    heartbeat: float = 1.0
    acknowledges: bool = True
    mute: bool = False
    refusal: tuple[grpc.StatusCode, bytes] | None = None
    hellos: list[session_pb2.Hello] = field(default_factory=list)
    requests: list[session_pb2.ConnectRequest] = field(default_factory=list)
    started: dict[bytes, session_pb2.AttemptStarted] = field(default_factory=dict)
    finished: dict[bytes, session_pb2.AttemptFinished] = field(default_factory=dict)
    finished_count: dict[bytes, int] = field(default_factory=dict)
    returned: set[bytes] = field(default_factory=set)
    logs: dict[bytes, Log] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    draining: bool = False
    held_back: str = ""
    refuses_blobs: bool = False
    stats: int = 0
    stats_refused: int = 0

    def __post_init__(self) -> None:
        self.changed = asyncio.Condition()
        self._context: Any = None
        self._outbox: asyncio.Queue[session_pb2.ConnectResponse] = asyncio.Queue()
        self._sequence = 0
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.keepalive_permit_without_calls", 1)])
        self.port = 0

    async def start(self, port: int = 0) -> None:
        session_pb2_grpc.add_AgentSessionServiceServicer_to_server(self, self.server)
        blob_pb2_grpc.add_BlobServiceServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        await self.server.start()

    async def stop(self) -> None:
        await self.server.stop(0)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    # What a test says

    def say(self, **parts: Any) -> None:
        self._outbox.put_nowait(session_pb2.ConnectResponse(**parts))

    def assign(self, *assignments: Assignment) -> None:
        self.say(assignments=in_columns(assignments))

    def drop_session(self) -> None:
        """Cut the stream, as a coordinator does that dies."""
        self._outbox.put_nowait(session_pb2.ConnectResponse(sequence=-1))

    # What a test waits for

    async def until(self, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
        async with asyncio.timeout(patience), self.changed:
            return await self.changed.wait_for(condition)

    async def hello(self, count: int = 1) -> session_pb2.Hello:
        await self.until(lambda: len(self.hellos) >= count)
        return self.hellos[count - 1]

    async def end_of(self, assignment: Assignment, patience: float = PATIENCE) -> session_pb2.AttemptFinished:
        token = assignment.attempt.token
        await self.until(lambda: token in self.finished, patience)
        return self.finished[token]

    async def result_of(self, assignment: Assignment) -> Any:
        end = await self.end_of(assignment)
        assert end.state == run_pb2.ATTEMPT_STATE_SUCCEEDED, end
        return json.loads(end.output)

    async def start_of(self, assignment: Assignment) -> session_pb2.AttemptStarted:
        token = assignment.attempt.token
        await self.until(lambda: token in self.started)
        return self.started[token]

    async def whole_log(self, assignment: Assignment) -> Log:
        """Wait for the end of an attempt and of its log, however it travels."""
        end = await self.end_of(assignment)
        if end.log or not end.log_bytes:
            return Log(end.log, last=True)
        token = assignment.attempt.token
        await self.until(lambda: token in self.logs and self.logs[token].last)
        return self.logs[token]

    # The services

    async def Connect(  # noqa: N802 - gRPC's own name
        self, request_iterator: AsyncIterator[session_pb2.ConnectRequest], context: Any
    ) -> AsyncIterator[session_pb2.ConnectResponse]:
        if self.refusal is not None:
            code, status = self.refusal
            await context.abort(code, "refused by the test", (("grpc-status-details-bin", status),))
        self._sequence, self._outbox = 0, asyncio.Queue()
        listener = asyncio.create_task(self._listen(request_iterator))
        try:
            while True:
                response = await self._next(listener)
                if response is None or response.sequence < 0:
                    return
                self._sequence += 1
                response.sequence = self._sequence
                yield response
        finally:
            listener.cancel()

    async def _next(self, listener: asyncio.Task[None]) -> session_pb2.ConnectResponse | None:
        while True:
            try:
                async with asyncio.timeout(self.heartbeat):
                    return await self._outbox.get()
            except TimeoutError:
                if listener.done():
                    return None
                if not self.mute:
                    return session_pb2.ConnectResponse()

    async def _listen(self, requests: AsyncIterator[session_pb2.ConnectRequest]) -> None:
        async for request in requests:
            if request.HasField("hello"):
                self._welcome()
                self.hellos.append(request.hello)
            self._note(request)
            async with self.changed:
                self.changed.notify_all()

    def _welcome(self) -> None:
        interval = Duration()
        interval.FromMilliseconds(int(self.heartbeat * 1000))
        self.say(welcome=session_pb2.Welcome(epoch=1, heartbeat_interval=interval, coordinator_version="test"))

    def _note(self, request: session_pb2.ConnectRequest) -> None:
        self.requests.append(request)
        self.draining = request.draining
        self.returned.update(reference.token for reference in request.returned)
        self.started.update({item.attempt.token: item for item in request.started})
        ends = [*request.finished, *(end for told in request.succeeded for end in succeeded(told))]
        for item in ends:
            token = item.attempt.token
            self.finished[token] = item
            self.finished_count[token] = self.finished_count.get(token, 0) + 1
        if ends and self.acknowledges:
            self.say(committed=request.sequence)

    async def AppendLogs(  # noqa: N802 - gRPC's own name
        self, request_iterator: AsyncIterator[session_pb2.AppendLogsRequest], context: Any
    ) -> AsyncIterator[session_pb2.AppendLogsResponse]:
        del context
        async for request in request_iterator:
            log = self.logs.setdefault(request.attempt.token, Log())
            assert len(request.data) <= 256 * 1024
            if request.offset <= len(log.data):
                log.data = log.data[: request.offset] + request.data
                log.last = log.last or request.last
            yield session_pb2.AppendLogsResponse(attempt=request.attempt, stored=len(log.data))
            async with self.changed:
                self.changed.notify_all()

    async def PutBlob(  # noqa: N802 - gRPC's own name
        self, request_iterator: AsyncIterator[blob_pb2.PutBlobRequest], context: Any
    ) -> blob_pb2.PutBlobResponse:
        if self.refuses_blobs:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large for the test")
        pieces = [request async for request in request_iterator]
        data = b"".join(piece.data for piece in pieces)
        assert hashlib.sha256(data).hexdigest() == pieces[0].sha256
        self.blobs[pieces[0].sha256] = data
        return blob_pb2.PutBlobResponse(size=len(data))

    async def GetBlob(self, request: blob_pb2.GetBlobRequest, context: Any) -> AsyncIterator[blob_pb2.GetBlobResponse]:  # noqa: N802 - gRPC's own name
        self.fetched.append(request.sha256)
        async with self.changed:
            self.changed.notify_all()
        if request.sha256 == self.held_back:
            self.held_back = ""
            yield blob_pb2.GetBlobResponse(data=self.blobs[request.sha256][request.offset :][:10])
            await asyncio.Event().wait()
        if request.sha256 not in self.blobs:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such blob")
        data = self.blobs[request.sha256][request.offset :]
        for start in range(0, len(data), 1 << 20):
            yield blob_pb2.GetBlobResponse(data=data[start : start + (1 << 20)])

    async def StatBlobs(self, request: blob_pb2.StatBlobsRequest, context: Any) -> blob_pb2.StatBlobsResponse:  # noqa: N802 - gRPC's own name
        self.stats += 1
        async with self.changed:
            self.changed.notify_all()
        if self.stats <= self.stats_refused:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        sizes = {name: len(self.blobs[name]) for name in request.sha256 if name in self.blobs}
        return blob_pb2.StatBlobsResponse(sizes=sizes)

    def put(self, data: bytes) -> str:
        """Store a blob; return its name."""
        name = hashlib.sha256(data).hexdigest()
        self.blobs[name] = data
        return name


def literal(value: Any) -> dict[str, Any]:
    """Bind a value."""
    return {"literal": value}


def output(task: str, *path: str) -> dict[str, Any]:
    """Bind an upstream task's output."""
    return {"output": {"task": task, "path": path}}


def inputs(values: Mapping[str, Any]) -> list[session_pb2.TaskInput]:
    """Give upstream outputs."""
    return [session_pb2.TaskInput(task=task, output=json.dumps(value).encode()) for task, value in values.items()]

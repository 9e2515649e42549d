"""Between the shard's words and the session protocol's messages."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from podium.errors import InvalidArgumentError
from podium.v1 import run_pb2, session_pb2
from podium_coordinator.app.events import AgentHello, AgentLink, AgentSaid, AttemptName, Held, Order
from podium_coordinator.domain.lifecycle import Finish
from podium_coordinator.domain.records import Failure
from podium_coordinator.domain.states import AttemptState, FailureKind

LONGEST_RETRY_AFTER = 30 * 24 * 3600.0
LARGEST_OUTPUT = 256 * 1024
LARGEST_INLINE_LOG = 64 * 1024
LARGEST_MESSAGE = 4 * 1024
LARGEST_TRACEBACK = 64 * 1024

REPORTED = {
    run_pb2.ATTEMPT_STATE_SUCCEEDED: AttemptState.SUCCEEDED,
    run_pb2.ATTEMPT_STATE_FAILED: AttemptState.FAILED,
    run_pb2.ATTEMPT_STATE_TIMED_OUT: AttemptState.TIMED_OUT,
    run_pb2.ATTEMPT_STATE_CANCELLED: AttemptState.CANCELLED,
    run_pb2.ATTEMPT_STATE_SKIPPED: AttemptState.SKIPPED,
}
KINDS = {run_pb2.FailureKind.Value(f"FAILURE_KIND_{kind.name}"): kind for kind in FailureKind}


class InvalidReportError(InvalidArgumentError):
    """An agent's message is not of the protocol's form."""

    reason = "INVALID_REPORT"


def reference(name: AttemptName) -> session_pb2.AttemptReference:
    """Return an attempt's name as the protocol has it."""
    return session_pb2.AttemptReference(
        run_id=name.run_id.bytes,
        task=name.task,
        map_index=name.map_index,
        number=name.number,
        token=name.token.bytes,
    )


def attempt_name(message: session_pb2.AttemptReference) -> AttemptName:
    """Return the attempt a message names."""
    if len(message.run_id) != 16 or len(message.token) != 16:
        raise InvalidReportError("An attempt's run_id and token have 16 bytes each.")
    return AttemptName(
        UUID(bytes=message.run_id), message.task, message.map_index, message.number, UUID(bytes=message.token)
    )


def assignment(order: Order) -> session_pb2.Assignment:
    """Return the message that orders an attempt."""
    live, index = order.live, order.index
    task = live.run.task_of(index)
    spec = live.compiled.tasks[task]
    message = session_pb2.Assignment(
        attempt=reference(order.name),
        task_key=spec.key,
        workflow=live.record.workflow,
        version=live.record.version,
        params=live.record.params,
        inputs=[session_pb2.TaskInput(task=key, output=output) for key, output in order.inputs],
        resources=live.compiled.resources(task),
        bundle=live.compiled.bundle,
        traceparent=order.traceparent,
    )
    if spec.WhichOneof("action") == "shell":
        message.shell.CopyFrom(spec.shell)
    else:
        message.python.CopyFrom(spec.python)
    if spec.HasField("run_timeout"):
        message.run_timeout.CopyFrom(spec.run_timeout)
    return message


def hello(link: AgentLink, message: session_pb2.Hello) -> AgentHello:
    """Return what an agent's hello says."""
    try:
        agent_id = UUID(message.agent_id)
    except ValueError:
        raise InvalidReportError(f"hello.agent_id is no UUID: {message.agent_id!r}.") from None
    if not message.name or len(message.name) > 200:
        raise InvalidReportError("hello.name must have 1 to 200 characters.")
    host = message.host
    return AgentHello(
        link=link,
        agent_id=agent_id,
        name=message.name,
        host=host.SerializeToString(),
        cpu_millis=host.cpu_millis,
        memory_bytes=host.memory_bytes,
        labels=frozenset(host.labels.items()),
        held=tuple(
            Held(attempt_name(held.attempt), _instant(held.start_time) if held.HasField("start_time") else None)
            for held in message.held
        ),
    )


def report(link: AgentLink, agent_id: UUID, message: session_pb2.ConnectRequest) -> AgentSaid:
    """Return what an agent's message says."""
    return AgentSaid(
        link=link,
        agent_id=agent_id,
        accepted=tuple(map(attempt_name, message.accepted)),
        started=tuple((attempt_name(item.attempt), _instant(item.start_time)) for item in message.started),
        finished=tuple(map(_finished, message.finished)),
        returned=tuple(map(attempt_name, message.returned)),
        draining=message.draining,
    )


def _finished(message: session_pb2.AttemptFinished) -> tuple[AttemptName, Finish, float]:
    state = REPORTED.get(message.state)
    if state is None:
        raise InvalidReportError(f"No agent may report an attempt as {message.state}.")
    if len(message.output) > LARGEST_OUTPUT or len(message.log) > LARGEST_INLINE_LOG:
        raise InvalidReportError("A finished attempt's output or log is over the protocol's limit.")
    started = _instant(message.start_time) if message.HasField("start_time") else None
    seconds = (_instant(message.end_time) - started).total_seconds() if started else 0.0
    finish = Finish(
        state=state,
        started_at=started,
        output=message.output if state is AttemptState.SUCCEEDED else None,
        failure=_failure(message.failure) if message.HasField("failure") else None,
        no_retry=message.no_retry,
        retry_after=_retry_after(message),
        log=message.log or None,
        log_bytes=message.log_bytes,
        blobs=tuple((bytes.fromhex(blob.sha256), blob.size, blob.name) for blob in message.blobs),
    )
    return attempt_name(message.attempt), finish, max(0.0, seconds)


def _retry_after(message: session_pb2.AttemptFinished) -> float | None:
    if not message.HasField("retry_after"):
        return None
    return min(max(0.0, message.retry_after.ToTimedelta().total_seconds()), LONGEST_RETRY_AFTER)


def _failure(message: run_pb2.Failure) -> Failure:
    return Failure(
        KINDS.get(message.kind, FailureKind.INTERNAL),
        message.message[:LARGEST_MESSAGE],
        message.traceback[:LARGEST_TRACEBACK],
        message.exception_type[:LARGEST_MESSAGE],
        message.exit_code if message.HasField("exit_code") else None,
    )


def _instant(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)

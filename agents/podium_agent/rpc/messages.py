"""Between the agent's own values and the messages of podium.v1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.timestamp_pb2 import Timestamp

from podium.v1 import run_pb2, session_pb2
from podium.wire import duration_to_seconds, plain_action, seconds_to_duration

if TYPE_CHECKING:
    from podium_agent.frames import Header
    from podium_agent.session.attempts import Result

LONGEST_RETRY_AFTER = 30 * 24 * 3600.0
DEFAULT_CPU_MILLIS = 1000

STATES = {
    name: run_pb2.AttemptState.Value(f"ATTEMPT_STATE_{name.upper()}")
    for name in ("succeeded", "failed", "timed_out", "cancelled", "skipped")
}


def timestamp(seconds: float) -> Timestamp:
    """Return an instant given in seconds since the Unix epoch."""
    whole = int(seconds // 1)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1e6) * 1000)


def reference(holding: Header) -> session_pb2.AttemptReference:
    """Return the name of the attempt a journal or a worker speaks of."""
    return session_pb2.AttemptReference(
        run_id=bytes.fromhex(holding["run"]),
        task=holding["task"],
        map_index=holding["map_index"],
        number=holding["number"],
        token=bytes.fromhex(holding["token"]),
    )


def holding(assignment: session_pb2.Assignment) -> Header:
    """Return what is kept of an assignment for as long as the attempt lives."""
    name, resources = assignment.attempt, assignment.resources
    return {
        "run": name.run_id.hex(),
        "task": name.task,
        "map_index": name.map_index,
        "number": name.number,
        "token": name.token.hex(),
        "task_key": assignment.task_key,
        "workflow": assignment.workflow,
        "version": assignment.version,
        "cpu_millis": resources.cpu_millis if resources.HasField("cpu_millis") else DEFAULT_CPU_MILLIS,
        "memory_bytes": resources.memory_bytes,
        "run_timeout": duration_to_seconds(assignment.run_timeout) if assignment.HasField("run_timeout") else None,
        "traceparent": assignment.traceparent,
        "bundle": assignment.bundle if assignment.HasField("python") else "",
    }


def action(assignment: session_pb2.Assignment) -> dict[str, Any]:
    """Return what to do, in JSON's terms."""
    return plain_action(assignment.python if assignment.HasField("python") else assignment.shell)


def finished(attempt: session_pb2.AttemptReference, result: Result) -> session_pb2.AttemptFinished:
    """Return the report of an attempt's end."""
    header = result.header
    message = session_pb2.AttemptFinished(
        attempt=attempt,
        state=STATES[header["state"]],
        end_time=timestamp(header["ended_at"]),
        output=result.output,
        blobs=[session_pb2.BlobReference(sha256=sha, size=size, name=name) for sha, size, name in header["blobs"]],
        log=result.log,
        log_bytes=header["log_bytes"],
        no_retry=header["no_retry"],
        peak_memory_bytes=header["peak_memory_bytes"],
    )
    if header.get("started_at") is not None:
        message.start_time.CopyFrom(timestamp(header["started_at"]))
    if header["cpu_seconds"] is not None:
        message.cpu_time.CopyFrom(seconds_to_duration(header["cpu_seconds"]))
    if header["retry_after"] is not None:
        message.retry_after.CopyFrom(seconds_to_duration(min(header["retry_after"], LONGEST_RETRY_AFTER)))
    if header["failure"] is not None:
        message.failure.CopyFrom(failure(header["failure"]))
    return message


def failure(fields: Header) -> run_pb2.Failure:
    """Return why an attempt failed."""
    return run_pb2.Failure(
        kind=run_pb2.FailureKind.Value(f"FAILURE_KIND_{fields['kind'].upper()}"),
        message=fields["message"],
        traceback=fields.get("traceback", ""),
        exception_type=fields.get("exception_type", ""),
        exit_code=fields.get("exit_code"),
    )

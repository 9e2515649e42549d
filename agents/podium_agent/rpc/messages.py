"""Between the agent's own values and the messages of podium.v1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from podium.v1 import run_pb2, session_pb2
from podium.wire import seconds_to_duration
from podium_agent.records import Success

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podium_agent.frames import Header
    from podium_agent.session.attempts import Attempt
    from podium_agent.session.orders import Orders

LONGEST_RETRY_AFTER = 30 * 24 * 3600.0
TOKEN_BYTES = 16
NO_ARGUMENTS = frozenset({b"", b'{"args":[],"kwargs":{}}', b'{"args": [], "kwargs": {}}'})

STATES = {
    name: run_pb2.AttemptState.Value(f"ATTEMPT_STATE_{name.upper()}")
    for name in ("succeeded", "failed", "timed_out", "cancelled", "skipped")
}


def timestamp(micros: int) -> Timestamp:
    """Return an instant given in microseconds since the Unix epoch."""
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def attempts(told: session_pb2.Assignments, orders: Orders) -> Iterator[Attempt]:
    """Yield the attempts that are assigned."""
    from podium_agent.session.attempts import Attempt

    tasks, tokens, arguments, inputs = told.tasks, told.tokens, list(told.arguments), told.inputs
    count = len(tasks)
    alike = arguments[0] if count > 1 and len(arguments) == 1 and arguments[0] not in NO_ARGUMENTS else b""
    order = orders.of(told.run_id, told.order, alike)
    map_indexes = told.map_indexes or [-1] * count
    numbers = told.numbers or [1] * count
    own = arguments if len(arguments) == count and not alike else [b""] * count
    columns = zip(tasks, map_indexes, numbers, told.task_keys, own, strict=True)
    for index, (task, map_index, number, key, called_with) in enumerate(columns):
        yield Attempt(
            tokens[index * TOKEN_BYTES : (index + 1) * TOKEN_BYTES],
            order,
            task,
            map_index,
            number,
            key,
            b"" if called_with in NO_ARGUMENTS else called_with,
            inputs[index].inputs if inputs else (),
        )


def started(attempt: Attempt) -> session_pb2.AttemptStarted:
    """Return the report of an attempt's start."""
    return session_pb2.AttemptStarted(attempt=attempt.reference, start_time=timestamp(attempt.started))


def held(attempt: Attempt) -> session_pb2.HeldAttempt:
    """Return what the hello says of an attempt."""
    began = timestamp(attempt.started) if attempt.started else None
    return session_pb2.HeldAttempt(attempt=attempt.reference, start_time=began)


def successes(run_id: bytes, group: Sequence[Attempt]) -> session_pb2.Successes:
    """Return the report of attempts of one run that succeeded."""
    ends = [attempt.end for attempt in group if type(attempt.end) is Success]
    columns = session_pb2.Successes(
        run_id=run_id,
        tasks=[end.task for end in ends],
        tokens=b"".join([end.token for end in ends]),
        start_micros=[end.started for end in ends],
        duration_micros=[end.duration for end in ends],
        outputs=[end.output for end in ends],
        peak_memory_bytes=[end.peak for end in ends],
        cpu_micros=[end.cpu for end in ends],
    )
    if any(end.map_index != -1 for end in ends):
        columns.map_indexes.extend([end.map_index for end in ends])
    if any(end.number != 1 for end in ends):
        columns.numbers.extend([end.number for end in ends])
    if any(end.log_bytes for end in ends):
        columns.logs.extend([end.log for end in ends])
        if any(end.log_bytes != len(end.log) for end in ends):
            columns.log_bytes.extend([end.log_bytes for end in ends])
    return columns


def finished(attempt: Attempt) -> session_pb2.AttemptFinished:
    """Return the report of any other end."""
    end = attempt.end
    if end is None or isinstance(end, Success):
        raise TypeError("successes are told in columns")
    facts = end.facts
    message = session_pb2.AttemptFinished(
        attempt=attempt.reference,
        state=STATES[facts["state"]],
        end_time=timestamp(end.started + facts["duration"] if end.started else facts["ended"]),
        output=end.output,
        blobs=[session_pb2.BlobReference(sha256=sha, size=size, name=name) for sha, size, name in facts["blobs"]],
        log=end.log,
        log_bytes=facts["log_bytes"],
        no_retry=facts["no_retry"],
        peak_memory_bytes=facts["peak"],
    )
    if end.started:
        message.start_time.CopyFrom(timestamp(end.started))
    if facts["cpu"] is not None:
        message.cpu_time.CopyFrom(seconds_to_duration(facts["cpu"] / 1e6))
    if facts["retry_after"] is not None:
        message.retry_after.CopyFrom(seconds_to_duration(min(facts["retry_after"], LONGEST_RETRY_AFTER)))
    if facts["failure"] is not None:
        message.failure.CopyFrom(failure(facts["failure"]))
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

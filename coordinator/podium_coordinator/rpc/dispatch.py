"""Between the shard's words and the session protocol's messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Final, TypeVar
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from podium.errors import InvalidArgumentError
from podium.v1 import run_pb2, session_pb2
from podium_coordinator.app.events import AgentHello, AgentLink, AgentSaid, AttemptName, Held, Order
from podium_coordinator.app.live import LiveRun
from podium_coordinator.domain.lifecycle import Finish
from podium_coordinator.domain.records import Failure
from podium_coordinator.domain.run import LiveAttempt
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

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SUCCEEDED: Final = AttemptState.SUCCEEDED

T = TypeVar("T")


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
        token=name.token,
    )


def attempt_name(message: session_pb2.AttemptReference) -> AttemptName:
    """Return the attempt a message names."""
    if len(message.run_id) != 16 or len(message.token) != 16:
        raise InvalidReportError("An attempt's run_id and token have 16 bytes each.")
    return AttemptName(UUID(bytes=message.run_id), message.task, message.map_index, message.number, message.token)


def assignments(orders: Iterable[Order]) -> list[session_pb2.Assignments]:
    """Return the messages that order attempts: one for all that have an order in common.

    Those of higher priority come first, and of these the small groups: a small run does not wait behind a large one.
    """
    groups: dict[tuple[int, int, bool], list[Order]] = {}
    for order in orders:
        live = order.live
        common = live.compiled.wording.common_of[live.run.task_of(order.index)]
        groups.setdefault((id(live), common, order.attempt.traced), []).append(order)
    return [_together(group) for group in sorted(groups.values(), key=_turn)]


def _turn(group: list[Order]) -> tuple[int, int]:
    run = group[0].live.run
    return -run.graph.scheduling_class(run.task_of(group[0].index)).priority, len(group)


def _together(group: list[Order]) -> session_pb2.Assignments:
    live = group[0].live
    wording, keys = live.compiled.wording, live.compiled.graph.keys
    tasks = [live.run.task_of(order.index) for order in group]
    map_indexes = [live.run.map_index_of(order.index) for order in group]
    numbers = [order.attempt.number for order in group]
    called = [said for task in tasks if (said := wording.arguments(task)) is not None]
    alike = called.count(called[0]) == len(called) if called else True
    told = any(order.inputs for order in group)
    return session_pb2.Assignments(
        run_id=live.run_id.bytes,
        order=_common(live, tasks[0], group[0].attempt.traced),
        tasks=tasks,
        task_keys=[keys[task] for task in tasks],
        map_indexes=() if map_indexes.count(-1) == len(tasks) else map_indexes,
        numbers=() if numbers.count(1) == len(tasks) else numbers,
        tokens=b"".join([order.attempt.token for order in group]),
        arguments=called[:1] if alike else called,
        inputs=[_inputs(order) for order in group] if told else (),
    )


def _inputs(order: Order) -> session_pb2.TaskInputs:
    return session_pb2.TaskInputs(
        inputs=[session_pb2.TaskInput(task=key, output=output) for key, output in order.inputs]
    )


def _common(live: LiveRun, task: int, traced: bool) -> session_pb2.Order:
    which = live.compiled.wording.common_of[task]
    known = live.orders.get((which, traced))
    if known is None:
        common = live.compiled.wording.commons[which]
        known = live.orders[which, traced] = session_pb2.Order(
            workflow=live.record.workflow,
            version=live.record.version,
            action=common.action,
            params=live.record.params,
            resources=common.resources,
            run_timeout=common.run_timeout,
            bundle=live.compiled.bundle,
            trace_id=live.record.trace_id if traced else b"",
        )
    return known


def weight(order: Order) -> int:
    """Return about how many bytes an order takes in a message."""
    arguments = order.live.compiled.wording.arguments(order.live.run.task_of(order.index)) or b""
    return 64 + len(arguments) + sum(len(output) + 32 for _, output in order.inputs)


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


def report(
    link: AgentLink, agent_id: UUID, message: session_pb2.ConnectRequest, delivered: Sequence[LiveAttempt] = ()
) -> AgentSaid:
    """Return what an agent's message says; `delivered` are the attempts it holds by having heard of them."""
    finished = [_finished(item) for item in message.finished]
    for group in message.succeeded:
        finished += _successes(group)
    return AgentSaid(
        link=link,
        agent_id=agent_id,
        sequence=message.sequence,
        delivered=delivered,
        started=[(attempt_name(item.attempt), _instant(item.start_time)) for item in message.started],
        finished=finished,
        returned=[attempt_name(item) for item in message.returned],
        draining=message.draining,
    )


Ended = tuple[AttemptName, Finish, float]


def _successes(told: session_pb2.Successes) -> Iterator[Ended]:
    """Yield the ends told in columns.

    Raises:
        InvalidReportError: The columns do not fit each other, or an entry is over the protocol's limit.
    """
    count = len(told.tasks)
    logs, log_bytes = _column(told.logs, count), _column(told.log_bytes, count)
    if len(told.run_id) != 16 or len(told.tokens) != 16 * count:
        raise InvalidReportError("A run's id and each attempt's token have 16 bytes.")
    if not len(told.outputs) == len(told.start_micros) == len(told.duration_micros) == count:
        raise InvalidReportError("Each success has an output, a start and a duration.")
    if max(map(len, told.outputs), default=0) > LARGEST_OUTPUT or max(map(len, logs), default=0) > LARGEST_INLINE_LOG:
        raise InvalidReportError("A finished attempt's output or log is over the protocol's limit.")
    run_id, tokens = UUID(bytes=told.run_id), told.tokens
    columns = zip(
        told.tasks,
        _column(told.map_indexes, count) or repeat(-1),
        _column(told.numbers, count) or repeat(1),
        range(0, 16 * count, 16),
        told.start_micros,
        told.duration_micros,
        told.outputs,
        logs or repeat(b""),
        log_bytes or repeat(None),
        strict=False,
    )
    for task, map_index, number, at, start, duration, output, log, size in columns:
        name = AttemptName(run_id, task, map_index, number, tokens[at : at + 16])
        kept = len(log) if size is None else size
        began = _EPOCH + timedelta(microseconds=start)
        yield name, Finish(_SUCCEEDED, began, output, log=log or None, log_bytes=kept), duration / 1e6


def _column(column: Sequence[T], count: int) -> Sequence[T]:
    if column and len(column) != count:
        raise InvalidReportError(f"A column of {len(column)} entries stands beside {count} attempts.")
    return column


def _finished(message: session_pb2.AttemptFinished) -> Ended:
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

"""One trace per run, told by the shard's owner from what was committed.

    run {workflow}                  from its commit to its end
    ├── queued                      until it is taken up
    └── task {key}                  from ready to its end; before that it waited for its upstreams
        ├── wait for capacity       from ready to assigned, for each attempt
        ├── attempt                 from assigned to its end
        │   ├── dispatch            from assigned to started
        │   └── execute {task}      the agent's own span, with what the task's code adds
        └── back-off                until the next try

The ids of all these spans follow from the ids of the run, so agents name their parent without asking, and an owner that
takes over goes on with the same trace. Spans are exported over OTLP when the standard `OTEL_...` variables say so;
losing them loses nothing else.

Which runs are traced is what OTEL_TRACES_SAMPLER says. Within them, so many task runs a second are told in detail;
beyond that only those that are worth it: failed, tried again, or slow. The run's span says how many were left out, in
`podium.run.task_runs_left_out`. Whether an attempt is within the bound is decided when it is assigned, so that its
agent, too, spends nothing on one that is not.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from podium.telemetry import attempt_span, export_configured, span_id
from podium.version import __version__
from podium_coordinator.app.board import Board
from podium_coordinator.app.live import LiveRun
from podium_coordinator.domain.records import AttemptEnded, RunEnded, RunStarted, TaskRunEnded
from podium_coordinator.domain.run import Effects, LiveAttempt, Released
from podium_coordinator.domain.states import RunState, TaskRunState

FLUSH_LIMIT: Final = 3.0
"""Seconds that exporting the last spans may delay the end of the process."""

DETAILED_PER_SECOND: Final = 100
SLOW: Final = timedelta(seconds=1)
SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
"""Only of runs that are traced spans are made at all."""


class Budget:
    """So much a second, and no more than one second's worth at once."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._left = per_second
        self._at = clock()

    def spend(self) -> bool:
        """Take one; return whether there was one left."""
        if self._left < 1.0:
            now = self._clock()
            self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
            self._at = now
            if self._left < 1.0:
                return False
        self._left -= 1.0
        return True


class FixedIds(IdGenerator):
    """Gives the ids that were set last."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_span_id(self) -> int:
        """Return the span id that was set."""
        return self.span_id

    def generate_trace_id(self) -> int:
        """Return the trace id that was set."""
        return self.trace_id


class Tracing:
    """Emits the spans of runs. With no exporter it does nothing, and runs are not traced."""

    def __init__(self, exporter: SpanExporter | None, budget: Budget | None = None) -> None:
        """Export through `exporter`; `budget` bounds the task runs told in detail."""
        self.enabled = exporter is not None
        self._budget = budget or Budget(DETAILED_PER_SECOND)
        self._ids = FixedIds()
        resource = Resource.create({"service.name": "podium-coordinator", "service.version": __version__})
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        if exporter is not None:
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("podium.coordinator", __version__)

    @classmethod
    def from_environment(cls, detailed: int) -> Tracing:
        """Export as the standard variables say, `detailed` task runs a second in detail."""
        return cls(OTLPSpanExporter() if export_configured(os.environ) else None, Budget(detailed))

    def sampled(self, trace_id: bytes) -> bool:
        """Return whether a run is traced."""
        if not self.enabled:
            return False
        decision = self._provider.sampler.should_sample(None, int.from_bytes(trace_id, "big"), "run")
        return decision.decision is Decision.RECORD_AND_SAMPLE

    def in_detail(self, attempt: LiveAttempt) -> bool:
        """Return whether an attempt of a traced run is traced from its beginning, by its agent too."""
        return attempt.number > 1 or self._budget.spend()

    def committed(self, board: Board, effects: Effects) -> None:
        """Tell what a batch ended."""
        if not self.enabled:
            return
        for started in effects.runs_started:
            if (live := board.runs[started.run_id]).sampled:
                self._taken_up(live, started)
        for row, released in zip(effects.attempts_ended, effects.released, strict=True):
            if (live := board.runs[row.run_id]).sampled:
                self._attempt_told(board, live, row, released)
        for end in effects.task_runs_ended:
            if (live := board.runs[end.run_id]).sampled:
                self._task_run_ended(live, end)
        for run_ended in effects.runs_ended:
            if (live := board.runs[run_ended.run_id]).sampled:
                self._run_ended(live, run_ended)

    async def close(self) -> None:
        """Export what is left, within `FLUSH_LIMIT`."""
        try:
            await asyncio.wait_for(asyncio.to_thread(self._provider.force_flush, int(FLUSH_LIMIT * 1000)), FLUSH_LIMIT)
        except TimeoutError:
            return  # spans are not worth a longer wait

    def _taken_up(self, live: LiveRun, started: RunStarted) -> None:
        self._emit(live, "queued", run_span(live), _ids(live, "queued"), live.record.created_at, started.at, {})

    def _run_ended(self, live: LiveRun, ended: RunEnded) -> None:
        attributes: dict[str, AttributeValue] = {
            "podium.run.id": str(live.run_id),
            "podium.workflow.name": live.record.workflow,
            "podium.workflow.version": live.record.version,
            "podium.run.state": ended.state.value,
            "podium.run.task_runs_left_out": live.untold,
        }
        bad = ended.reason or "A task failed." if ended.state is RunState.FAILED else ""
        name = f"run {live.record.workflow}"
        self._emit(live, name, None, run_span(live), live.record.created_at, ended.at, attributes, bad)

    def _attempt_told(self, board: Board, live: LiveRun, row: AttemptEnded, released: Released) -> None:
        if released.attempt.traced or _worth_telling(row, released.attempt):
            self._attempt_ended(board, live, row, released)
        elif row.closes:
            live.untold += 1

    def _task_run_ended(self, live: LiveRun, end: TaskRunEnded) -> None:
        if end.failure is not None or self._budget.spend():
            self._task_ended(live, end, end.at, end.at)
        else:
            live.untold += 1

    def _attempt_ended(self, board: Board, live: LiveRun, row: AttemptEnded, released: Released) -> None:
        attempt = released.attempt
        span = attempt_span(row.run_id.bytes, row.task, row.map_index, row.number)
        first, ready = live.ready_at.get(released.index, (attempt.assigned_at, attempt.assigned_at))
        task, number = task_span(live, row.task, row.map_index), f"{row.task}/{row.map_index}/{row.number}"
        self._emit(live, "wait for capacity", task, _ids(live, "capacity", number), ready, attempt.assigned_at, {})
        bad = row.failure.message or row.failure.kind.value if row.failure else ""
        self._emit(
            live,
            "attempt",
            task,
            span,
            attempt.assigned_at,
            row.at,
            self._about(board, row, attempt),
            bad,
        )
        if row.started_at is not None:
            begun = max(row.started_at, attempt.assigned_at)
            self._emit(live, "dispatch", span, _ids(live, "dispatch", number), attempt.assigned_at, begun, {})
        if row.closes:
            self._task_ended(live, row, first, row.at)
        elif row.retry_at is not None and row.retry_at > row.at:
            self._emit(live, "back-off", task, _ids(live, "backoff", number), row.at, row.retry_at, {})

    def _about(self, board: Board, row: AttemptEnded, attempt: LiveAttempt) -> dict[str, AttributeValue]:
        about: dict[str, AttributeValue] = {
            "podium.attempt.number": row.number,
            "podium.attempt.state": row.state.value,
            "podium.agent.name": board.agent_name(attempt.agent_id),
        }
        return about | ({"error.type": row.failure.kind.value} if row.failure else {})

    def _task_ended(self, live: LiveRun, end: AttemptEnded | TaskRunEnded, begin: datetime, finish: datetime) -> None:
        key = live.compiled.graph.keys[end.task]
        state = live.run.state_of(end.task)
        attributes: dict[str, AttributeValue] = {
            "podium.run.id": str(live.run_id),
            "podium.task.key": key,
            "podium.task_run.state": state.value,
        }
        bad = state in (TaskRunState.FAILED, TaskRunState.UPSTREAM_FAILED)
        message = (end.failure.message if end.failure else state.value) if bad else ""
        self._emit(
            live,
            f"task {key}",
            run_span(live),
            task_span(live, end.task, end.map_index),
            begin,
            finish,
            attributes,
            message,
        )

    def _emit(
        self,
        live: LiveRun,
        name: str,
        parent: bytes | None,
        own: bytes,
        begin: datetime,
        end: datetime,
        attributes: Mapping[str, AttributeValue],
        error: str = "",
    ) -> None:
        self._ids.trace_id = int.from_bytes(live.record.trace_id, "big")
        self._ids.span_id = int.from_bytes(own, "big")
        context = None
        if parent is not None:
            above = SpanContext(self._ids.trace_id, int.from_bytes(parent, "big"), is_remote=False, trace_flags=SAMPLED)
            context = set_span_in_context(NonRecordingSpan(above))
        span = self._tracer.start_span(
            name, context, SpanKind.INTERNAL, attributes=dict(attributes), start_time=_nanoseconds(begin)
        )
        if error:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(_nanoseconds(max(begin, end)))


def run_span(live: LiveRun) -> bytes:
    """Return the 8 bytes that name a run's span."""
    return _ids(live, "run")


def task_span(live: LiveRun, task: int, map_index: int) -> bytes:
    """Return the 8 bytes that name a task run's span."""
    return _ids(live, "task", f"{task}/{map_index}")


def _worth_telling(row: AttemptEnded, attempt: LiveAttempt) -> bool:
    """Whether an attempt is told however many are: it failed, was not the first, or took long."""
    return row.failure is not None or row.number > 1 or row.at - attempt.assigned_at > SLOW


def _ids(live: LiveRun, *parts: str) -> bytes:
    return span_id(live.run_id.bytes, *(part.encode() for part in parts))


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1_000

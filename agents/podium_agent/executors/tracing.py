"""The `execute` span of an attempt, and the spans that the task's own code makes through the plain OpenTelemetry API.

A worker exports nothing itself: it hands ended spans, encoded, to the session at the attempt's end. OpenTelemetry's SDK
is imported with the first attempt that is traced, so that workers that trace nothing pay nothing.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from podium.telemetry import export_configured

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

    from podium_agent.executors.outcome import Outcome

MOST_SPANS = 2048
"""Spans kept of one attempt; the first ones are dropped."""


class AttemptTracing:
    """Traces attempts, if the standard variables ask for it."""

    def __init__(self) -> None:
        self._wanted = export_configured(os.environ)
        self._provider: TracerProvider | None = None
        self._ended: deque[ReadableSpan] = deque(maxlen=MOST_SPANS)

    @contextmanager
    def attempt(self, environment: dict[str, str]) -> Iterator[list[Outcome]]:
        """Make the block's span the current one; the block puts the attempt's outcome into the list it is given."""
        outcome: list[Outcome] = []
        if not self._wanted or not environment["TRACEPARENT"]:
            yield outcome
            return
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract({"traceparent": environment["TRACEPARENT"]})
        tracer = self._installed().get_tracer("podium.agent")
        with tracer.start_as_current_span(f"execute {environment['PODIUM_TASK']}", context=parent) as span:
            yield outcome
            span.set_attribute("podium.run.id", environment["PODIUM_RUN_ID"])
            span.set_attribute("podium.attempt.number", int(environment["PODIUM_ATTEMPT"]))
            failure = outcome[0].failure if outcome else None
            if failure and outcome[0].state == "failed":
                span.set_attribute("error.type", str(failure["kind"]))
                span.set_status(trace.Status(trace.StatusCode.ERROR, str(failure["message"])))

    def take(self) -> bytes:
        """Return the spans that ended since the last call as an OTLP request; empty without any."""
        if not self._ended:
            return b""
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        spans = [self._ended.popleft() for _ in range(len(self._ended))]
        return encode_spans(spans).SerializeToString()

    def _installed(self) -> TracerProvider:
        if self._provider is None:
            self._provider = _provider(self._ended)
        return self._provider


def _provider(ended: deque[ReadableSpan]) -> TracerProvider:
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    class Keep(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            ended.extend(spans)
            return SpanExportResult.SUCCESS

        def shutdown(self, **_: Any) -> None:
            ended.clear()

    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "podium-agent")})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Keep()))
    trace.set_tracer_provider(provider)
    return provider

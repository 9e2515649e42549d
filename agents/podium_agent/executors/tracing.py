"""The `execute` span of an attempt, and the spans that the task's own code makes through the plain OpenTelemetry API.

A worker exports nothing itself: it hands ended spans, encoded, to the session at the attempt's end. OpenTelemetry's SDK
is imported while the worker starts, and only where spans are exported: others pay nothing, and no attempt waits for it.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from podium.telemetry import export_configured

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.trace import Span

    from podium_agent.executors.outcome import Outcome

MOST_SPANS = 2048
"""Spans kept of one attempt; the first ones are dropped."""


class AttemptTracing:
    """Traces attempts, if the standard variables ask for it. A fault of tracing costs spans, never an attempt."""

    def __init__(self) -> None:
        self._wanted = export_configured(os.environ)
        self._provider: TracerProvider | None = None
        self._ended: deque[ReadableSpan] = deque(maxlen=MOST_SPANS)
        self._span: Span | None = None
        self._outer: Any = None

    def prepare(self) -> None:
        """Load what takes a while, before there is an attempt that would wait for it."""
        if self._wanted:
            with suppressed("prepare"):
                from opentelemetry.exporter.otlp.proto.common import trace_encoder  # noqa: F401 - for `_end`

                self._provider = _provider(self._ended)

    def begin(self, environment: dict[str, str]) -> None:
        """Begin the attempt's span and make it the current one, here and for programs that get `environment`."""
        if self._provider is not None and environment["TRACEPARENT"]:
            with suppressed("begin"):
                self._begin(self._provider, environment)

    def end(self, ended: Outcome) -> bytes:
        """End the attempt's span; return what was recorded as an OTLP request, empty without any."""
        span, self._span = self._span, None
        if span is None:
            return b""
        with suppressed("end"):
            return self._end(span, ended)
        return b""

    def _begin(self, provider: TracerProvider, environment: dict[str, str]) -> None:
        from opentelemetry import context, trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        propagator = TraceContextTextMapPropagator()
        parent = propagator.extract({"traceparent": environment["TRACEPARENT"]})
        attributes: dict[str, str | int] = {
            "podium.run.id": environment["PODIUM_RUN_ID"],
            "podium.attempt.number": int(environment["PODIUM_ATTEMPT"]),
        }
        tracer = provider.get_tracer("podium.agent")
        self._span = tracer.start_span(f"execute {environment['PODIUM_TASK']}", parent, attributes=attributes)
        own = trace.set_span_in_context(self._span)
        self._outer = context.attach(own)
        carrier: dict[str, str] = {}
        propagator.inject(carrier, own)
        environment["TRACEPARENT"] = carrier.get("traceparent", "")

    def _end(self, span: Span, ended: Outcome) -> bytes:
        from opentelemetry import context, trace
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        context.detach(self._outer)
        if ended.failure and ended.state == "failed":
            span.set_attribute("error.type", str(ended.failure["kind"]))
            span.set_status(trace.Status(trace.StatusCode.ERROR, str(ended.failure["message"])))
        span.end()
        spans = [self._ended.popleft() for _ in range(len(self._ended))]
        return encode_spans(spans).SerializeToString()


@contextmanager
def suppressed(what: str) -> Iterator[None]:
    """Say on stderr that tracing failed, and go on."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - OpenTelemetry and its plug-ins may raise anything
        sys.stderr.write(f"podium-worker: tracing failed ({what}): {error!r}\n")


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

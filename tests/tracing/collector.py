"""A real OTLP collector: a gRPC server that keeps the spans it is sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

ROOT = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A span as a backend shows it; ids in hexadecimal, times in nanoseconds."""

    trace: str
    id: str
    parent: str
    name: str
    service: str
    start: int
    end: int
    failed: bool
    attributes: dict[str, str]


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps spans, and lets a test wait for those it needs."""

    def __init__(self) -> None:
        self._spans: dict[str, Span] = {}
        self._changed = threading.Condition()

    def Export(  # noqa: N802 - the name is the protocol's
        self, request: pb.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> pb.ExportTraceServiceResponse:
        del context
        with self._changed:
            for span in _spans(request):
                self._spans[span.id] = span
            self._changed.notify_all()
        return pb.ExportTraceServiceResponse()

    def wait_for(self, trace: str, enough: Callable[[list[Span]], bool], seconds: float = 30.0) -> list[Span]:
        """Return a trace's spans as soon as `enough` says so."""
        with self._changed:
            there = self._changed.wait_for(lambda: enough(self.of(trace)), seconds)
            spans = self.of(trace)
        assert there, f"only these came: {sorted(span.name for span in spans)}"
        return spans

    def of(self, trace: str) -> list[Span]:
        """Return a trace's spans so far."""
        return [span for span in self._spans.values() if span.trace == trace]


def _spans(request: pb.ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        about = {item.key: item.value.string_value for item in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.name,
                    about.get("service.name", ""),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code == span.status.STATUS_CODE_ERROR,
                    {item.key: item.value.string_value or str(item.value.int_value) for item in span.attributes},
                )


@contextmanager
def running_collector() -> Iterator[tuple[Collector, str]]:
    """Run a collector; yield it and its address for OTEL_EXPORTER_OTLP_ENDPOINT."""
    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]  # generated
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait()

"""OpenTelemetry's standard exporter, for spans that are encoded already."""

from __future__ import annotations

from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Forwarder(OTLPSpanExporter):
    """Sends what workers have encoded, where and how the standard variables say."""

    def send(self, spans: bytes) -> None:
        """Export an encoded ExportTraceServiceRequest. Blocking; what cannot be sent is given up."""
        self.export(ExportTraceServiceRequest.FromString(spans))  # type: ignore[arg-type]  # see _translate_data

    def _translate_data(self, data: Any) -> ExportTraceServiceRequest:
        encoded: ExportTraceServiceRequest = data
        return encoded

    def _count_data(self, data: Any) -> int:
        return sum(len(scope.spans) for resource in data.resource_spans for scope in resource.scope_spans)

"""Whether traces are exported: what the standard OpenTelemetry variables say. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping


def export_configured(environment: Mapping[str, str]) -> bool:
    """Whether the standard variables ask for traces to be exported over OTLP."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return False
    return bool(environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"))

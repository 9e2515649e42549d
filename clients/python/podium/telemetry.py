"""Traces: whether they are exported, and the names of the spans that several processes must agree on.

The ids of spans follow from the ids of the run, so that no process has to ask another. Standard library only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def export_configured(environment: Mapping[str, str]) -> bool:
    """Whether the standard variables ask for traces to be exported over OTLP."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return False
    return bool(environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"))


def span_id(*parts: bytes) -> bytes:
    """Return the 8 bytes that name a span, the same wherever and whenever they are computed."""
    return hashlib.blake2b(b"\0".join(parts), digest_size=8).digest()


def attempt_span(run_id: bytes, task: int, map_index: int, number: int) -> bytes:
    """Return the 8 bytes that name an attempt's span; `run_id` has 16 bytes."""
    return span_id(run_id, b"attempt", f"{task}/{map_index}/{number}".encode())


def traceparent(trace_id: bytes, span: bytes) -> str:
    """Return the W3C trace context of a sampled span."""
    return f"00-{trace_id.hex()}-{span.hex()}-01"

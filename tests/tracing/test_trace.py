"""One trace per run, as a real collector gets it from a coordinator and its agents, and as a real Jaeger shows it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from podium import AsyncClient, RunState
from tests.cluster.cluster import BRISK, TWO_AGENTS, Cluster, free_port
from tests.cluster.fixtures import running_cluster
from tests.tracing.collector import ROOT, Span, running_collector

PROJECT = Path(__file__).parent / "project"
JAEGER = os.environ.get("PODIUM_TEST_JAEGER", "")
EAGER = {"OTEL_BSP_SCHEDULE_DELAY": "200"}
LAST = {"run traced", "task flaky", "execute flaky", "parse"}

EXPECTED = sorted(
    [
        (ROOT, "run traced"),
        ("run traced", "queued"),
        ("run traced", "task load"),
        ("task load", "wait for capacity"),
        ("task load", "attempt"),
        ("attempt", "dispatch"),
        ("attempt", "execute load"),
        ("execute load", "read the source"),
        ("read the source", "parse"),
        ("run traced", "task flaky"),
        ("task flaky", "wait for capacity"),
        ("task flaky", "attempt"),
        ("attempt", "dispatch"),
        ("attempt", "execute flaky"),
        ("task flaky", "back-off"),
        ("task flaky", "wait for capacity"),
        ("task flaky", "attempt"),
        ("attempt", "dispatch"),
        ("attempt", "execute flaky"),
    ]
)


@contextmanager
def a_traced_cluster(endpoint: str) -> Iterator[Cluster]:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **EAGER}
    with running_cluster(TWO_AGENTS, BRISK, (PROJECT,), environment) as cluster:
        yield cluster


async def run_traced(cluster: Cluster) -> str:
    async with AsyncClient(cluster.address) as client:
        run = await client.run("traced")
        ended = await run.wait(timeout=60)
        assert ended.state is RunState.SUCCEEDED
        return ended.trace_id


def edges(spans: list[Span]) -> list[tuple[str, str]]:
    names = {span.id: span.name for span in spans} | {ROOT: ROOT}
    return sorted((names.get(span.parent, f"missing {span.parent}"), span.name) for span in spans)


def check(spans: list[Span]) -> None:
    """Complete, with the right parents across processes, and waiting told apart from executing."""
    assert edges(spans) == EXPECTED
    by_id = {span.id: span for span in spans}
    for span in spans:
        if span.parent and span.name != "back-off":
            assert by_id[span.parent].start <= span.start <= span.end, span
    services = {span.name: span.service for span in spans}
    assert services["run traced"] == "podium-coordinator"
    assert services["execute load"] == "podium-agent"
    tries = sorted((span for span in spans if span.name == "execute flaky"), key=lambda span: span.start)
    assert [span.failed for span in tries] == [True, False]
    for task in (span for span in spans if span.name.startswith("task ")):
        attempts = [span for span in spans if span.parent == task.id and span.name == "attempt"]
        waits = [span for span in spans if span.parent == task.id and span.name == "wait for capacity"]
        assert [wait.end for wait in sorted(waits, key=_start)] == [a.start for a in sorted(attempts, key=_start)]


def _start(span: Span) -> int:
    return span.start


def test_a_run_is_one_whole_trace_across_coordinator_agents_and_the_tasks_own_code() -> None:
    with running_collector() as (collector, endpoint), a_traced_cluster(endpoint) as cluster:
        trace = asyncio.run(run_traced(cluster))
        check(collector.wait_for(trace, lambda spans: len(spans) >= len(EXPECTED)))


def test_a_collector_that_is_not_there_slows_nothing_and_fails_nothing() -> None:
    with a_traced_cluster(f"http://127.0.0.1:{free_port()}") as cluster:
        asyncio.run(run_traced(cluster))


@pytest.mark.skipif(not JAEGER, reason="NOT RUN: PODIUM_TEST_JAEGER names no Jaeger binary")
def test_jaeger_shows_the_same_trace() -> None:
    with a_jaeger() as (endpoint, query), a_traced_cluster(endpoint) as cluster:
        trace = asyncio.run(run_traced(cluster))
        check(spans_of(query, trace))


@contextmanager
def a_jaeger() -> Iterator[tuple[str, str]]:
    """Run Jaeger with its built-in settings: OTLP on 4317, queries on 16686."""
    process = subprocess.Popen([JAEGER], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        query = "http://127.0.0.1:16686"
        _ask(f"{query}/api/services")
        yield "http://127.0.0.1:4317", query
    finally:
        process.terminate()
        process.wait(30)


def spans_of(query: str, trace: str) -> list[Span]:
    """Return a trace by Jaeger's query API, once it is whole."""
    deadline = time.monotonic() + 30
    while True:
        found = _ask(f"{query}/api/traces/{trace}")
        spans = list(_jaeger_spans(found))
        if len(spans) >= len(EXPECTED) or time.monotonic() > deadline:
            return spans


def _ask(url: str) -> dict[str, list[dict[str, object]]]:
    """Ask until Jaeger answers; a trace it does not know yet is an empty one."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own loopback address
                loaded: dict[str, list[dict[str, object]]] = json.load(answer)
                return loaded
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return {"data": []}
            raise
        except OSError:
            if time.monotonic() > deadline:
                raise


def _jaeger_spans(found: dict[str, list[dict[str, object]]]) -> Iterator[Span]:
    for trace in found.get("data") or []:
        processes: dict[str, dict[str, str]] = trace["processes"]  # type: ignore[assignment]  # Jaeger's JSON
        spans: list[dict[str, object]] = trace["spans"]  # type: ignore[assignment]  # Jaeger's JSON
        for span in spans:
            references: list[dict[str, str]] = span["references"]  # type: ignore[assignment]  # Jaeger's JSON
            tags: list[dict[str, object]] = span["tags"]  # type: ignore[assignment]  # Jaeger's JSON
            start = int(str(span["startTime"])) * 1000
            yield Span(
                str(span["traceID"]),
                str(span["spanID"]),
                references[0]["spanID"] if references else ROOT,
                str(span["operationName"]),
                processes[str(span["processID"])]["serviceName"],
                start,
                start + int(str(span["duration"])) * 1000,
                any(tag["key"] == "error" and tag["value"] is True for tag in tags),
                {str(tag["key"]): str(tag["value"]) for tag in tags},
            )

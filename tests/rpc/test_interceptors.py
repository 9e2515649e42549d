"""The wrapper round every handler, over a real connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import psycopg
import psycopg_pool
import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from podium.errors import (
    AgentNameTakenError,
    FieldViolation,
    InvalidWorkflowError,
    NoOwnerError,
    OutputsTooLargeError,
    PodiumError,
    RequestIdReusedError,
    RunNotFoundError,
)
from podium_coordinator.rpc.server import ServerOptions
from podium_coordinator.structured_logs import Event
from tests.rpc.probe import details, method, refused, serving


def raising(error: BaseException) -> Any:
    async def handler(request: bytes, context: Any) -> bytes:
        raise error

    return handler


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (InvalidWorkflowError("bad"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_WORKFLOW"),
        (RunNotFoundError("no run r", run="r"), grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND"),
        (RequestIdReusedError("again"), grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"),
        (AgentNameTakenError("taken"), grpc.StatusCode.FAILED_PRECONDITION, "AGENT_NAME_TAKEN"),
        (OutputsTooLargeError("large"), grpc.StatusCode.RESOURCE_EXHAUSTED, "OUTPUTS_TOO_LARGE"),
        (NoOwnerError("nobody"), grpc.StatusCode.UNAVAILABLE, "NO_OWNER"),
        (psycopg.OperationalError("secret host"), grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        (psycopg_pool.TooManyRequests("queue"), grpc.StatusCode.UNAVAILABLE, "OVERLOADED"),
    ],
)
async def test_each_category_has_its_code_and_keeps_its_reason(
    error: Exception, code: grpc.StatusCode, reason: str
) -> None:
    async with serving(unary=raising(error)) as (_, channel):
        told = await refused(channel.unary_unary(method("unary"))(b""))

    info, _ = details(told)
    assert (told.code(), info.reason, info.domain) == (code, reason, "podium")
    assert "secret" not in str(told.details())


async def test_metadata_and_violations_reach_the_caller() -> None:
    violation = FieldViolation("tasks[3].key", "is given twice", line=7)
    error = InvalidWorkflowError("One problem.", (violation,), workflow="flow")
    async with serving(unary=raising(error)) as (_, channel):
        info, bad = details(await refused(channel.unary_unary(method("unary"))(b"")))

    assert dict(info.metadata) == {"workflow": "flow"}
    assert [(v.field, v.description) for v in bad.field_violations] == [("tasks[3].key", "line 7: is given twice")]


async def test_ten_thousand_violations_are_cut_to_what_trailers_hold() -> None:
    violations = tuple(FieldViolation(f"tasks[{n}].key", "ключ повторяется") for n in range(10_000))
    error = InvalidWorkflowError("ü" * 5000, violations, workflow="w" * 4000)
    async with serving(unary=raising(error)) as (_, channel):
        told = await refused(channel.unary_unary(method("unary"))(b""))

    _, bad = details(told)
    assert told.code() is grpc.StatusCode.INVALID_ARGUMENT
    shown = len(bad.field_violations) - 1
    assert shown > 10
    assert bad.field_violations[-1].description.startswith(f"{10_000 - shown} more problems")


@pytest.mark.parametrize("error", [RuntimeError("password=hunter2"), PodiumError("password=hunter2"), TimeoutError()])
async def test_an_unknown_error_is_told_by_an_id_that_the_log_has_once(error: Exception) -> None:
    with capture_logs() as lines:
        async with serving(unary=raising(error)) as (_, channel):
            told = await refused(channel.unary_unary(method("unary"))(b""))

    info, _ = details(told)
    error_id = info.metadata["error_id"]
    assert told.code() is grpc.StatusCode.INTERNAL
    assert error_id in str(told.details())
    assert "hunter2" not in str(told)
    (line,) = [line for line in lines if line.get("error_id") == error_id]
    assert (line["event"], line["exc_info"]) == (Event.CALL_BROKE, error)


async def test_every_call_has_a_line_in_the_log() -> None:
    with capture_logs(processors=[merge_contextvars]) as lines:
        async with serving(unary=raising(RunNotFoundError("no"))) as (_, channel):
            await refused(channel.unary_unary(method("unary"))(b""))

    (line,) = [line for line in lines if line["event"] == Event.CALL_ENDED]
    assert (line["method"], line["code"], line["reason"]) == (method("unary"), "NOT_FOUND", "RUN_NOT_FOUND")
    assert line["milliseconds"] >= 0


async def test_a_cancellation_of_something_else_does_not_hang_the_caller() -> None:
    async with serving(unary=raising(asyncio.CancelledError())) as (_, channel):
        told = await refused(channel.unary_unary(method("unary"))(b""))

    assert told.code() is grpc.StatusCode.INTERNAL


async def test_an_error_in_a_stream_comes_after_what_was_sent() -> None:
    async def stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"one"
        raise RunNotFoundError("gone", run="r")

    async with serving(stream=stream) as (_, channel):
        call = channel.unary_stream(method("stream"))(b"")
        assert await call.read() == b"one"
        told = await refused(call.read())

    assert details(told)[0].reason == "RUN_NOT_FOUND"


async def test_a_generator_is_closed_before_its_call_is_over_when_the_caller_leaves() -> None:
    closed = asyncio.Event()

    async def stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            closed.set()

    async with serving(stream=stream) as (server, channel):
        call = channel.unary_stream(method("stream"))(b"")
        await call.read()
        call.cancel()
        assert await server.calls.wait_idle(10)
        assert closed.is_set()


async def test_a_call_that_takes_too_long_is_ended() -> None:
    async def unary(request: bytes, context: Any) -> bytes:
        await asyncio.Event().wait()
        return b""

    options = ServerOptions(listen=["127.0.0.1:0"], call_timeout=0.05)
    async with serving(options, unary=unary) as (_, channel):
        told = await refused(channel.unary_unary(method("unary"))(b""))

    assert told.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "0.05 s" in str(told.details())


async def test_stopping_waits_for_the_cleanup_of_handlers() -> None:
    entered, cleaned = asyncio.Event(), asyncio.Event()
    free = asyncio.Event()

    async def unary(request: bytes, context: Any) -> bytes:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            await free.wait()
            cleaned.set()
        return b""

    async with serving(unary=unary) as (server, channel):
        call = channel.unary_unary(method("unary"))(b"")
        await entered.wait()
        stop = asyncio.create_task(server.stop(0))
        asyncio.get_running_loop().call_later(0.1, free.set)
        await stop
        assert cleaned.is_set()
        assert (await refused(call)).code() in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}


async def test_draining_sends_watchers_elsewhere_and_leaves_calls_alone() -> None:
    entered, free = asyncio.Event(), asyncio.Event()

    async def watch(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    async def unary(request: bytes, context: Any) -> bytes:
        entered.set()
        await free.wait()
        return b"answered"

    async with serving(unary=unary, WatchRun=watch) as (server, channel):
        watching = channel.unary_stream(method("WatchRun"))(b"")
        await watching.read()
        calling = channel.unary_unary(method("unary"))(b"")
        await entered.wait()
        await server.drain()
        told = await refused(watching.read())
        free.set()
        assert await calling == b"answered"

    assert told.code() is grpc.StatusCode.UNAVAILABLE
    assert "stopping" in str(told.details())

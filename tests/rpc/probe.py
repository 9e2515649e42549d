"""A bare gRPC service, so that the wrapper and the server are tested apart from what Podium serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # ships no types

from podium_coordinator.rpc.server import CoordinatorServer, ServerOptions

Behavior = Callable[[Any, Any], Any]
SERVICE = "probe.Probe"


class Probe:
    """Handlers that a test sets; each is counted while it runs, and its cleanup is noted."""

    def __init__(self, **handlers: Behavior) -> None:
        self.handlers = handlers

    def register(self, _: object, server: grpc.aio.Server) -> None:
        kinds = {
            "unary": grpc.unary_unary_rpc_method_handler,
            "stream": grpc.unary_stream_rpc_method_handler,
            "upload": grpc.stream_unary_rpc_method_handler,
            "talk": grpc.stream_stream_rpc_method_handler,
            "WatchRun": grpc.unary_stream_rpc_method_handler,
        }
        methods: dict[str, Any] = {name: kinds[name](behavior) for name, behavior in self.handlers.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))


@asynccontextmanager
async def serving(
    options: ServerOptions | None = None, **handlers: Behavior
) -> AsyncIterator[tuple[CoordinatorServer, Any]]:
    server = CoordinatorServer(options or ServerOptions(listen=["127.0.0.1:0"]))
    server.add(Probe(**handlers).register, object(), SERVICE)
    (address,) = await server.start()
    await server.serving(True)
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            yield server, channel
        finally:
            await server.stop(0)


def method(name: str) -> str:
    return f"/{SERVICE}/{name}"


def details(error: grpc.aio.AioRpcError) -> tuple[Any, Any]:
    """Return the ErrorInfo and the BadRequest (or None) of an error."""
    trailers = error.trailing_metadata()
    assert trailers is not None
    raw = trailers["grpc-status-details-bin"]
    assert isinstance(raw, bytes)
    status = status_pb2.Status.FromString(raw)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    bad = error_details_pb2.BadRequest()
    return info, bad if len(status.details) > 1 and status.details[1].Unpack(bad) else None


async def refused(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    """Await a call that must fail, within ten seconds, and return its error."""
    try:
        async with asyncio.timeout(10):
            answer = await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError(f"The call was answered: {answer!r}")

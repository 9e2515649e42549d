"""The one wrapper round every handler: errors, deadlines, cancellation, the request's log line, and the count of calls.

Two traps of grpc.aio shape it. A `CancelledError` that a handler raises on its own (some future it awaited was
cancelled) leaves the caller hanging, so only a cancellation of the handler's own task is let through. And a handler
written as an async generator is left suspended when the caller goes away while a message is being written, so the
wrapper drives the generator itself and closes it before the call is over.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import grpc
import grpc.aio
import structlog

from podium_coordinator.rpc import errors
from podium_coordinator.structured_logs import Event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from podium_coordinator.rpc.calls import Calls

    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
    Behavior: TypeAlias = Callable[[Any, Context], Any]
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]

_log = structlog.stdlib.get_logger("podium.rpc")
_QUIET: Final = ("/grpc.health.", "/grpc.reflection.")
_OURS: Final = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS})


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each handler once; `unary_limit` is the most seconds a call with one request and one answer may take."""

    def __init__(self, calls: Calls, unary_limit: float) -> None:
        self._calls = calls
        self._unary_limit = unary_limit
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the wrapped handler of the method; None, as gRPC has it, for a method nobody serves."""
        method = handler_call_details.method
        known = self._wrapped.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        self._wrapped[method] = self._wrap(handler, method)
        return self._wrapped[method]

    def _wrap(self, handler: Handler, method: str) -> Handler:
        behavior: Any = handler.stream_stream or handler.unary_stream or handler.stream_unary or handler.unary_unary
        unary = not (handler.request_streaming or handler.response_streaming)
        work = _driven(behavior) if handler.response_streaming else behavior
        return _RPC_KINDS[handler.request_streaming, handler.response_streaming](
            self._observed(work, method, self._unary_limit if unary else None),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _observed(self, behavior: Behavior, method: str, limit: float | None) -> Behavior:
        async def call(request: Any, context: Context) -> Any:
            started = time.monotonic()
            with (
                self._calls.entered(method) as task,
                structlog.contextvars.bound_contextvars(method=method, peer=context.peer()),
            ):
                code = grpc.StatusCode.CANCELLED
                try:
                    answer = await self._answer(behavior, request, context, task, limit)
                except grpc.aio.AbortError:
                    code = _code_of(context)
                    raise
                else:
                    code = grpc.StatusCode.OK
                    return answer
                finally:
                    _log_call(method, code, time.monotonic() - started)

        return call

    async def _answer(
        self, behavior: Behavior, request: Any, context: Context, task: asyncio.Task[Any], limit: float | None
    ) -> Any:
        clock = asyncio.timeout(limit)
        try:
            async with clock:
                return await behavior(request, context)
        except grpc.aio.AbortError:
            raise
        except asyncio.CancelledError as error:
            if self._calls.was_interrupted(task):
                task.uncancel()
                await _abort(context, errors.stopping())
            if task.cancelling():
                raise
            await _break(context, error)
        except Exception as error:  # noqa: BLE001 - the last place before the wire: nothing may pass unmapped
            if clock.expired() and limit is not None:
                await _abort(context, errors.deadline(limit))
            await _break(context, error)


_RPC_KINDS: Final[dict[tuple[bool, bool], Callable[..., Handler]]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def _driven(behavior: Behavior) -> Behavior:
    """Return a coroutine function that writes what the generator `behavior` yields, and closes it whatever happens."""
    if not inspect.isasyncgenfunction(behavior):
        return behavior

    async def drive(request: Any, context: Context) -> None:
        async with aclosing(behavior(request, context)) as responses:
            async for response in responses:
                await context.write(response)

    return drive


async def _break(context: Context, error: BaseException) -> NoReturn:
    """Abort the call with what the caller may know of `error`; what he may not goes to the log, once."""
    refusal = errors.refuse(error)
    if refusal.error_id:
        _log.error(Event.CALL_BROKE, error_id=refusal.error_id, exc_info=error)
    await _abort(context, refusal)


async def _abort(context: Context, refusal: errors.Refusal) -> NoReturn:
    structlog.contextvars.bind_contextvars(reason=refusal.reason)
    await context.abort(refusal.code, refusal.message, trailing_metadata=refusal.trailers)


def _code_of(context: Context) -> grpc.StatusCode:
    code: Any = context.code()
    if isinstance(code, grpc.StatusCode):
        return code
    return next((known for known in grpc.StatusCode if known.value[0] == code), grpc.StatusCode.UNKNOWN)


def _log_call(method: str, code: grpc.StatusCode, seconds: float) -> None:
    fields = {"code": code.name, "milliseconds": round(seconds * 1000, 2)}
    if method.startswith(_QUIET):
        _log.debug(Event.CALL_ENDED, **fields)
    elif code in _OURS:
        _log.error(Event.CALL_ENDED, **fields)
    else:
        _log.info(Event.CALL_ENDED, **fields)

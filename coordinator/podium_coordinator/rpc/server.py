"""The gRPC server: where it listens, what it promises about readiness, and how it stops."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from podium.errors import FieldViolation, InvalidSettingError
from podium_coordinator.rpc.calls import Calls
from podium_coordinator.rpc.interceptors import CallInterceptor
from podium_coordinator.rpc.reflected import ReflectedPool
from podium_coordinator.structured_logs import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_log = structlog.stdlib.get_logger("podium.rpc")

AGENT_SESSIONS: Final = "/podium.v1.AgentSessionService/"
_REFLECTION_V1: Final = "grpc.reflection.v1.ServerReflection"
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What the server is told by the settings; times in seconds, sizes in bytes."""

    listen: Sequence[str]
    insecure_listen: bool = False
    max_message_bytes: int = 64 << 20
    call_timeout: float = 60.0

    def channel_arguments(self) -> list[tuple[str, int]]:
        """Return gRPC's options.

        Without `so_reuseport` 0 two servers share a port silently. Clients may ping every 10 s, also between calls;
        our own pings find a frozen peer after 20 s + 5 s.
        """
        return [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.http2.ping_timeout_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 5_000),
        ]


class CoordinatorServer:
    """A grpc.aio server with health, reflection and the wrapper round every handler.

    Life: `add` servicers, `start`, `serving(True)` once calls can be answered, `drain`, `stop`.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.calls = Calls()
        self.addresses: tuple[str, ...] = ()
        self._options = options
        self._health = health.aio.HealthServicer()
        self._services: list[str] = []
        self._server = grpc.aio.server(
            interceptors=[CallInterceptor(self.calls, options.call_timeout)], options=options.channel_arguments()
        )

    def add(self, register: Callable[[Any, grpc.aio.Server], None], servicer: object, service: str) -> None:
        """Serve `servicer`, by the generated `register` function, under the full name `service`."""
        register(servicer, self._server)
        self._services.append(service)

    async def start(self) -> tuple[str, ...]:
        """Listen and answer; return the addresses, with the ports that were taken.

        Raises:
            InvalidSettingError: An address is malformed, may be reached by other hosts without `insecure_listen`, or is
                taken by another program.
        """
        for address in self._options.listen:
            refuse_open_address(address, allowed=self._options.insecure_listen)
        await self.serving(False)
        self._add_reflection()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.addresses = tuple(self._bind(address) for address in self._options.listen)
        await self._server.start()
        for address in self.addresses:
            self._announce(address)
        return self.addresses

    async def serving(self, ready: bool) -> None:
        """Tell health checks whether calls can be answered."""
        status = _SERVING if ready else _NOT_SERVING
        for service in ("", *self._services):
            await self._health.set(service, status)
        if ready:
            _log.info(Event.SERVING, addresses=self.addresses)

    async def drain(self) -> None:
        """Turn callers away: health says NOT_SERVING for good, and watchers are told to go elsewhere.

        Agents' sessions stay; who runs them ends them.
        """
        await self._health.enter_graceful_shutdown()
        streams = self.calls.interrupt(_is_watch)
        _log.info(Event.DRAINING, streams_ended=streams, calls=len(self.calls.methods()))

    async def stop(self, grace: float) -> None:
        """Take no new calls, give those under way `grace` seconds, end the rest, and wait for handlers' cleanup."""
        await self._server.stop(grace)
        if not await self.calls.wait_idle(max(grace, 1.0)):
            _log.warning(Event.HANDLERS_LEFT, methods=self.calls.methods())
        _log.info(Event.STOPPED)

    def _bind(self, address: str) -> str:
        if address.startswith("unix:"):
            return self._bind_socket(address)
        host, asked = split_host_port(address)
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise _taken(address, f"port {asked} on {host}") from error
        return f"{address.rpartition(':')[0]}:{port}"

    def _bind_socket(self, address: str) -> str:
        path = Path(address.removeprefix("unix:"))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _answers(path):
            raise _taken(address, f"the socket {path}")
        try:
            self._server.add_insecure_port(address)
        except RuntimeError as error:
            description = f"{address} cannot be bound; its path may be over 107 bytes or its folder not writable"
            raise _invalid(description, address) from error
        return address

    def _announce(self, address: str) -> None:
        if address.startswith("unix:"):
            Path(address.removeprefix("unix:")).chmod(0o700)
        if is_local(address):
            _log.info(Event.LISTENING, address=address)
        else:
            _log.warning(
                Event.LISTENING_OPENLY,
                address=address,
                danger="There is no authentication: whoever reaches this port can run any program on every agent.",
            )

    def _add_reflection(self) -> None:
        names = [*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME, _REFLECTION_V1]
        servicer = reflection.aio.ReflectionServicer(names, pool=ReflectedPool())
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, self._server)
        # Version 1 differs from v1alpha in its name only.
        handler = grpc.stream_stream_rpc_method_handler(
            servicer.ServerReflectionInfo,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        methods = {"ServerReflectionInfo": handler}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_REFLECTION_V1, methods),))


def split_host_port(address: str) -> tuple[str, int]:
    """Return host and port of "host:port"; brackets round an IPv6 address are taken off.

    Raises:
        InvalidSettingError: The address has another form.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise _invalid(f'"{address}" is not an address; write "host:port" or "unix:/path"', address)
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_local(address: str) -> bool:
    """Whether only this host can reach the address. Of names, only "localhost" is taken for local."""
    if address.startswith("unix:"):
        return True
    host, _ = split_host_port(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refuse_open_address(address: str, *, allowed: bool) -> None:
    """Refuse an address other hosts can reach, unless that is allowed.

    Raises:
        InvalidSettingError: It is not allowed, or the address is malformed.
    """
    if is_local(address) or allowed:
        return
    raise _invalid(
        f"{address} can be reached by other hosts, and there is no authentication yet; listen on 127.0.0.1 or a"
        " unix: socket, or give --insecure-listen (setting insecure_listen) on a network you trust",
        address,
    )


def _is_watch(method: str) -> bool:
    return not method.startswith(AGENT_SESSIONS) and method.rpartition("/")[2] in _WATCHES


_WATCHES: Final = frozenset({"WatchRun", "WatchAgents", "TailLog", "Watch"})


def _answers(path: Path) -> bool:
    """Whether some process listens on the unix socket; gRPC would take the path away from it without a word."""
    if not path.exists():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _taken(address: str, what: str) -> InvalidSettingError:
    return _invalid(
        f"cannot listen on {address}: {what} is taken, perhaps by another coordinator; stop it, or listen elsewhere"
        " (--listen)",
        address,
    )


def _invalid(description: str, address: str) -> InvalidSettingError:
    return InvalidSettingError(description, (FieldViolation("listen", description),), setting="listen", address=address)

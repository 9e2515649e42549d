"""Where the server listens, what it says about itself, and what it refuses."""

from __future__ import annotations

import socket
import stat
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from structlog.testing import capture_logs

from podium.errors import InvalidSettingError
from podium_coordinator.rpc.server import CoordinatorServer, ServerOptions, is_local
from podium_coordinator.structured_logs import Event
from tests.rpc.probe import SERVICE, method, serving


async def echo(request: bytes, context: Any) -> bytes:
    return request


async def health_of(channel: Any, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return int(answer.status)


async def test_a_second_server_on_the_port_is_told_so() -> None:
    async with serving(unary=echo) as (first, _):
        (address,) = first.addresses
        port = address.rpartition(":")[2]
        second = CoordinatorServer(ServerOptions(listen=[address]))
        with pytest.raises(InvalidSettingError, match=f"port {port} on 127.0.0.1 is taken, perhaps by another"):
            await second.start()
        await second.stop(0)


async def test_a_second_server_on_the_socket_is_told_so_and_takes_nothing_away(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/run/podium.sock"
    async with serving(ServerOptions(listen=[address]), unary=echo) as (_, channel):
        second = CoordinatorServer(ServerOptions(listen=[address]))
        with pytest.raises(InvalidSettingError, match=r"podium\.sock is taken"):
            await second.start()
        await second.stop(0)
        assert await channel.unary_unary(method("unary"))(b"still here") == b"still here"


async def test_a_unix_socket_is_for_its_owner_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "run" / "podium.sock"
    async with serving(ServerOptions(listen=[f"unix:{path}"]), unary=echo) as (_, channel):
        assert await channel.unary_unary(method("unary"))(b"x") == b"x"
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert not path.exists()


async def test_the_socket_of_a_dead_server_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "podium.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with serving(ServerOptions(listen=[f"unix:{path}"]), unary=echo) as (_, channel):
        assert await channel.unary_unary(method("unary"))(b"x") == b"x"


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "10.1.2.3:7450", "example.org:7450"])
async def test_an_address_others_can_reach_is_refused_with_the_way_out(address: str) -> None:
    server = CoordinatorServer(ServerOptions(listen=[address]))
    with pytest.raises(InvalidSettingError, match="--insecure-listen") as raised:
        await server.start()
    await server.stop(0)
    assert raised.value.metadata == {"setting": "listen", "address": address}


async def test_listening_openly_on_purpose_is_said_loudly() -> None:
    options = ServerOptions(listen=["0.0.0.0:0"], insecure_listen=True)
    with capture_logs() as lines:
        async with serving(options, unary=echo):
            pass
    (line,) = [line for line in lines if line["log_level"] == "warning"]
    assert line["event"] == Event.LISTENING_OPENLY
    assert "no authentication" in line["danger"]


@pytest.mark.parametrize("address", ["7450", "localhost", ":7450", "localhost:port", "localhost:70000", "h:-1"])
async def test_a_malformed_address_is_named(address: str) -> None:
    server = CoordinatorServer(ServerOptions(listen=[address]))
    with pytest.raises(InvalidSettingError, match="is not an address"):
        await server.start()
    await server.stop(0)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "localhost:1", "unix:/run/x"])
def test_loopback_addresses_are_local(address: str) -> None:
    assert is_local(address)


async def test_health_follows_readiness_and_says_no_first_on_drain() -> None:
    async with serving(unary=echo) as (server, channel):
        serving_now = health_pb2.HealthCheckResponse.SERVING
        assert [await health_of(channel, name) for name in ("", SERVICE)] == [serving_now] * 2
        await server.serving(False)
        assert await health_of(channel, "") == health_pb2.HealthCheckResponse.NOT_SERVING
        await server.serving(True)
        await server.drain()
        await server.serving(True)
        assert await health_of(channel, SERVICE) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await channel.unary_unary(method("unary"))(b"still answered") == b"still answered"


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_the_services_in_both_versions(version: str) -> None:
    async with serving(unary=echo) as (_, channel):
        talk = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        call = talk(iter([reflection_pb2.ServerReflectionRequest(list_services="*")]))
        answer = await call.read()
    names = {service.name for service in answer.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names


async def test_messages_over_the_limit_are_refused() -> None:
    options = ServerOptions(listen=["127.0.0.1:0"], max_message_bytes=4 << 20)
    async with serving(options, unary=echo) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary(method("unary"))(b"x" * (5 << 20))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

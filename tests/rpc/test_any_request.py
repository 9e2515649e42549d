"""Whatever is asked of a public method, the answer is an answer or an error that the contract names."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # ships no types
from hypothesis import HealthCheck, given, settings

from podium.model.spec import Literal, ParameterSpec
from podium.v1 import agent_pb2, blob_pb2, log_pb2, run_pb2, session_pb2, workflow_pb2
from tests.rpc.messages import Words, messages
from tests.rpc.site import Site, a_task

PROTOS = Path(__file__).parents[2] / "protos" / "podium" / "v1"
FILES = (agent_pb2, blob_pb2, log_pb2, run_pb2, session_pb2, workflow_pb2)
NOT_PUBLIC = {"AgentSessionService"}

SERVICES = [service for file in FILES for service in file.DESCRIPTOR.services_by_name.values()]
METHODS = [
    method
    for service in SERVICES
    if service.name not in NOT_PUBLIC
    for method in service.methods
    if not method.client_streaming
]

# A field over a limit the contract gives in the field's own comment.
ANYWHERE = {("INVALID_ARGUMENT", "INVALID_ARGUMENT")}


def documented(method: MethodDescriptor) -> set[tuple[str, str]]:
    """Return the (code, reason) pairs that the comment over an rpc names."""
    file = PROTOS / Path(method.containing_service.file.name).name
    comment = re.search(rf"((?:^ *//.*\n)+) *rpc {method.name}\(", file.read_text(), re.MULTILINE)
    assert comment is not None, f"{method.full_name} has no comment"
    text = re.sub(r"\n *//", "", comment.group(1))
    found = set()
    for code, reasons in re.findall(r"\b([A-Z_]{7,}) \(([^)]*)\)", text):
        found |= {(code, reason) for reason in re.findall(r"\b[A-Z][A-Z_]{5,}\b", reasons)}
    return found


def test_all_services_are_looked_at() -> None:
    files = {path.stem for path in PROTOS.glob("*.proto")}
    assert files == {Path(file.DESCRIPTOR.name).stem for file in FILES}
    assert len(METHODS) >= 20


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.containing_service.name}.{method.name}")
async def test_any_request_gets_an_answer_or_a_documented_error(site: Site, method: MethodDescriptor) -> None:
    await site.register(a_task("a"), a_task("b", "a"), parameters=[ParameterSpec("p", default=Literal(None))])
    run = await site.create()
    digest = await site.put(b"data")
    words = {
        "": [run.run_id, "flow", "a", "b", "p", digest],
        "run_id": [run.run_id],
        "workflow": ["flow"],
        "name": ["flow", "new", "p"],
        "task": ["a", "b"],
        "tasks": ["a", "b"],
        "key": ["a", "b", "p"],
        "upstream": ["a"],
        "sha256": [digest],
        "bundle": [digest],
        "page_token": [""],
        "request_id": ["r1", "r2"],
        "function": ["module:function"],
    }
    await asyncio.to_thread(bombard, site.address, method, words)


def bombard(address: str, method: MethodDescriptor, words: Words) -> None:
    """Send arbitrary requests from a thread, with gRPC's blocking client."""
    allowed = documented(method) | ANYWHERE
    with grpc.insecure_channel(address) as channel:
        call = caller(channel, method)

        @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(messages(method.input_type, words))
        def probe(request: Any) -> None:
            try:
                call(request)
            except grpc.RpcError as error:
                told: Any = error
                if method.server_streaming and told.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    return
                assert (told.code().name, reason(told)) in allowed, f"{told.code()} {told.details()}\n{request}"

        probe()


def caller(channel: grpc.Channel, method: MethodDescriptor) -> Any:
    path = f"/{method.containing_service.full_name}/{method.name}"
    kinds: Any = (method.input_type, method.output_type)
    serializers: dict[str, Any] = {
        "request_serializer": GetMessageClass(kinds[0]).SerializeToString,
        "response_deserializer": GetMessageClass(kinds[1]).FromString,
    }
    if not method.server_streaming:
        single: Any = channel.unary_unary(path, **serializers)
        return lambda request: single(request, timeout=30)
    many: Any = channel.unary_stream(path, **serializers)
    return lambda request: list(many(request, timeout=0.1))


def reason(error: Any) -> str:
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin":
            info = error_details_pb2.ErrorInfo()
            assert status_pb2.Status.FromString(value).details[0].Unpack(info)
            return str(info.reason)
    return ""

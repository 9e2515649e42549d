"""Starting many runs with one call."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from podium import AsyncClient, AsyncRun, Client, RunRequest
from podium.errors import (
    BatchTooLargeError,
    InvalidArgumentError,
    InvalidParametersError,
    InvalidRequestIdError,
    PodiumError,
    RequestIdReusedError,
    WorkflowNotFoundError,
)
from podium.model.spec import Literal, ParameterSpec, ParameterType
from podium.v1 import run_pb2 as pb
from podium.wire import json_to_struct
from podium_coordinator.rpc.starting import MOST_BATCH_BYTES
from tests.rpc.probe import details, refused
from tests.rpc.site import Site
from tests.shard.cluster import Cluster

DAY = ParameterSpec("day", ParameterType.STRING)
DEFAULTED = ParameterSpec("text", ParameterType.STRING, default=Literal("x" * 250_000))


def asked(day: object = "x", request_id: str = "", workflow: str = "flow") -> pb.CreateRunRequest:
    return pb.CreateRunRequest(workflow=workflow, params=json_to_struct({"day": day}), request_id=request_id)


async def create(site: Site, *requests: pb.CreateRunRequest) -> list[pb.CreateRunResult]:
    answer = await site.runs.CreateRuns(pb.CreateRunsRequest(requests=requests))
    return list(answer.results)


async def runs_of(site: Site) -> list[str]:
    return [run.run_id for run in (await site.runs.ListRuns(pb.ListRunsRequest(page_size=1000))).runs]


async def test_good_requests_are_run_beside_bad_ones_and_answered_in_order(site: Site) -> None:
    await site.register(parameters=[DAY])
    good, unknown, unfit, unnamed, also = await create(
        site, asked("a"), asked(workflow="none"), asked(3), asked(request_id="\n"), asked("b")
    )
    assert [(result.run.workflow, result.created) for result in (good, also)] == [("flow", True)] * 2
    assert [result.run.params.fields["day"].string_value for result in (good, also)] == ["a", "b"]
    assert [(result.error.code, result.error.reason) for result in (unknown, unfit, unnamed)] == [
        (grpc.StatusCode.NOT_FOUND.value[0], "WORKFLOW_NOT_FOUND"),
        (grpc.StatusCode.INVALID_ARGUMENT.value[0], "INVALID_PARAMETERS"),
        (grpc.StatusCode.INVALID_ARGUMENT.value[0], "INVALID_REQUEST_ID"),
    ]
    assert unknown.error.metadata["workflow"] == "none"
    assert [violation.field for violation in unfit.error.violations] == ["params.day"]
    assert sorted(await runs_of(site)) == sorted([good.run.run_id, also.run.run_id])


async def test_a_run_of_a_batch_reads_like_any_other(site: Site) -> None:
    await site.register(parameters=[DAY])
    (result,) = await create(site, asked("a", "r1"))
    read = (await site.runs.GetRun(pb.GetRunRequest(run_id=result.run.run_id))).run
    read.ClearField("counts")
    assert read == result.run


async def test_repeats_of_a_request_id_are_one_run_within_a_batch_and_across_batches(site: Site) -> None:
    await site.register(parameters=[DAY])
    single = await site.runs.CreateRun(asked("a", "r1"))
    repeated, first, again, other = await create(
        site, asked("a", "r1"), asked("b", "r2"), asked("b", "r2"), asked("c", "r1")
    )
    assert (repeated.run, repeated.created) == (single.run, False)
    assert (first.created, again.created, again.run) == (True, False, first.run)
    assert other.error.reason == "REQUEST_ID_REUSED"
    assert len(await runs_of(site)) == 2


async def test_batches_at_once_with_the_same_request_ids_make_each_run_once(site: Site) -> None:
    await site.register(parameters=[DAY])
    requests = [asked("a", f"r{index}") for index in range(100)]
    answers = await asyncio.gather(*[create(site, *order) for order in (requests, requests[::-1]) * 2])
    assert sum(result.created for results in answers for result in results) == 100
    assert len({result.run.run_id for results in answers for result in results}) == 100


async def test_over_1000_requests_are_refused_as_a_whole(site: Site) -> None:
    await site.register()
    request = pb.CreateRunsRequest(requests=[pb.CreateRunRequest(workflow="flow")] * 1001)
    told = await refused(site.runs.CreateRuns(request))
    assert told.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "1001 entries; the limit is 1000" in (told.details() or "")
    assert await runs_of(site) == []


@pytest.mark.parametrize(
    "requests",
    [[asked("y" * 200_000)] * 50, [pb.CreateRunRequest(workflow="flow", params=json_to_struct({"day": ""}))] * 50],
    ids=["as sent", "with defaults"],
)
async def test_too_many_bytes_are_refused_as_a_whole(site: Site, requests: list[pb.CreateRunRequest]) -> None:
    await site.register(parameters=[DAY, DEFAULTED])
    told = await refused(site.runs.CreateRuns(pb.CreateRunsRequest(requests=requests)))
    assert told.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details(told)[0].reason == "BATCH_TOO_LARGE"
    assert f"the limit for one call is {MOST_BATCH_BYTES}" in (told.details() or "")
    assert await runs_of(site) == []


async def test_no_requests_are_no_runs(site: Site) -> None:
    assert await create(site) == []


async def test_a_batch_is_taken_up_by_the_owner(owning: tuple[Site, Cluster]) -> None:
    site, cluster = owning
    agent = await cluster.agent()
    await site.register()
    results = await create(site, *[pb.CreateRunRequest(workflow="flow")] * 3)
    orders = [await agent.orders.get() for _ in results]
    assert {str(order.live.run_id) for order in orders} == {result.run.run_id for result in results}


# The SDK.


def kinds(results: list[Any]) -> list[type]:
    return [type(result) for result in results]


MIXED = [
    RunRequest("flow", {"day": "a"}, request_id="r1"),
    RunRequest("flow", {"day": 3}),
    RunRequest("none"),
    RunRequest("flow", {"day": "a"}, request_id="x" * 129),
    RunRequest("flow", {"day": "b"}, request_id="r1"),
]
ERRORS: list[type[PodiumError]] = [
    InvalidParametersError,
    WorkflowNotFoundError,
    InvalidRequestIdError,
    RequestIdReusedError,
]


async def test_the_client_gives_runs_and_typed_errors_in_order(site: Site) -> None:
    await site.register(parameters=[DAY])
    async with AsyncClient(site.address) as client:
        results = await client.run_many(MIXED)
        assert kinds(results) == [AsyncRun, *ERRORS]
        run, unfit = results[0], results[1]
        assert isinstance(run, AsyncRun)
        assert run == await client.run("flow", request_id="r1", day="a")
        assert isinstance(unfit, InvalidParametersError)
        assert [violation.field for violation in unfit.violations] == ["params.day"]


async def test_the_synchronous_client_does_the_same(site: Site) -> None:
    await site.register(parameters=[DAY])

    def use() -> list[Any]:
        with Client(site.address) as client:
            return client.run_many(MIXED)

    results = await asyncio.to_thread(use)
    assert results[0].workflow == "flow"
    assert kinds(results[1:]) == ERRORS


async def test_the_client_makes_as_many_calls_as_it_takes(site: Site) -> None:
    await site.register()
    async with AsyncClient(site.address) as client:
        results = await client.run_many(RunRequest("flow") for _ in range(1001))
    assert kinds(results) == [AsyncRun] * 1001
    assert len({result.run_id for result in results if isinstance(result, AsyncRun)}) == 1001


async def test_large_requests_go_in_calls_of_their_own(site: Site) -> None:
    await site.register(parameters=[DAY])
    async with AsyncClient(site.address) as client:
        results = await client.run_many(RunRequest("flow", {"day": "x" * 200_000}) for _ in range(50))
        assert kinds(results) == [AsyncRun] * 50


async def test_defaults_that_make_a_batch_too_large_are_told(site: Site) -> None:
    await site.register(parameters=[DEFAULTED])
    async with AsyncClient(site.address) as client:
        with pytest.raises(BatchTooLargeError, match="start them in several calls"):
            await client.run_many([RunRequest("flow")] * 50)


async def test_parameters_that_are_no_json_are_refused_before_anything_is_sent(site: Site) -> None:
    await site.register(parameters=[DAY])
    async with AsyncClient(site.address) as client:
        with pytest.raises(InvalidArgumentError):
            await client.run_many([RunRequest("flow", {"day": "a"}), RunRequest("flow", {"day": object()})])
        assert await client.list_runs() == []

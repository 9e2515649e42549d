"""Starting, following, reading and cancelling runs."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from podium.model.spec import Literal, ParameterSpec, ParameterType
from podium.v1 import run_pb2 as pb
from podium.wire import json_to_struct, struct_to_json
from podium_coordinator.domain.records import AttemptBorn, Failure, RunEnded, RunStarted
from podium_coordinator.domain.states import AttemptState, FailureKind, RunState, TaskRunState
from podium_coordinator.store import commands
from podium_coordinator.store.batch import Batch
from tests.rpc.probe import details, refused
from tests.rpc.site import Site, a_site, a_task
from tests.shard.cluster import Cluster
from tests.store.builders import an_agent, born, changed, ended, runs_now, skipped

NOW = datetime.now(UTC)
DAY = ParameterSpec("day", ParameterType.STRING)
LIMIT = ParameterSpec("limit", ParameterType.INTEGER, Literal(10))
UNKNOWN_RUN = "01a20480-8efe-7892-a5ec-5cdce173390e"


async def get(site: Site, run: pb.Run) -> pb.Run:
    answer: pb.GetRunResponse = await site.runs.GetRun(pb.GetRunRequest(run_id=run.run_id))
    return answer.run


async def commit(site: Site, **parts: Any) -> None:
    await site.journal.commit(0, Batch(**parts))


async def attempted(site: Site, run: pb.Run, task: int, **fields: Any) -> AttemptBorn:
    attempt = born(UUID(run.run_id), task, **fields)
    await commit(site, attempts_born=[attempt])
    return attempt


# Starting.


async def test_a_run_is_committed_with_its_parameters_and_found_again(site: Site) -> None:
    await site.register(parameters=[DAY, LIMIT])
    run = await site.create(day="2013-01-01")
    assert (run.workflow, run.version, run.state, run.task_count) == ("flow", 1, pb.RUN_STATE_QUEUED, 1)
    assert struct_to_json(run.params) == {"day": "2013-01-01", "limit": 10}
    assert UUID(run.run_id).version == 7
    assert len(bytes.fromhex(run.trace_id)) == 16
    again = await get(site, run)
    assert again.counts.pending == 1
    again.ClearField("counts")
    assert again == run


async def test_a_run_keeps_its_version_and_may_ask_for_an_old_one(site: Site) -> None:
    await site.register(a_task("a"))
    await site.register(a_task("b"), a_task("c"))
    newest = await site.runs.CreateRun(pb.CreateRunRequest(workflow="flow"))
    older = await site.runs.CreateRun(pb.CreateRunRequest(workflow="flow", version=1))
    assert (newest.run.version, older.run.version) == (2, 1)
    assert (newest.run.task_count, older.run.task_count) == (2, 1)


async def test_a_repeated_request_is_one_run(site: Site) -> None:
    await site.register(parameters=[DAY])
    request = pb.CreateRunRequest(workflow="flow", params=json_to_struct({"day": "x"}), request_id="r-1")
    first = await site.runs.CreateRun(request)
    again = await site.runs.CreateRun(request)
    assert (first.created, again.created) == (True, False)
    assert again.run == first.run

    request.params.update({"day": "y"})
    told = await refused(site.runs.CreateRun(request))
    assert (told.code(), details(told)[0].reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_many_callers_with_one_request_id_make_one_run(site: Site) -> None:
    await site.register()
    request = pb.CreateRunRequest(workflow="flow", request_id="same")
    answers = await asyncio.gather(*[site.runs.CreateRun(request) for _ in range(8)])
    assert len({answer.run.run_id for answer in answers}) == 1
    assert sum(answer.created for answer in answers) == 1


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "params.day"),
        ({"day": 3}, "params.day"),
        ({"day": "x", "limit": "many"}, "params.limit"),
        ({"day": "x", "other": 1}, "params.other"),
        ({"day": "x" * 300_000}, "params"),
    ],
)
async def test_parameters_that_do_not_fit_are_told_by_name(site: Site, params: dict[str, Any], field: str) -> None:
    await site.register(parameters=[DAY, LIMIT])
    request = pb.CreateRunRequest(workflow="flow", params=json_to_struct(params))
    told = await refused(site.runs.CreateRun(request))
    info, bad = details(told)
    assert (told.code(), info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMETERS")
    assert field in [violation.field for violation in bad.field_violations]


async def test_an_integer_beyond_2_to_the_53_is_refused_not_rounded(site: Site) -> None:
    await site.register(parameters=[LIMIT])
    params = Struct()
    params.fields["limit"].number_value = float(2**53)
    told = await refused(site.runs.CreateRun(pb.CreateRunRequest(workflow="flow", params=params)))
    assert details(told)[0].reason == "INVALID_PARAMETERS"
    params.fields["limit"].number_value = float(2**53 - 1)
    made = await site.runs.CreateRun(pb.CreateRunRequest(workflow="flow", params=params))
    assert struct_to_json(made.run.params) == {"limit": 2**53 - 1}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.CreateRunRequest(workflow="none"), "WORKFLOW_NOT_FOUND"),
        (pb.CreateRunRequest(workflow="flow", version=9), "WORKFLOW_NOT_FOUND"),
        (pb.CreateRunRequest(workflow="flow", request_id="x" * 129), "INVALID_REQUEST_ID"),
        (pb.CreateRunRequest(workflow="flow", request_id="new\nline"), "INVALID_REQUEST_ID"),
    ],
)
async def test_a_run_that_cannot_be_made_is_refused(site: Site, request_: pb.CreateRunRequest, reason: str) -> None:
    await site.register()
    assert details(await refused(site.runs.CreateRun(request_)))[0].reason == reason


async def test_a_new_run_wakes_the_owner_in_another_process(site: Site) -> None:
    await site.register()
    async with site.database.write.connection() as conn, aclosing(commands.hints(conn, 0)) as hints:
        await anext(hints)
        await site.create()
        async with asyncio.timeout(10):
            await anext(hints)


# Reading.


@pytest.mark.parametrize("run_id", ["", "x", "\0", UNKNOWN_RUN, UNKNOWN_RUN.replace("-", "")])
async def test_a_run_that_is_not_there_is_not_found_by_any_call(site: Site, run_id: str) -> None:
    watching = site.runs.WatchRun(pb.WatchRunRequest(run_id=run_id))
    for call in (
        site.runs.GetRun(pb.GetRunRequest(run_id=run_id)),
        watching.read(),
        site.runs.CancelRun(pb.CancelRunRequest(run_id=run_id)),
        site.runs.ListTaskRuns(pb.ListTaskRunsRequest(run_id=run_id)),
        site.runs.ListAttempts(pb.ListAttemptsRequest(run_id=run_id)),
        site.runs.GetOutputs(pb.GetOutputsRequest(run_id=run_id)),
    ):
        told = await refused(call)
        assert (told.code(), details(told)[0].reason) == (grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")


async def test_runs_are_listed_newest_first_by_filter_and_page(site: Site) -> None:
    await site.register(name="flow")
    await site.register(name="other")
    made = [await site.create("flow") for _ in range(5)]
    await site.create("other")
    await commit(site, runs_started=[RunStarted(UUID(made[1].run_id), NOW)])

    ids, token = [], ""
    while True:
        request = pb.ListRunsRequest(filter=pb.RunFilter(workflow="flow"), page_size=2, page_token=token)
        page = await site.runs.ListRuns(request)
        ids += [run.run_id for run in page.runs]
        token = page.next_page_token
        if not token:
            break
    assert ids == [run.run_id for run in reversed(made)]

    running = await site.runs.ListRuns(pb.ListRunsRequest(filter=pb.RunFilter(states=[pb.RUN_STATE_RUNNING])))
    assert [run.run_id for run in running.runs] == [made[1].run_id]
    later = Timestamp()
    later.FromDatetime(NOW + timedelta(days=1))
    none = await site.runs.ListRuns(pb.ListRunsRequest(filter=pb.RunFilter(created_from=later)))
    assert list(none.runs) == []
    assert len((await site.runs.ListRuns(pb.ListRunsRequest(filter=pb.RunFilter(created_before=later)))).runs) == 6
    assert list((await site.runs.ListRuns(pb.ListRunsRequest(filter=pb.RunFilter(workflow="\0")))).runs) == []


async def test_a_page_of_runs_with_large_parameters_is_cut_by_their_bytes(site: Site) -> None:
    await site.register(parameters=[DAY])
    for _ in range(16):
        await site.create(day="x" * 250_000)
    first = await site.runs.ListRuns(pb.ListRunsRequest())
    assert 1 < len(first.runs) < 16
    second = await site.runs.ListRuns(pb.ListRunsRequest(page_token=first.next_page_token))
    ids = [run.run_id for run in (*first.runs, *second.runs)]
    assert len(ids) == len(set(ids)) == 16


async def test_a_page_token_of_another_filter_is_refused(site: Site) -> None:
    await site.register()
    for _ in range(2):
        await site.create()
    page = await site.runs.ListRuns(pb.ListRunsRequest(page_size=1))
    other = pb.ListRunsRequest(filter=pb.RunFilter(workflow="flow"), page_token=page.next_page_token)
    assert details(await refused(site.runs.ListRuns(other)))[0].reason == "INVALID_PAGE"
    unknown = pb.ListRunsRequest(filter=pb.RunFilter(states=[77]))  # type: ignore[list-item]
    assert details(await refused(site.runs.ListRuns(unknown)))[0].reason == "INVALID_ARGUMENT"


async def task_runs(site: Site, run: pb.Run, *states: int, page_size: int = 0) -> list[tuple[str, int]]:
    found, token = [], ""
    while True:
        request = pb.ListTaskRunsRequest(run_id=run.run_id, page_size=page_size, page_token=token)
        request.states.extend(states)  # type: ignore[arg-type]
        page = await site.runs.ListTaskRuns(request)
        found += [(task_run.task, task_run.state) for task_run in page.task_runs]
        token = page.next_page_token
        if not token:
            return found


async def a_mixed_run(site: Site) -> pb.Run:
    """Five tasks: succeeded, running, skipped, and two that wait."""
    await site.register(*[a_task(key) for key in "abcde"])
    run = await site.create()
    agent = an_agent("host-1")
    await commit(site, runs_started=[RunStarted(UUID(run.run_id), NOW)], agents_changed=[changed(agent)])
    first = await attempted(site, run, 0, agent_id=agent.agent_id)
    second = await attempted(site, run, 1, agent_id=agent.agent_id)
    await commit(
        site,
        attempts_running=[runs_now(second)],
        attempts_ended=[ended(first, output=b'{"rows": 3}')],
        task_runs_ended=[skipped(UUID(run.run_id), 2)],
    )
    return run


async def test_task_runs_are_listed_in_order_with_those_that_wait(site: Site) -> None:
    run = await a_mixed_run(site)
    all_of_them = [
        ("a", pb.TASK_RUN_STATE_SUCCEEDED),
        ("b", pb.TASK_RUN_STATE_RUNNING),
        ("c", pb.TASK_RUN_STATE_SKIPPED),
        ("d", pb.TASK_RUN_STATE_PENDING),
        ("e", pb.TASK_RUN_STATE_PENDING),
    ]
    assert await task_runs(site, run) == all_of_them
    for size in (1, 2, 3, 5):
        assert await task_runs(site, run, page_size=size) == all_of_them
    assert await task_runs(site, run, pb.TASK_RUN_STATE_PENDING, page_size=1) == all_of_them[3:]
    assert await task_runs(site, run, pb.TASK_RUN_STATE_SKIPPED, pb.TASK_RUN_STATE_RUNNING) == all_of_them[1:3]
    counts = (await get(site, run)).counts
    assert (counts.pending, counts.running, counts.succeeded, counts.skipped) == (2, 1, 1, 1)


async def test_what_waits_when_a_run_ends_is_cancelled(site: Site) -> None:
    run = await a_mixed_run(site)
    counts = {TaskRunState.SUCCEEDED: 1, TaskRunState.CANCELLED: 3, TaskRunState.SKIPPED: 1}
    end = RunEnded(UUID(run.run_id), RunState.CANCELLED, "enough", NOW, counts)
    await commit(site, runs_ended=[end])
    assert (await task_runs(site, run, pb.TASK_RUN_STATE_CANCELLED))[-2:] == [
        ("d", pb.TASK_RUN_STATE_CANCELLED),
        ("e", pb.TASK_RUN_STATE_CANCELLED),
    ]
    now = await get(site, run)
    assert (now.state, now.reason, now.counts.cancelled) == (pb.RUN_STATE_CANCELLED, "enough", 3)


async def test_attempts_are_listed_by_task_and_number_with_their_failures(site: Site) -> None:
    await site.register(a_task("a"), a_task("b"))
    run = await site.create()
    await commit(site, runs_started=[RunStarted(UUID(run.run_id), NOW)])
    failure = Failure(FailureKind.EXIT_CODE, "It ended with 3.", exit_code=3)
    first = await attempted(site, run, 0)
    await commit(
        site,
        attempts_ended=[ended(first, AttemptState.FAILED, failure=failure, closes=False, retry_at=NOW, log_bytes=9)],
    )
    await attempted(site, run, 0, number=2)
    await attempted(site, run, 1)

    request = pb.ListAttemptsRequest(run_id=run.run_id, page_size=2)
    page = await site.runs.ListAttempts(request)
    request.page_token = page.next_page_token
    rest = await site.runs.ListAttempts(request)
    attempts = [*page.attempts, *rest.attempts]
    assert [(one.task, one.number) for one in attempts] == [("a", 1), ("a", 2), ("b", 1)]
    assert attempts[0].failure == pb.Failure(kind=pb.FAILURE_KIND_EXIT_CODE, message="It ended with 3.", exit_code=3)
    assert attempts[0].log_bytes == 9
    only = await site.runs.ListAttempts(pb.ListAttemptsRequest(run_id=run.run_id, task="b"))
    assert [one.task for one in only.attempts] == ["b"]
    told = await refused(site.runs.ListAttempts(pb.ListAttemptsRequest(run_id=run.run_id, task="z")))
    assert details(told)[0].reason == "TASK_NOT_FOUND"


# Outputs.


async def with_outputs(site: Site, outputs: dict[str, bytes]) -> pb.Run:
    await site.register(a_task("a"), a_task("b", "a"), a_task("c", "a"))
    run = await site.create()
    await commit(site, runs_started=[RunStarted(UUID(run.run_id), NOW)])
    for task, key in enumerate("abc"):
        if key in outputs:
            attempt = await attempted(site, run, task)
            await commit(site, attempts_ended=[ended(attempt, output=outputs[key])])
    return run


async def test_outputs_are_exact_and_by_default_those_of_the_leaves(site: Site) -> None:
    exact = b'{"id": 12345678901234567890, "n": 1}'
    run = await with_outputs(site, {"a": b"[1,2]", "b": exact})
    leaves = await site.runs.GetOutputs(pb.GetOutputsRequest(run_id=run.run_id))
    assert [(one.task, one.map_index, one.json) for one in leaves.outputs] == [("b", -1, exact)]
    assert not leaves.outputs[0].HasField("value")

    chosen = await site.runs.GetOutputs(pb.GetOutputsRequest(run_id=run.run_id, tasks=["a", "c"]))
    assert [one.json for one in chosen.outputs] == [b"[1,2]"]
    assert [value.number_value for value in chosen.outputs[0].value.list_value.values] == [1, 2]
    told = await refused(site.runs.GetOutputs(pb.GetOutputsRequest(run_id=run.run_id, tasks=["nope"])))
    assert (details(told)[0].reason, details(told)[0].metadata["task"]) == ("TASK_NOT_FOUND", "nope")
    many = pb.GetOutputsRequest(run_id=run.run_id, tasks=["a"] * 1001)
    assert details(await refused(site.runs.GetOutputs(many)))[0].reason == "INVALID_ARGUMENT"


async def test_outputs_that_do_not_fit_one_answer_are_refused_with_the_limit(database: str, tmp_path: Path) -> None:
    async with a_site(database, tmp_path, max_outputs_bytes=1000) as site:
        run = await with_outputs(site, {"b": b'"' + b"x" * 800 + b'"', "c": b'"' + b"y" * 800 + b'"'})
        told = await refused(site.runs.GetOutputs(pb.GetOutputsRequest(run_id=run.run_id)))
        info, _ = details(told)
        assert (told.code(), info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OUTPUTS_TOO_LARGE")
        assert info.metadata["limit"] == "1000"
        one = await site.runs.GetOutputs(pb.GetOutputsRequest(run_id=run.run_id, tasks=["b"]))
        assert len(one.outputs) == 1


# Following.


async def test_a_run_of_another_owner_is_followed_to_its_end(site: Site) -> None:
    await site.register()
    run = await site.create()
    watching = aiter(site.runs.WatchRun(pb.WatchRunRequest(run_id=run.run_id)))
    first = await anext(watching)
    assert (first.run.state, first.snapshot, first.run.counts.pending) == (pb.RUN_STATE_QUEUED, True, 1)

    attempt = await attempted(site, run, 0)
    await commit(
        site,
        runs_started=[RunStarted(UUID(run.run_id), NOW)],
        attempts_ended=[ended(attempt)],
        runs_ended=[RunEnded(UUID(run.run_id), RunState.SUCCEEDED, "", NOW, {TaskRunState.SUCCEEDED: 1})],
    )
    messages = [message async for message in watching]
    assert messages[-1].run.state == pb.RUN_STATE_SUCCEEDED
    assert [(one.task, one.state) for one in messages[-1].task_runs] == [("a", pb.TASK_RUN_STATE_SUCCEEDED)]


async def test_a_run_that_has_ended_is_told_in_one_message(site: Site) -> None:
    await site.register()
    run = await site.create()
    counts = {TaskRunState.CANCELLED: 1}
    await commit(site, runs_ended=[RunEnded(UUID(run.run_id), RunState.CANCELLED, "why", NOW, counts)])
    (message,) = [one async for one in site.runs.WatchRun(pb.WatchRunRequest(run_id=run.run_id, run_only=True))]
    assert (message.run.state, message.run.reason, message.snapshot) == (pb.RUN_STATE_CANCELLED, "why", True)


async def test_a_run_under_way_here_is_followed_by_signals(owning: tuple[Site, Cluster]) -> None:
    site, cluster = owning
    agent = await cluster.agent()
    await site.register(a_task("a"), a_task("b", "a"))
    run = await site.create()
    order = await agent.orders.get()
    watching = aiter(site.runs.WatchRun(pb.WatchRunRequest(run_id=run.run_id)))
    first = await anext(watching)
    assert first.snapshot
    agent.finish(order)
    await agent.work_off("b")

    messages = [first, *[message async for message in watching]]
    states: dict[str, int] = {}
    for message in messages:
        states |= {one.task: one.state for one in message.task_runs}
    assert states == {"a": pb.TASK_RUN_STATE_SUCCEEDED, "b": pb.TASK_RUN_STATE_SUCCEEDED}
    assert messages[-1].run.state == pb.RUN_STATE_SUCCEEDED
    assert messages[-1].run.counts.succeeded == 2
    assert [message.snapshot for message in messages] == [True] + [False] * (len(messages) - 1)


async def test_a_run_that_was_just_created_is_followed_without_delay(owning: tuple[Site, Cluster]) -> None:
    site, cluster = owning
    agent = await cluster.agent()
    await site.register()
    await asyncio.gather(site.create(), agent.work_off("a"))
    began = asyncio.get_running_loop().time()
    run, _ = await asyncio.gather(site.create(), agent.work_off("a"))
    messages = [one async for one in site.runs.WatchRun(pb.WatchRunRequest(run_id=run.run_id))]
    assert messages[-1].run.state == pb.RUN_STATE_SUCCEEDED
    assert asyncio.get_running_loop().time() - began < 0.7


async def test_tasks_that_wait_for_capacity_are_told_from_those_that_wait_for_others(
    owning: tuple[Site, Cluster],
) -> None:
    site, _ = owning
    await site.register(a_task("a"), a_task("b", "a"))
    run = await site.create()
    watching = site.runs.WatchRun(pb.WatchRunRequest(run_id=run.run_id, run_only=True))
    async for message in watching:
        if message.run.state == pb.RUN_STATE_RUNNING:
            break
    watching.cancel()
    assert await task_runs(site, run) == [("a", pb.TASK_RUN_STATE_SCHEDULED), ("b", pb.TASK_RUN_STATE_PENDING)]
    counts = (await get(site, run)).counts
    assert (counts.scheduled, counts.pending) == (1, 1)


async def test_an_update_of_many_task_runs_comes_in_bounded_messages(site: Site) -> None:
    await site.register(*[a_task(f"t{n}") for n in range(2500)])
    run = await site.create()
    await commit(
        site,
        runs_started=[RunStarted(UUID(run.run_id), NOW)],
        task_runs_ended=[skipped(UUID(run.run_id), n) for n in range(2500)],
        runs_ended=[RunEnded(UUID(run.run_id), RunState.SUCCEEDED, "", NOW, {TaskRunState.SKIPPED: 2500})],
    )
    messages = [one async for one in site.runs.WatchRun(pb.WatchRunRequest(run_id=run.run_id))]
    assert [len(one.task_runs) for one in messages] == [1000, 1000, 500]
    assert [one.snapshot for one in messages] == [True, False, False]
    assert len({task_run.task for one in messages for task_run in one.task_runs}) == 2500


# Cancelling.


async def test_cancelling_stops_the_attempts_and_answers_with_the_run(owning: tuple[Site, Cluster]) -> None:
    site, cluster = owning
    agent = await cluster.agent()
    await site.register()
    run = await site.create()
    order = await agent.orders.get()
    agent.start(order)
    answer = await site.runs.CancelRun(pb.CancelRunRequest(run_id=run.run_id, reason="a mistake"))
    assert answer.run.state == pb.RUN_STATE_CANCELLING
    assert await agent.cancels.get() == order.name
    again = await site.runs.CancelRun(pb.CancelRunRequest(run_id=run.run_id))
    assert again.run.state == pb.RUN_STATE_CANCELLING


async def test_a_queued_run_is_cancelled_at_once_and_then_no_more(owning: tuple[Site, Cluster]) -> None:
    site, _ = owning
    await site.register()
    run = await site.create()
    answer = await site.runs.CancelRun(pb.CancelRunRequest(run_id=run.run_id, reason="a mistake"))
    assert answer.run.state in {pb.RUN_STATE_CANCELLED, pb.RUN_STATE_CANCELLING}
    messages = [one async for one in site.runs.WatchRun(pb.WatchRunRequest(run_id=run.run_id))]
    assert (messages[-1].run.state, messages[-1].run.reason) == (pb.RUN_STATE_CANCELLED, "a mistake")

    told = await refused(site.runs.CancelRun(pb.CancelRunRequest(run_id=run.run_id)))
    info, _ = details(told)
    assert (told.code(), info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "RUN_ALREADY_FINISHED")
    assert info.metadata["state"] == "cancelled"


async def test_a_wish_to_cancel_is_kept_for_an_owner_that_is_away(site: Site) -> None:
    await site.register()
    run = await site.create()
    cancelling = asyncio.ensure_future(site.runs.CancelRun(pb.CancelRunRequest(run_id=run.run_id, reason="late")))
    async with site.database.read.connection() as conn, asyncio.timeout(10):
        wishes: list[commands.Command] = []
        while not wishes:
            wishes = await commands.pending_commands(conn, 0)
    assert [(str(wish.run_id), wish.kind, wish.reason) for wish in wishes] == [(run.run_id, "cancel", "late")]
    assert (await cancelling).run.state == pb.RUN_STATE_QUEUED


async def test_a_reason_that_is_too_long_is_refused(site: Site) -> None:
    await site.register()
    run = await site.create()
    told = await refused(site.runs.CancelRun(pb.CancelRunRequest(run_id=run.run_id, reason="x" * 1025)))
    assert details(told)[1].field_violations[0].field == "reason"

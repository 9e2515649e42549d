"""The asynchronous client against a real coordinator, over connections that may break."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from podium import AsyncClient, AsyncRun, RunState, TaskRunState
from podium.channels import Channels, parse_addresses
from podium.errors import (
    AttemptNotFoundError,
    BlobNotFoundError,
    BundleNotFoundError,
    ClientClosedError,
    DeadlineError,
    DiscoveryError,
    InvalidAddressError,
    InvalidDigestError,
    InvalidParametersError,
    InvalidWorkflowError,
    RequestIdReusedError,
    RunAlreadyFinishedError,
    RunCancelledError,
    RunFailedError,
    RunNotFoundError,
    TaskNotFoundError,
    UnavailableError,
    WorkflowNotFoundError,
)
from podium.logformat import LogStream
from podium.model.spec import ParameterSpec, ParameterType, PythonAction, TaskSpec, WorkflowSpec
from podium.model.states import AttemptState, Failure, FailureKind
from podium.results import BlobRef, FileRef, blob_json, file_json
from podium.v1 import run_pb2
from podium_coordinator.domain.lifecycle import Finish
from tests.rpc.forwarder import forwarding, refusing, silent
from tests.rpc.site import Site, a_task
from tests.rpc.test_logs import a_running_attempt, append, end, piece, sent
from tests.shard.cluster import Cluster, ScriptedAgent

FLOW = """\
from podium import task, workflow

@task
def step(day: str) -> str:
    return day

@workflow
def daily(day: str = "monday"):
    step(day)
"""


@dataclass
class Bench:
    """A client of a served coordinator, and an agent that does what the test says."""

    client: AsyncClient
    site: Site
    cluster: Cluster

    async def agent(self) -> ScriptedAgent:
        return await self.cluster.agent()

    async def started(self, *tasks: TaskSpec, **params: Any) -> AsyncRun:
        await self.client.register(WorkflowSpec("flow", tasks or (a_task("a"),)))
        return await self.client.run("flow", **params)

    async def succeeded(self, *outputs: object) -> AsyncRun:
        """Return a finished run whose tasks t0, t1, ... gave these outputs."""
        agent = await self.agent()
        run = await self.started(*(a_task(f"t{index}") for index in range(len(outputs))))
        for _ in outputs:
            order = await agent.orders.get()
            key = order.live.compiled.graph.keys[order.index]
            agent.finish(order, json.dumps(outputs[int(key[1:])]).encode())
        return await run.wait(30)


@pytest.fixture
async def bench(owning: tuple[Site, Cluster]) -> AsyncIterator[Bench]:
    site, cluster = owning
    async with AsyncClient(site.address) as client:
        yield Bench(client, site, cluster)


def a_project(folder: Path, text: str = FLOW) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "flow.py").write_text(text)
    return folder


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


# Workflows.


async def test_a_project_is_deployed_once_and_only_changes_make_versions(bench: Bench, tmp_path: Path) -> None:
    project = a_project(tmp_path / "project")
    [first] = await bench.client.deploy(project)
    [again] = await bench.client.deploy(project)
    [changed] = await bench.client.deploy(a_project(project, FLOW + "# changed\n"))
    assert [(found.version, found.created) for found in (first, again, changed)] == [(1, True), (1, False), (2, True)]
    assert again.digest == first.digest
    assert list(await bench.client.blobs.stat([first.bundle])) == [first.bundle]
    stored = await bench.client.get_workflow("daily")
    assert stored.version == 2
    assert stored.spec is not None
    assert stored.spec.tasks[0].action.function == "flow:step"  # type: ignore[union-attr]


async def test_checking_a_project_stores_nothing(bench: Bench, tmp_path: Path) -> None:
    [checked] = await bench.client.deploy(a_project(tmp_path / "project"), check_only=True)
    assert (checked.name, checked.version, checked.create_time) == ("daily", 0, checked.create_time)
    assert await bench.client.list_workflows() == []
    assert await bench.client.blobs.stat([checked.bundle]) == {}


async def test_nothing_of_a_project_is_registered_when_a_part_is_unsound(bench: Bench, tmp_path: Path) -> None:
    project = a_project(tmp_path / "project")
    (project / "bad.yaml").write_text("workflow: bad\ntasks: {a: {script: x, retries: -1}}\n")
    with pytest.raises(InvalidWorkflowError):
        await bench.client.deploy(project)
    with pytest.raises(DiscoveryError):
        await bench.client.deploy(tmp_path / "nowhere")
    assert await bench.client.list_workflows() == []


async def test_a_workflow_without_code_needs_no_bundle(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text("workflow: flow\ntasks: {a: {script: 'true'}}\n")
    [version] = await bench.client.deploy(path)
    assert (version.bundle, version.task_count, version.created) == ("", 1, True)


async def test_workflows_and_their_versions_are_listed(bench: Bench) -> None:
    for name, count in (("b", 1), ("a", 1), ("a", 2)):
        await bench.client.register(WorkflowSpec(name, tuple(a_task(f"t{index}") for index in range(count))))
    assert [(item.name, item.version) for item in await bench.client.list_workflows()] == [("a", 2), ("b", 1)]
    assert [item.version for item in await bench.client.list_workflows("a")] == [2, 1]
    assert [item.name for item in await bench.client.list_workflows(limit=1)] == ["a"]


async def test_what_the_coordinator_finds_wrong_comes_back_as_it_was(bench: Bench) -> None:
    with pytest.raises(InvalidWorkflowError) as caught:
        await bench.client.register(WorkflowSpec("flow", (a_task("a", "b"),)))
    [violation] = caught.value.violations
    assert violation.field == "tasks[0].upstream[0]"
    assert violation.description == "There is no task 'b'. Known: a."
    with pytest.raises(BundleNotFoundError):
        await bench.client.register(WorkflowSpec("flow", (TaskSpec("a", PythonAction("m:f")),)), "ab" * 32)
    with pytest.raises(WorkflowNotFoundError):
        await bench.client.get_workflow("nothing")


# Runs.


async def test_a_run_is_waited_for_and_its_outputs_are_values(bench: Bench, tmp_path: Path) -> None:
    file = await bench.client.put_blob(b"rows")
    large = await bench.client.put_blob(json.dumps([1, {"n": 3**200}]).encode())
    run = await bench.succeeded(
        {"n": 3**200, "table": file_json(FileRef(file.sha256, "rows.csv", 4))}, blob_json(large), None
    )
    assert (run.state, run.finished, run.task_count) == (RunState.SUCCEEDED, True, 3)
    outputs = await run.outputs()
    table = outputs["t0"].pop("table")
    assert outputs == {"t0": {"n": 3**200}, "t1": [1, {"n": 3**200}], "t2": None}
    assert (table.name, table.size, await table.read_bytes()) == ("rows.csv", 4, b"rows")
    assert (await table.download(tmp_path)).read_bytes() == b"rows"
    assert (await table.download(tmp_path / "other")).read_bytes() == b"rows"
    assert files_in(tmp_path) == ["other", "rows.csv"]
    assert list(await run.outputs("t2")) == ["t2"]
    assert await run.result() is not None
    with pytest.raises(TaskNotFoundError):
        await run.outputs("t9")


async def test_a_failed_run_raises_with_the_remote_traceback(bench: Bench) -> None:
    agent = await bench.agent()
    run = await bench.started(a_task("a"), a_task("b", "a"))
    failure = Failure(FailureKind.USER_ERROR, "ValueError: no", "Traceback...\nValueError: no\n", "builtins.ValueError")
    order = await agent.orders.get()
    agent.report(order, Finish(AttemptState.FAILED, datetime.now(UTC), failure=failure))
    with pytest.raises(RunFailedError) as caught:
        await run.result(30)
    [task] = caught.value.tasks
    assert task.failure == failure
    assert task.metadata == {"run_id": run.run_id, "task": "a", "map_index": "-1", "attempt": "1"}
    text = str(caught.value)
    assert text.startswith(f"Run {run.run_id} of flow failed")
    assert text.endswith("Task a failed (user_error): ValueError: no\nTraceback...\nValueError: no")
    ended = await run.refresh()
    assert (ended.state, ended.counts and ended.counts[TaskRunState.UPSTREAM_FAILED]) == (RunState.FAILED, 1)


async def test_a_cancelled_run_raises_with_the_reason(bench: Bench) -> None:
    run = await bench.started()
    await run.cancel("no longer wanted")
    with pytest.raises(RunCancelledError, match=f"Run {run.run_id} of flow was cancelled: no longer wanted"):
        await run.result(30)
    with pytest.raises(RunAlreadyFinishedError):
        await run.cancel()


async def test_waiting_ends_in_time_and_the_run_goes_on(bench: Bench) -> None:
    run = await bench.started()
    with pytest.raises(DeadlineError, match=rf"Run {run.run_id} is still \w+ after 0\.2 s\. It goes on\."):
        await run.wait(0.2)
    assert not (await run.refresh()).finished
    assert await run.failure() is None


async def test_the_same_request_is_the_same_run(bench: Bench) -> None:
    first = await bench.started(request_id="r1")
    again = await bench.client.run("flow", request_id="r1")
    assert again.run_id == first.run_id
    assert (await bench.client.run("flow")).run_id != first.run_id
    await bench.client.register(WorkflowSpec("flow", (a_task("b"),)))
    with pytest.raises(RequestIdReusedError):
        await bench.client.run("flow", version=2, request_id="r1")


async def test_parameters_are_told_apart_from_the_call_s_own(bench: Bench) -> None:
    parameters = (ParameterSpec("version", ParameterType.STRING), ParameterSpec("day"))
    await bench.client.register(WorkflowSpec("flow", (a_task("a"),), parameters))
    run = await bench.client.run("flow", params={"version": "x"}, day=[1, None])
    assert run.params == {"version": "x", "day": [1, None]}


async def test_parameters_that_do_not_fit_are_refused_with_every_problem(bench: Bench) -> None:
    await bench.client.register(WorkflowSpec("flow", (a_task("a"),), (ParameterSpec("day", ParameterType.STRING),)))
    with pytest.raises(InvalidParametersError) as remote:
        await bench.client.run("flow", dya=1)
    assert [violation.field for violation in remote.value.violations] == ["params.dya", "params.day"]
    with pytest.raises(InvalidParametersError) as local:
        await bench.client.run("flow", day=2**53)
    assert [violation.field for violation in local.value.violations] == ["params.day"]


async def test_runs_are_listed_newest_first_by_what_is_asked(bench: Bench) -> None:
    runs = [await bench.started() for _ in range(3)]
    await runs[0].cancel()
    assert [run.run_id for run in await bench.client.list_runs(limit=2)] == [runs[2].run_id, runs[1].run_id]
    cancelled = await bench.client.list_runs(workflow="flow", states=[RunState.CANCELLED])
    assert [run.run_id for run in cancelled] == [runs[0].run_id]
    assert await bench.client.list_runs(created_before=runs[0].create_time - timedelta(seconds=1)) == []
    assert len(await bench.client.list_runs(created_from=runs[0].create_time, limit=None)) == 3
    with pytest.raises(RunNotFoundError):
        await bench.client.get_run("nothing")


async def test_more_than_a_page_of_task_runs_is_read_whole(bench: Bench) -> None:
    run = await bench.started(*(a_task(f"t{index}") for index in range(1_200)))
    assert [item.task for item in await bench.client.list_task_runs(run.run_id)] == [
        f"t{index}" for index in range(1_200)
    ]
    assert len(await bench.client.list_task_runs(run.run_id, limit=1_001)) == 1_001


async def test_task_runs_and_attempts_tell_who_did_what(bench: Bench) -> None:
    run = await bench.succeeded(1, 2)
    task_runs = await bench.client.list_task_runs(run.run_id, states=[TaskRunState.SUCCEEDED])
    assert [(item.label, item.attempt, item.agent, item.finished) for item in task_runs] == [
        ("t0", 1, "a1", True),
        ("t1", 1, "a1", True),
    ]
    [attempt] = await bench.client.list_attempts(run.run_id, task="t1")
    assert (attempt.number, attempt.state, attempt.agent) == (1, AttemptState.SUCCEEDED, "a1")
    assert await bench.client.list_task_runs(run.run_id, states=[TaskRunState.FAILED]) == []


async def test_a_run_is_followed_from_what_holds_to_its_end(bench: Bench) -> None:
    agent = await bench.agent()
    run = await bench.started(a_task("a"), a_task("b", "a"))
    seen: dict[str, TaskRunState] = {}
    updates = []
    async for update in run.watch():
        updates.append(update)
        seen.update({item.task: item.state for item in update.task_runs})
        while not agent.orders.empty():
            agent.finish(agent.orders.get_nowait())
    assert updates[0].snapshot
    assert seen == {"a": TaskRunState.SUCCEEDED, "b": TaskRunState.SUCCEEDED}
    assert [update.run.state for update in updates][-1] is RunState.SUCCEEDED


async def test_agents_are_listed_and_followed(bench: Bench) -> None:
    watching = bench.client.watch_agents()
    assert await anext(watching) == []
    await bench.agent()
    [changed] = await anext(watching)
    assert (changed.name, changed.state.value) == ("a1", "connected")
    await watching.aclose()
    assert [agent.name for agent in await bench.client.list_agents()] == ["a1"]
    assert (await bench.client.get_agent("a1")).agent_id == changed.agent_id


# Blobs.


async def test_bytes_and_files_are_stored_once_and_read_back(bench: Bench, tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    (tmp_path / "in").write_bytes(data)
    blob = await bench.client.put_blob(tmp_path / "in")
    assert blob == await bench.client.put_blob(data)
    assert blob.size == len(data)
    assert await bench.client.get_blob(blob.sha256) == data
    assert await bench.client.put_blob(b"") == BlobRef(
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 0
    )


async def test_a_blob_that_is_not_there_leaves_no_file_behind(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(BlobNotFoundError):
        await bench.client.blobs.download("ab" * 32, tmp_path / "x")
    with pytest.raises(InvalidDigestError, match="'x' is no blob's name"):
        await bench.client.get_blob("x")
    assert files_in(tmp_path) == []


async def test_a_download_goes_on_where_the_connection_broke(bench: Bench) -> None:
    data = bytes(range(256)) * 16_384
    blob = await bench.client.put_blob(data)
    async with forwarding(bench.site.address) as network, AsyncClient(network.address) as client:
        network.down_limit = 2_500_000
        assert await client.get_blob(blob.sha256) == data
        assert network.connections >= 2


@pytest.mark.parametrize("sent", [1, 70_000, 300_000, 1_500_000, 2_900_000, 4_100_000])
async def test_an_upload_begins_anew_when_the_connection_breaks(bench: Bench, sent: int) -> None:
    data = bytes(range(256)) * 16_384
    async with forwarding(bench.site.address) as network, AsyncClient(network.address) as client:
        network.up_limit = sent
        blob = await client.put_blob(data)
        assert network.connections >= 2
    assert await bench.client.get_blob(blob.sha256) == data


# Logs.


async def test_a_log_is_read_and_followed_across_a_break_without_repeats(site: Site) -> None:
    attempt = await a_running_attempt(site)
    await sent(site, append(attempt, 0, piece("one ")))
    async with forwarding(site.address) as network, AsyncClient(network.address) as client:
        read = [entry async for entry in client.read_log(str(attempt.run_id), "a")]
        assert [(entry.data, entry.stream, entry.time.timestamp()) for entry in read] == [
            (b"one ", LogStream.STDOUT, 1_700_000_000.25)
        ]
        tail = client.tail_log(str(attempt.run_id), "a")
        assert (await anext(tail)).data == b"one "
        network.hang_up()
        size = len(piece("one "))
        await sent(site, append(attempt, size, piece("two", LogStream.STDERR), last=True))
        await end(site, attempt, log_bytes=size + len(piece("two")))
        assert [(entry.data, entry.stream) async for entry in tail] == [(b"two", LogStream.STDERR)]
        assert network.connections >= 2


async def test_the_log_of_an_attempt_that_is_not_there_is_refused(bench: Bench) -> None:
    run = await bench.started()
    with pytest.raises(AttemptNotFoundError):
        await anext(bench.client.read_log(run.run_id, "a", attempt=7))


# Connections.


async def test_a_watch_is_taken_up_again_after_a_break(bench: Bench) -> None:
    agent = await bench.agent()
    async with forwarding(bench.site.address) as network, AsyncClient(network.address) as client:
        run = await bench.started(a_task("a"), a_task("b", "a"))
        updates = client.watch_run(run.run_id)
        assert (await anext(updates)).snapshot
        network.hang_up()
        agent.finish(await agent.orders.get())
        agent.finish(await agent.orders.get())
        rest = [update async for update in updates]
        assert any(update.snapshot for update in rest)
        assert rest[-1].run.state is RunState.SUCCEEDED
        assert network.connections >= 2


async def test_waiting_outlasts_a_break(bench: Bench) -> None:
    agent = await bench.agent()
    async with forwarding(bench.site.address) as network, AsyncClient(network.address) as client:
        run = await (await client.get_run((await bench.started()).run_id)).refresh()
        waiting = asyncio.create_task(run.wait(60))
        order = await agent.orders.get()
        network.hang_up()
        agent.finish(order)
        assert (await waiting).state is RunState.SUCCEEDED


async def test_the_next_address_is_tried_where_one_does_not_answer(bench: Bench) -> None:
    async with refusing() as dead, AsyncClient(f"{dead}, {bench.site.address}") as client:
        assert await client.list_workflows() == []
        run = await bench.started()
        assert (await client.get_run(run.run_id)).run_id == run.run_id
        updates = client.watch_run(run.run_id)
        assert (await anext(updates)).snapshot
        await updates.aclose()


async def test_no_answer_anywhere_is_said_with_the_address() -> None:
    async with refusing() as one, refusing() as two, AsyncClient(f"{one},{two}") as client:
        with pytest.raises(UnavailableError, match=f"No coordinator answers at ({one}|{two}): "):
            await client.list_workflows()


async def test_a_coordinator_that_never_answers_is_given_up() -> None:
    async with silent() as address:
        channels = Channels(parse_addresses(address))
        with pytest.raises((DeadlineError, UnavailableError)):
            await channels.call(lambda endpoint: endpoint.runs.GetRun, run_pb2.GetRunRequest(), 0.5)
        await channels.close()


async def test_a_closed_client_says_so(bench: Bench) -> None:
    client = AsyncClient(bench.site.address)
    await client.list_workflows()
    await client.close()
    with pytest.raises(ClientClosedError, match="The client is closed; make a new one"):
        await client.list_workflows()


async def test_a_client_serves_one_event_loop(bench: Bench) -> None:
    await bench.client.list_workflows()
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            asyncio.run(_list(bench.client))
        except ClientClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert "belongs to another event loop" in str(errors[0])


async def _list(client: AsyncClient) -> object:
    return await client.list_workflows()


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PODIUM_ADDRESS", raising=False)
    assert AsyncClient().address == "127.0.0.1:7450"
    monkeypatch.setenv("PODIUM_ADDRESS", "c1,c2:80")
    assert AsyncClient().address == "c1,c2:80"
    assert AsyncClient("[::1]").address == "[::1]"


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("host", ("host:7450",)),
        ("a:1, b:2", ("a:1", "b:2")),
        ("[::1]:80", ("[::1]:80",)),
        ("unix:/run/podium.sock", ("unix:/run/podium.sock",)),
    ],
)
def test_addresses_are_read(text: str, addresses: tuple[str, ...]) -> None:
    assert parse_addresses(text) == addresses


@pytest.mark.parametrize("text", ["", "a,", "http://host", "host:0", "host:99999", "host:x", "a b", "unix:", "::1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddressError, match='is no address: write "host:port"'):
        parse_addresses(text)


def test_too_many_addresses_are_refused() -> None:
    with pytest.raises(InvalidAddressError, match="17 addresses are too many; the limit is 16"):
        parse_addresses(",".join(["h"] * 17))


async def test_a_run_s_id_is_its_uuid(bench: Bench) -> None:
    assert UUID((await bench.started()).run_id).version == 7

"""What pipelines do on a real cluster when nothing goes wrong but their own tasks."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import psutil
import pytest

from podium import Client, RunFailedError
from podium.errors import RequestIdReusedError
from podium.model.states import AttemptState, FailureKind, RunState, TaskRunState
from tests.cluster import harm, hiding
from tests.cluster.cluster import Cluster
from tests.cluster.fixtures import PROJECT
from tests.cluster.witness import Witness

RUN_SECONDS = 30.0
A_FEW = 3


async def test_a_diamond_hands_values_on_whole_in_part_and_within_others(witness: Witness) -> None:
    run = await witness.client.run("diamond", value=21)
    assert await run.result(RUN_SECONDS) == {"add": {"sum": 43, "large": 2**70}}
    top = (await run.outputs("number"))["number"]
    assert top == {"value": 21, "text": "é ☃", "none": None, "large": 2**70, "list": [1, 2.5, True]}


async def test_a_file_made_on_one_agent_is_read_on_another_that_shares_no_disk(
    cluster: Cluster, witness: Witness, tmp_path: Path
) -> None:
    hidden = [str(cluster.data_dir), str(cluster.folder / "agents")]
    run = await witness.client.run("files", size=3 << 20, hidden=hidden)
    result = (await run.result(RUN_SECONDS))["consume"]
    assert (result["same"], result["names"], result["text"]) == (True, ["first.bin", "second.txt"], "two")
    assert result["copied"]
    assert {item.agent for item in await witness.client.list_attempts(run.run_id)} == {"a1", "a2"}
    made = (await run.outputs("produce"))["produce"]
    assert await made["files"][0].read_bytes() == await result["again"].read_bytes()
    if hiding.way() == "none":
        pytest.skip(hiding.NOT_HIDDEN)
    own = {str(cluster.agent_folder(name)) for name in ("a1", "a2")}
    assert set(result["seen"]) <= own, "an agent sees what is another's"


async def test_a_value_too_large_to_travel_inline_arrives_whole(witness: Witness) -> None:
    run = await witness.client.run("large_values", size=900_000)
    assert await run.result(RUN_SECONDS) == {"length": 900_000}
    assert len((await run.outputs("large"))["large"]) == 900


async def test_programs_get_values_by_their_environment_and_fail_by_their_exit_code(witness: Witness) -> None:
    run = await witness.client.run("shells", word="it's; $HOME")
    with pytest.raises(RunFailedError) as caught:
        await run.result(RUN_SECONDS)
    [failed] = caught.value.tasks
    assert (failed.failure.kind, failed.failure.exit_code) == (FailureKind.EXIT_CODE, 7)
    attempts = await witness.client.list_attempts(run.run_id, task="fails")
    assert [item.state for item in attempts] == [AttemptState.FAILED, AttemptState.FAILED]
    log = [entry async for entry in witness.client.read_log(run.run_id, "echo")]
    assert b"said it's; $HOME in" in b"".join(entry.data for entry in log if entry.stream == 1)
    assert b"".join(entry.data for entry in log if entry.stream == 2) == b"err"


async def test_a_task_is_tried_again_as_often_as_it_may_be(witness: Witness) -> None:
    run = await witness.start("retried", {"third_time": 3})
    assert (await run.ended(RUN_SECONDS)).state is RunState.SUCCEEDED
    evidence = await witness.assert_clean()
    assert [row.state for row in evidence.attempts] == ["failed", "failed", "succeeded"]


async def test_a_failure_comes_back_as_a_typed_error_with_the_remote_traceback(witness: Witness) -> None:
    run = await witness.client.run("trouble", kind="raises")
    with pytest.raises(RunFailedError) as caught:
        await run.result(RUN_SECONDS)
    [failed] = caught.value.tasks
    assert failed.failure.exception_type == "ledgered.trouble.OddError"
    assert failed.failure.message == "ledgered.trouble.OddError: the number 3 is odd"
    assert 'raise OddError("the number 3 is odd")' in failed.failure.traceback
    assert "podium_agent" not in failed.failure.traceback, "the traceback begins with the project's own code"
    assert "the number 3 is odd" in str(caught.value)


async def test_a_task_that_takes_too_long_is_ended_and_what_follows_does_not_start(witness: Witness) -> None:
    run = await witness.client.run("too_slow")
    assert (await run.wait(RUN_SECONDS)).state is RunState.FAILED
    slow, after = await witness.client.list_task_runs(run.run_id)
    assert slow.failure is not None
    assert (slow.state, slow.failure.kind) == (TaskRunState.FAILED, FailureKind.TIMEOUT_RUN)
    assert after.state is TaskRunState.UPSTREAM_FAILED


async def test_a_run_that_takes_too_long_is_ended(witness: Witness) -> None:
    run = await witness.client.run("too_slow_in_all")
    ended = await run.wait(RUN_SECONDS)
    assert ended.state is RunState.FAILED
    assert "1.5" in ended.reason
    assert {item.state for item in await witness.client.list_task_runs(run.run_id)} == {TaskRunState.CANCELLED}


async def test_creating_a_run_again_with_its_request_id_gives_the_same_run(witness: Witness) -> None:
    request_id = uuid.uuid4().hex
    first = await witness.client.run("diamond", request_id=request_id, value=1)
    again = await witness.client.run("diamond", request_id=request_id, value=1)
    assert again.run_id == first.run_id
    with pytest.raises(RequestIdReusedError):
        await witness.client.run("diamond", request_id=request_id, value=2)
    assert (await first.wait(RUN_SECONDS)).state is RunState.SUCCEEDED


async def test_a_run_keeps_its_version_whatever_is_deployed_meanwhile(
    cluster: Cluster, witness: Witness, tmp_path: Path
) -> None:
    first = (await witness.client.get_workflow("pinned")).version
    cluster.gates.shut("pinned")
    old = await witness.start("pinned", {"greet_again": ["first version", "first version"]})
    await old.until(lambda states: states.get("greet_again") is TaskRunState.RUNNING, RUN_SECONDS)
    changed = shutil.copytree(PROJECT / "ledgered", tmp_path / "project" / "ledgered")
    module = changed / "data.py"
    module.write_text(module.read_text().replace("first version", "second version"))
    deployed = {item.name: item for item in await witness.client.deploy(tmp_path / "project")}
    assert (deployed["pinned"].version, deployed["pinned"].created) == (first + 1, True)
    cluster.gates.open("pinned")
    assert (await old.ended(RUN_SECONDS)).state is RunState.SUCCEEDED
    new = await witness.client.run("pinned")
    assert await new.result(RUN_SECONDS) == {"greet_again": ["second version", "second version"]}
    oldest = await witness.client.run("pinned", version=first)
    assert await oldest.result(RUN_SECONDS) == {"greet_again": ["first version", "first version"]}
    assert (old.last.version, new.version, oldest.version) == (first, first + 1, first)


async def test_deploying_the_same_code_again_makes_no_version(witness: Witness) -> None:
    await witness.client.deploy(PROJECT)
    assert not any(item.created for item in await witness.client.deploy(PROJECT))


async def test_cancelling_ends_the_whole_tree_of_processes_of_a_running_task(
    cluster: Cluster, witness: Witness
) -> None:
    run = await witness.start("process_tree", {})
    async for entry in witness.client.tail_log(run.run_id, "tree"):
        if b"started" in entry.data:
            break
    assert len(cluster.processes_of(run.run_id)) >= 6
    await witness.client.cancel(run.run_id, "enough of it")
    ended = await run.ended(RUN_SECONDS)
    assert (ended.state, ended.reason) == (RunState.CANCELLED, "enough of it")
    assert cluster.processes_of(run.run_id) == [], "processes outlive the end of their run"
    assert {item.state for item in await witness.client.list_task_runs(run.run_id)} == {TaskRunState.CANCELLED}
    await witness.assert_clean()


async def test_servers_keep_no_descriptors_of_what_is_over(cluster: Cluster, witness: Witness) -> None:
    async def some_runs() -> dict[str, int]:
        for _ in range(10):
            assert (await (await witness.client.run("large_values", size=400_000)).wait(RUN_SECONDS)).finished
        sessions = {name: harm.session_of(cluster, name) for name in cluster.agents}
        servers = {"coordinator": cluster.coordinator.pid, **sessions}
        return {name: psutil.Process(pid).num_fds() for name, pid in servers.items()}

    before = await some_runs()
    after = await some_runs()
    assert all(after[name] <= before[name] + A_FEW for name in before), (before, after)


def test_synchronous_code_does_the_same(cluster: Cluster) -> None:
    with Client(cluster.address) as client:
        run = client.run("diamond", value=2)
        assert run.result(RUN_SECONDS) == {"add": {"sum": 5, "large": 2**70}}
        assert client.get_run(run.run_id).state is RunState.SUCCEEDED

"""Bad input gets a clear error and loses nothing: each case on the real cluster, which goes on as before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest
from google.protobuf.struct_pb2 import Struct

from podium import InvalidParametersError, InvalidWorkflowError, RunFailedError
from podium.errors import PodiumError
from podium.model.spec import (
    Literal,
    Output,
    ParameterSpec,
    ParameterType,
    PythonAction,
    ShellAction,
    TaskSpec,
    WorkflowSpec,
)
from podium.model.states import Failure, FailureKind, RunState, TaskRunState
from podium.remote_errors import from_rpc_error
from podium.resources import WorkflowVersion
from podium.v1 import run_pb2, run_pb2_grpc
from tests.cluster import hiding
from tests.cluster.cluster import AgentPlan, Cluster
from tests.cluster.fixtures import LARGEST_OUTPUT
from tests.cluster.witness import Witness

RUN_SECONDS = 45.0
REGISTER_SECONDS = 90.0
MOST_TASKS = 100_000


@pytest.fixture(autouse=True)
async def still_well(witness: Witness) -> AsyncIterator[None]:
    """After each test the cluster runs a pipeline as before, with both agents, and keeps no attempt."""
    yield
    run = await witness.client.run("ledgered_fan", seed=1)
    assert (await run.result(RUN_SECONDS))["total"] == 828
    for name in ("a1", "a2"):
        agent = await witness.client.get_agent(name)
        assert (agent.state.value, agent.draining, agent.live_attempts) == ("connected", False, 0)


# Workflows


def shell_task(key: str, *upstream: str) -> TaskSpec:
    return TaskSpec(key, ShellAction(exec=("true",)), upstream)


async def refused(witness: Witness, *tasks: TaskSpec, name: str = "bad") -> list[tuple[str, str]]:
    """Register a definition that must be refused; return the violations."""
    before = await witness.client.list_workflows()
    with pytest.raises(InvalidWorkflowError) as caught:
        await witness.client.register(WorkflowSpec(name, tasks))
    assert await witness.client.list_workflows() == before, "nothing is stored"
    return [(violation.field, violation.description) for violation in caught.value.violations]


async def test_a_cycle_is_refused_and_named(witness: Witness) -> None:
    tasks = shell_task("a", "c"), shell_task("b", "a"), shell_task("c", "b"), shell_task("d")
    [(_, description)] = await refused(witness, *tasks)
    assert description == "These tasks wait for each other: a -> b -> c -> a."


async def test_a_workflow_without_tasks_is_refused(witness: Witness) -> None:
    [(field, description)] = await refused(witness)
    assert field == "tasks"
    assert description == "The workflow has no tasks; it needs at least one."


async def test_each_problem_of_a_malformed_workflow_is_told_with_its_place(witness: Witness) -> None:
    found = dict(
        await refused(
            witness,
            TaskSpec("a b", ShellAction(exec=("true",))),
            TaskSpec("twice", ShellAction(exec=("true",))),
            TaskSpec("twice", ShellAction()),
            shell_task("after", "nobody"),
            TaskSpec("uses", PythonAction("not a function", (Output("twice"),))),
            name="no good name!",
        )
    )
    assert {"name", "tasks[0].key", "tasks[2].key", "tasks[3].upstream[0]"} <= set(found), found
    assert "nobody" in found["tasks[3].upstream[0]"]
    assert len(found) >= 6


async def test_a_hundred_thousand_tasks_are_taken(witness: Witness) -> None:
    tasks = tuple(shell_task(f"t{i}", *([f"t{i - 1}"] if i % 10 else [])) for i in range(MOST_TASKS))
    async with asyncio.timeout(REGISTER_SECONDS):
        made = await witness.client.register(WorkflowSpec("hundred_thousand", tasks))
    assert (made.task_count, made.version, made.created) == (MOST_TASKS, 1, True)
    [listed] = [item for item in await witness.client.list_workflows() if item.name == "hundred_thousand"]
    assert listed.task_count == MOST_TASKS


async def test_one_task_more_than_a_hundred_thousand_is_refused_with_the_limit(witness: Witness) -> None:
    tasks = tuple(shell_task(f"t{i}") for i in range(MOST_TASKS + 1))
    [(field, description)] = await refused(witness, *tasks)
    assert field == "tasks"
    assert "100,001" in description
    assert "100,000" in description


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("workflow: w\ntasks:\n  a:\n    script: 'true'\n    retries: many\n", 5, "retries"),
        ("workflow: w\ntasks:\n  a:\n    scrip: 'true'\n", 4, "script"),
        ("workflow: w\ntasks:\n  a:\n    script: 'true'\n    after: [b]\n", 5, "b"),
        ("workflow: w\ntasks: [\n", 3, ""),
    ],
)
async def test_a_malformed_file_is_refused_with_its_line(
    witness: Witness, tmp_path: Path, text: str, line: int, words: str
) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(text)
    with pytest.raises(PodiumError) as caught:
        await witness.client.deploy(path)
    assert f"{path}:{line}" in str(caught.value)
    assert words in str(caught.value)


async def test_code_that_cannot_be_imported_is_told_with_its_traceback(witness: Witness, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("from podium import workflow\n\nimport not_there_at_all\n")
    with pytest.raises(PodiumError) as caught:
        await witness.client.deploy(tmp_path)
    assert "not_there_at_all" in str(caught.value)
    assert "broken.py" in str(caught.value)


async def test_a_function_that_the_bundle_does_not_have_fails_its_task(witness: Witness) -> None:
    [known] = [item for item in await witness.client.list_workflows() if item.name == "diamond"]
    for number, (function, words) in enumerate(
        {
            "ledgered.data:no_such": "no_such",
            "ledgered.no_such:double": "ledgered.no_such",
            "ledgered.data:GREETING": "GREETING",
        }.items()
    ):
        failure = await failing(witness, known, TaskSpec("only", PythonAction(function)), f"unknown_{number}")
        assert words in failure.message


async def failing(witness: Witness, code: WorkflowVersion, task: TaskSpec, name: str) -> Failure:
    await witness.client.register(WorkflowSpec(name, (task,)), code.bundle)
    return await failure_of(witness, name)


async def failure_of(witness: Witness, workflow: str, **params: object) -> Failure:
    run = await witness.client.run(workflow, params=params)
    with pytest.raises(RunFailedError) as caught:
        await run.result(RUN_SECONDS)
    [failed] = caught.value.tasks
    assert len(await witness.client.list_attempts(run.run_id)) == 1, "there is nothing to try again"
    return failed.failure


# Parameters

PARAMETERS = (
    ParameterSpec("text", ParameterType.STRING),
    ParameterSpec("number", ParameterType.INTEGER, default=Literal(3)),
    ParameterSpec("rows", ParameterType.ARRAY, default=Literal([])),
)


@pytest.fixture
async def parametrized(witness: Witness) -> str:
    await witness.client.register(WorkflowSpec("parametrized", (shell_task("only"),), PARAMETERS))
    return "parametrized"


async def violations(witness: Witness, workflow: str, **params: object) -> dict[str, str]:
    runs = len(await witness.client.list_runs(workflow=workflow, limit=None))
    with pytest.raises(InvalidParametersError) as caught:
        await witness.client.run(workflow, params=params)
    assert len(await witness.client.list_runs(workflow=workflow, limit=None)) == runs, "no run is made"
    return {violation.field: violation.description for violation in caught.value.violations}


async def test_parameters_of_a_wrong_type_missing_and_unknown_ones_are_all_told(
    witness: Witness, parametrized: str
) -> None:
    found = await violations(witness, parametrized, number="three", rows={"a": 1}, txet="typo")
    assert {field.rpartition(".")[2] for field in found} == {"text", "number", "rows", "txet"}
    told = {field.rpartition(".")[2]: description for field, description in found.items()}
    assert "integer" in told["number"]
    assert "array" in told["rows"]
    assert "text" in told["txet"], "the right name is offered"


async def test_a_whole_number_that_a_double_cannot_hold_is_refused_and_not_rounded(
    cluster: Cluster, witness: Witness, parametrized: str
) -> None:
    with pytest.raises(PodiumError, match=r"9007199254740993|2\^53"):
        await witness.client.run(parametrized, text="x", number=2**53 + 1)
    params = Struct()
    params.update({"text": "x", "number": float(2**53)})
    error = await raw_create(cluster, run_pb2.CreateRunRequest(workflow=parametrized, params=params))
    assert isinstance(error, InvalidParametersError)
    assert "2^53" in str(error)


async def raw_create(cluster: Cluster, request: run_pb2.CreateRunRequest) -> PodiumError:
    """Speak as any client might, without the checks of ours."""
    async with grpc.aio.insecure_channel(cluster.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await run_pb2_grpc.RunServiceStub(channel).CreateRun(request)
    return from_rpc_error(caught.value, cluster.address)


async def test_parameters_over_the_limit_are_refused_with_the_limit(witness: Witness, parametrized: str) -> None:
    found = await violations(witness, parametrized, text="x" * (300 * 1024))
    [description] = found.values()
    assert "262,144" in description or "256 KiB" in description


async def test_a_request_id_that_cannot_be_kept_is_refused(witness: Witness, parametrized: str) -> None:
    with pytest.raises(PodiumError) as caught:
        await witness.client.run(parametrized, request_id="x" * 10_000, text="x")
    assert caught.value.reason == "INVALID_REQUEST_ID"


# Tasks

TROUBLES = {
    "raises": (FailureKind.USER_ERROR, ["the number 3 is odd"]),
    "exits": (FailureKind.USER_ERROR, ["sys.exit(3)", "podium.Fail"]),
    "dies": (FailureKind.EXIT_CODE, ["5"]),
    "killed": (FailureKind.EXIT_CODE, ["SIGKILL"]),
    "generates": (FailureKind.USER_ERROR, ["result is a generator", "list(...)"]),
    "returns_object": (FailureKind.USER_ERROR, ['result["rows"][1]["when"]']),
    "returns_nan": (FailureKind.USER_ERROR, ["result[1]", "nan"]),
    "returns_bytes": (FailureKind.USER_ERROR, ["bytes", "write them to a file"]),
    "returns_no_file": (FailureKind.USER_ERROR, ["missing.csv", "no file that exists"]),
    "returns_too_much": (FailureKind.USER_ERROR, [f"{LARGEST_OUTPUT:,}", "Write it to a file"]),
    "gives_up": (FailureKind.USER_ERROR, ["There is no such day."]),
}


@pytest.mark.parametrize("kind", TROUBLES)
async def test_a_task_that_gets_into_trouble_fails_with_a_clear_word(witness: Witness, kind: str) -> None:
    expected, words = TROUBLES[kind]
    failure = await failure_of(witness, "trouble", kind=kind)
    assert failure.kind is expected
    for word in words:
        assert word.replace('"', "'") in failure.message.replace('"', "'")


@pytest.mark.parametrize("kind", ["dies", "killed"])
async def test_the_log_of_a_task_that_dies_is_kept(cluster: Cluster, witness: Witness, kind: str) -> None:
    cluster.gates.shut("last-words")
    run = await witness.client.run("trouble", kind=kind)
    async with asyncio.timeout(RUN_SECONDS):
        async for entry in witness.client.tail_log(run.run_id, "get_into"):
            if b"last words" in entry.data:
                break
    cluster.gates.open("last-words")
    assert (await run.wait(RUN_SECONDS)).state is RunState.FAILED
    log = [entry.data async for entry in witness.client.read_log(run.run_id, "get_into")]
    assert b"".join(log) == b"last words\n"


async def test_a_task_that_is_not_needed_is_skipped(witness: Witness) -> None:
    run = await witness.client.run("trouble", kind="is_not_needed")
    assert (await run.wait(RUN_SECONDS)).state is RunState.SUCCEEDED
    [task] = await witness.client.list_task_runs(run.run_id)
    assert task.state is TaskRunState.SKIPPED


async def test_what_a_task_leaves_behind_is_ended_with_it(cluster: Cluster, witness: Witness) -> None:
    run = await witness.client.run("trouble", kind="forks_and_stays")
    assert await run.result(RUN_SECONDS) == {"get_into": "done"}
    left = [pid for pid in cluster.processes_of(run.run_id) if not is_worker(pid)]
    assert left == []


def is_worker(pid: int) -> bool:
    return b"podium_agent.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()


# The agent's disk

NO_SMALL_DISK = "NOT RUN: a full disk under an agent's journal. This machine allows no mount namespaces."


@pytest.mark.skipif(hiding.way() != "namespace", reason=NO_SMALL_DISK)
async def test_an_agent_whose_disk_is_full_loses_no_result_and_works_again_when_there_is_room(
    cluster: Cluster, witness: Witness
) -> None:
    cluster.gates.shut("disk")
    async with cluster.another_agent(AgentPlan("a3", journal_disk=4 << 20)) as agent:
        run = await witness.start("waiting_on_a3", {"waits": "disk"}, gate="disk")
        await run.until(lambda states: states.get("waits") is TaskRunState.RUNNING, RUN_SECONDS)
        filler = Path(f"/proc/{agent.pid}/root{cluster.agent_folder('a3')}/journal/filler")
        fill(filler)
        cluster.gates.open("disk")
        assert (await run.ended(RUN_SECONDS)).state is RunState.SUCCEEDED
        async with asyncio.timeout(RUN_SECONDS):
            await agent.says("journal_cannot_be_written")
            await cluster.agents_are(lambda agents: agents["a3"].draining)
        later = await witness.start("waiting_on_a3", {"waits": "later"}, gate="later")
        elsewhere = await witness.start("anywhere", {})
        assert (await elsewhere.ended(RUN_SECONDS)).state is RunState.SUCCEEDED
        make_room(filler)
        assert (await later.ended(RUN_SECONDS)).state is RunState.SUCCEEDED
        await witness.assert_clean()


def make_room(path: Path) -> None:
    path.unlink()


def fill(path: Path) -> None:
    """Take all the room there is on a disk, to the last byte."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(64 * 1024)):
            continue
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"0"):
            continue

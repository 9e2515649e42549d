"""The synchronous client: one loop thread behind all of them, against a real coordinator."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from podium import Client, RunState, TaskRunState
from podium.errors import ClientClosedError, DeadlineError, RunFailedError, RunNotFoundError
from podium.loop_thread import shared
from podium.model.spec import WorkflowSpec
from podium.results import FileRef, file_json
from tests.rpc.site import Site, a_task
from tests.shard.cluster import Cluster, ScriptedAgent
from tests.unit.sdk.documented import write_documented

T = TypeVar("T")

INTERRUPTED = """
import os, signal, sys, threading
from podium import Client

def waits(frame):
    while frame and not frame.f_code.co_filename.endswith("loop_thread.py"):
        frame = frame.f_back
    return frame is not None

def interrupt(main):
    while not waits(sys._current_frames()[main]):
        threading.Event().wait(0.05)
    os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background programs deaf to it
for update in Client(sys.argv[1]).get_run(sys.argv[2]).watch():
    print(update.run.state, flush=True)
    if update.snapshot:
        threading.Thread(target=interrupt, args=[threading.get_ident()]).start()
"""
"""A program that is interrupted when it waits for a run's next change."""


@pytest.fixture
async def client(owning: tuple[Site, Cluster]) -> AsyncIterator[Client]:
    site, _ = owning
    client = Client(site.address)
    yield client
    await beside(client.close)


async def beside(work: Callable[..., T], *args: object) -> T:
    """Do blocking work in a thread, while the coordinator goes on in this one."""
    return await asyncio.to_thread(work, *args)


async def serve(agent: ScriptedAgent, output: object) -> None:
    order = await agent.orders.get()
    agent.finish(order, json.dumps(output).encode())


async def test_a_run_from_deploy_to_its_files(owning: tuple[Site, Cluster], client: Client, tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text("workflow: flow\ntasks: {a: {script: 'true'}}\n")
    agent = await owning[1].agent()

    def use() -> None:
        [version] = client.deploy(tmp_path / "flow.yaml")
        assert (version.name, client.get_workflow("flow").version) == ("flow", 1)
        blob = client.put_blob(b"rows")
        outputs.append(file_json(FileRef(blob.sha256, "rows.csv", 4)))
        run = client.run("flow")
        agent_loop.call_soon_threadsafe(created.set)
        assert next(update.run.run_id for update in run.watch()) == run.run_id
        ended = run.wait(30)
        assert (ended.state, ended.run_id) == (RunState.SUCCEEDED, run.run_id)
        file = ended.result()["a"]
        assert (file.name, file.size, file.read_bytes()) == ("rows.csv", 4, b"rows")
        assert file.download(tmp_path).read_bytes() == b"rows"
        assert [item.state for item in client.list_task_runs(run.run_id)] == [TaskRunState.SUCCEEDED]
        assert [item.agent for item in client.list_attempts(run.run_id)] == ["a1"]
        assert [found.run_id for found in client.list_runs()] == [run.run_id]
        assert client.list_agents()[0] == client.get_agent("a1")
        assert [item.version for item in client.list_workflows("flow")] == [1]
        assert b"".join(entry.data for entry in client.read_log(run.run_id, "a")) == b""
        assert client.blobs.stat([blob.sha256]) == {blob.sha256: 4}

    outputs: list[object] = []
    created = asyncio.Event()
    agent_loop = asyncio.get_running_loop()
    using = asyncio.create_task(beside(use))
    waiting = asyncio.create_task(created.wait())
    await asyncio.wait([using, waiting], return_when=asyncio.FIRST_COMPLETED)
    if not using.done():
        await serve(agent, outputs[0])
    waiting.cancel()
    await using


async def test_errors_are_those_of_the_asynchronous_client(owning: tuple[Site, Cluster], client: Client) -> None:
    agent = await owning[1].agent()

    def use() -> None:
        with pytest.raises(RunNotFoundError):
            client.get_run("nothing")
        client.register(WorkflowSpec("flow", (a_task("a"),)))
        run = client.run("flow", request_id="r1")
        assert client.run("flow", request_id="r1").run_id == run.run_id
        with pytest.raises(DeadlineError):
            run.wait(0.1)
        assert run.refresh().failure() is None
        agent.cluster.owner  # noqa: B018 - the agent holds the attempt until the run is cancelled
        assert run.cancel("enough").state in (RunState.CANCELLING, RunState.CANCELLED)

    await beside(use)


async def test_a_failed_run_raises(owning: tuple[Site, Cluster], client: Client) -> None:
    agent = await owning[1].agent()
    await beside(client.register, WorkflowSpec("flow", (a_task("a"),)))
    run = await beside(client.run, "flow")
    agent.fail(await agent.orders.get())
    with pytest.raises(RunFailedError, match="It broke"):
        await beside(run.result, 30)


async def test_leaving_a_watch_early_closes_its_stream(client: Client) -> None:
    def use() -> None:
        client.register(WorkflowSpec("flow", (a_task("a"),)))
        for update in client.run("flow").watch():
            assert update.snapshot
            break
        for agents in client.watch_agents():
            assert agents == []
            break

    await beside(use)


async def test_many_threads_share_one_loop(client: Client) -> None:
    await asyncio.gather(*(beside(client.list_workflows) for _ in range(8)))
    assert [thread.name for thread in threading.enumerate()].count("podium-client") == 1


async def test_a_closed_client_says_so(client: Client) -> None:
    def use() -> None:
        with Client(client.address) as other:
            other.list_workflows()
        with pytest.raises(ClientClosedError, match="The client is closed"):
            other.list_workflows()

    await beside(use)


async def test_the_loop_does_not_wait_for_itself(client: Client) -> None:
    async def inside() -> None:
        client.list_workflows()

    with pytest.raises(ClientClosedError, match="use AsyncClient inside a loop"):
        await beside(lambda: shared().run(inside()))


async def test_ctrl_c_ends_a_wait_and_the_program_ends_cleanly(owning: tuple[Site, Cluster]) -> None:
    site, _cluster = owning
    await site.register(a_task("a"))
    run = await site.create()
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "dev", "-c", INTERRUPTED, site.address, run.run_id,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    output, errors = await asyncio.wait_for(program.communicate(), 60)
    assert output.split()[0] in (b"queued", b"running")
    assert errors.decode().strip().splitlines()[-1] == "KeyboardInterrupt"
    assert errors.count(b"Traceback") == 1


async def test_a_program_that_forgets_to_close_ends_at_once(owning: tuple[Site, Cluster]) -> None:
    site, _ = owning
    script = "import sys\nfrom podium import Client\nprint(len(Client(sys.argv[1]).list_workflows()))\n"
    began = time.monotonic()
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, site.address, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(program.communicate(), 20)
    assert (output, errors, program.returncode) == (b"0\n", b"", 0)
    assert time.monotonic() - began < 15


async def test_the_program_in_the_documentation_runs(owning: tuple[Site, Cluster], tmp_path: Path) -> None:
    site, cluster = owning
    agent = await cluster.agent()
    await beside(write_documented, tmp_path)
    with Client(site.address) as client:
        stored = await beside(client.put_blob, b"region,amount\n")
    outputs: dict[str, object] = {
        "extract": file_json(FileRef(stored.sha256, "sales.csv", stored.size)),
        "total": {"north": 17},
        "shell": None,
        "report": "a report",
    }
    program = await asyncio.create_subprocess_exec(
        sys.executable, "run_sales.py", cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PODIUM_ADDRESS": site.address, "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    for _ in outputs:
        order = await agent.orders.get()
        agent.finish(order, json.dumps(outputs[order.live.compiled.graph.keys[order.index]]).encode())
    told, errors = await asyncio.wait_for(program.communicate(), 60)
    assert errors == b""
    assert told.decode().splitlines() == [
        "cleanup 1",
        "daily_sales 1",
        "{'report': 'a report'}",
        "sales.csv 14 b'region'",
    ]

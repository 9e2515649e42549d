"""What survives: a session, a stream, a coordinator, a whole agent that goes away."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # ships no types

from podium.v1 import run_pb2
from podium_agent import records
from podium_agent.store.journal import read
from tests.agent.bundles import a_call
from tests.agent.conftest import RunningAgent, wait_until
from tests.agent.peer import Peer, a_shell
from tests.agent.signs import Sign, gone

MODULE = """
    import os, signal, sys, time

    def wait(sign, go):
        print("begun")
        open(sign, "w").write(f"{os.getpid()}\\n")
        with open(go) as file:
            file.readline()
        return os.getpid()

    def quick():
        return "done"
"""

Start = Callable[..., RunningAgent]


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """What a task reads before it ends; `release` lets it."""
    path = tmp_path / "go"
    os.mkfifo(path)
    return path


def release(go: Path) -> None:
    descriptor = os.open(go, os.O_RDWR | os.O_NONBLOCK)
    os.write(descriptor, b"go\n")
    # The descriptor stays open: a pipe that nobody holds loses what was written.


def is_journaled(agent: RunningAgent, token: bytes) -> bool:
    """Whether a worker has noted the end of an attempt."""
    kept = [record for path in (agent.folder / "journal").glob("w*.journal") for record, _ in read(path)]
    return any(not isinstance(record, records.Order | records.Start) and record.token == token for record in kept)


async def test_a_session_killed_in_the_middle_of_an_attempt_neither_loses_nor_repeats_it(
    agent: RunningAgent, peer: Peer, bundle: str, sign: Sign, go: Path
) -> None:
    await peer.hello()
    order = a_call(bundle, "work:wait", sign.path, str(go))
    peer.assign(order)
    worker = await sign.number()
    started = await peer.start_of(order)
    os.kill(agent.session_pid(), signal.SIGKILL)
    hello = await peer.hello(2)
    assert [held.attempt for held in hello.held] == [order.attempt]
    assert hello.held[0].start_time == started.start_time
    release(go)
    assert await peer.result_of(order) == worker
    assert peer.finished_count[order.attempt.token] == 1
    assert (await peer.whole_log(order)).text() == "begun\n"


async def test_an_attempt_that_ends_while_there_is_no_session_is_reported_by_the_next(
    agent: RunningAgent, peer: Peer, bundle: str, sign: Sign, go: Path
) -> None:
    await peer.hello()
    order = a_call(bundle, "work:wait", sign.path, str(go))
    peer.assign(order)
    worker = await sign.number()
    session = agent.session_pid()
    os.kill(session, signal.SIGSTOP)
    release(go)
    assert wait_until(lambda: is_journaled(agent, order.attempt.token))
    os.kill(session, signal.SIGKILL)
    assert await peer.result_of(order) == worker


async def test_a_worker_that_dies_while_there_is_no_session_fails_its_attempt(
    agent: RunningAgent, peer: Peer, bundle: str, sign: Sign, go: Path
) -> None:
    await peer.hello()
    order = a_call(bundle, "work:wait", sign.path, str(go))
    peer.assign(order)
    worker = await sign.number()
    session = agent.session_pid()
    os.kill(session, signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    assert await gone(worker)
    os.kill(session, signal.SIGKILL)
    end = await peer.end_of(order)
    assert end.failure.exit_code == -9


async def test_results_are_told_again_until_they_are_acknowledged(agent: RunningAgent, peer: Peer, bundle: str) -> None:
    await peer.hello()
    peer.acknowledges = False
    orders = [a_call(bundle, "work:quick") for _ in range(5)]
    peer.assign(*orders)
    for order in orders:
        await peer.end_of(order)
    os.kill(agent.session_pid(), signal.SIGKILL)
    hello = await peer.hello(2)
    assert {held.attempt.token for held in hello.held} == {order.attempt.token for order in orders}
    await peer.until(lambda: all(peer.finished_count[order.attempt.token] == 2 for order in orders))
    peer.acknowledges = True
    peer.say(committed=peer.requests[-1].sequence)
    after = a_call(bundle, "work:quick")
    peer.assign(after)
    await peer.end_of(after)
    os.kill(agent.session_pid(), signal.SIGKILL)
    hello = await peer.hello(3)
    held = {held.attempt.token for held in hello.held}  # the last one's acknowledgement may have met a dead session
    assert held <= {after.attempt.token}
    await peer.until(lambda: len(peer.requests) > 0)
    assert all(peer.finished_count[order.attempt.token] == 2 for order in orders)


async def test_a_stream_that_breaks_ends_no_attempt(
    agent: RunningAgent, peer: Peer, bundle: str, sign: Sign, go: Path
) -> None:
    await peer.hello()
    order = a_call(bundle, "work:wait", sign.path, str(go))
    peer.assign(order)
    worker = await sign.number()
    peer.drop_session()
    hello = await peer.hello(2)
    assert [held.attempt for held in hello.held] == [order.attempt]
    release(go)
    assert await peer.result_of(order) == worker


async def test_a_coordinator_that_falls_silent_is_left_and_its_work_goes_on(
    agent: RunningAgent, peer: Peer, bundle: str, sign: Sign, go: Path
) -> None:
    await peer.hello()
    order = a_call(bundle, "work:wait", sign.path, str(go))
    peer.assign(order)
    worker = await sign.number()
    peer.mute = True
    hello = await peer.hello(2)
    peer.mute = False
    assert [held.attempt for held in hello.held] == [order.attempt]
    release(go)
    assert await peer.result_of(order) == worker


async def test_heartbeats_say_what_was_heard(agent: RunningAgent, peer: Peer) -> None:
    await peer.hello()
    await peer.until(lambda: len(peer.requests) >= 4)
    numbers = [request.sequence for request in peer.requests]
    assert numbers == list(range(1, len(numbers) + 1))
    assert peer.requests[-1].heard >= 2


async def test_the_agent_finds_the_coordinator_that_answers(start: Start, peer: Peer) -> None:
    start(coordinators=f"127.0.0.1:1,{peer.address}")
    hello = await peer.hello()
    assert (hello.name, hello.protocol_version) == ("a1", 1)
    assert hello.host.cpu_millis == 2000
    assert hello.host.memory_bytes > 1 << 28
    assert hello.host.disk_free_bytes > 0
    assert hello.host.python_version


async def test_an_agent_of_another_version_says_so_and_ends(start: Start, peer: Peer) -> None:
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason="INCOMPATIBLE_AGENT", domain="podium"))
    status = status_pb2.Status(code=9, message="refused by the test", details=[info])
    peer.refusal = grpc.StatusCode.FAILED_PRECONDITION, status.SerializeToString()
    agent = start()
    await _ended(agent)
    assert agent.process.returncode == 3
    assert "INCOMPATIBLE_AGENT" in agent.log()
    assert agent.log().count("refused_for_good") == 1


async def _ended(agent: RunningAgent) -> None:
    assert await gone(agent.process.pid)
    agent.process.wait(5)


async def test_a_drain_gives_back_what_has_not_begun_and_ends_when_the_rest_is_told(
    start: Start, peer: Peer, bundle: str, sign: Sign, go: Path
) -> None:
    agent = start(cpu="1")
    await peer.hello()
    running, waiting = a_call(bundle, "work:wait", sign.path, str(go)), a_shell("true")
    running.resources.cpu_millis = waiting.resources.cpu_millis = 1000
    peer.assign(running, waiting)
    worker = await sign.number()
    agent.term()
    await peer.until(lambda: waiting.attempt.token in peer.returned)
    assert peer.draining
    late = a_shell("true")
    peer.assign(late)
    await peer.until(lambda: late.attempt.token in peer.returned)
    release(go)
    assert await peer.result_of(running) == worker
    await _ended(agent)
    assert agent.process.returncode == 0


async def test_a_second_term_ends_everything_at_once(
    start: Start, peer: Peer, bundle: str, sign: Sign, go: Path
) -> None:
    agent = start()
    await peer.hello()
    peer.assign(a_call(bundle, "work:wait", sign.path, str(go)))
    worker = await sign.number()
    agent.term()
    await peer.until(lambda: peer.draining)
    agent.term()
    await _ended(agent)
    assert await gone(worker)
    assert agent.process.returncode == 1


async def test_a_killed_agent_leaves_no_process_behind(start: Start, peer: Peer, sign: Sign) -> None:
    agent = start()
    await peer.hello()
    order = a_shell("sh -c 'setsid sh -c \"echo \\$\\$ > $SIGN; exec sleep 1000\" & wait'; sleep 1000")
    order.env["SIGN"] = sign.path
    peer.assign(order)
    orphan = await sign.number()
    agent.process.kill()
    agent.process.wait(5)
    assert await gone(orphan)
    assert wait_until(lambda: not agent.commands())


async def test_an_agent_started_again_is_the_same_agent_without_its_attempts(
    start: Start, peer: Peer, bundle: str, sign: Sign, go: Path
) -> None:
    agent = start()
    first = await peer.hello()
    peer.acknowledges = False
    quick, slow = a_call(bundle, "work:quick"), a_call(bundle, "work:wait", sign.path, str(go))
    peer.assign(quick, slow)
    await sign.seen()
    await peer.end_of(quick)
    agent.process.kill()
    agent.process.wait(5)
    start()
    second = await peer.hello(2)
    assert second.agent_id == first.agent_id
    assert [held.attempt.token for held in second.held] == [quick.attempt.token]
    await peer.until(lambda: peer.finished_count[quick.attempt.token] == 2)


async def test_a_second_agent_on_the_same_folder_is_refused(agent: RunningAgent, peer: Peer) -> None:
    await peer.hello()
    argv = [sys.executable, "-m", "podium_agent", f"--data-dir={agent.folder}", f"--coordinators={peer.address}"]
    second = await asyncio.create_subprocess_exec(*argv, stderr=subprocess.PIPE)
    _, told = await second.communicate()
    assert second.returncode == 4
    assert b"Another agent uses the data folder" in told


async def test_the_agents_folders_and_sockets_are_its_owners_only(agent: RunningAgent, peer: Peer) -> None:
    await peer.hello()
    for folder in (agent.folder, *(path for path in agent.folder.iterdir() if path.is_dir())):
        assert folder.stat().st_mode & 0o077 == 0, folder
    assert (agent.folder / "run" / "session.sock").stat().st_mode & 0o077 == 0


def test_the_spawner_imports_nothing_large() -> None:
    code = (
        "import sys, podium_agent.spawner;"
        "large = {'grpc', 'google', 'asyncio', 'pydantic', 'structlog', 'psutil', 'podium.v1'} & set(sys.modules);"
        "print(sorted(large), open('/proc/self/status').read().split('VmRSS:')[1].split()[0])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out[0] == "[]"
    assert int(out[1]) < 24_000


async def test_the_end_of_a_run_is_told_once_even_when_the_order_is_repeated(
    agent: RunningAgent, peer: Peer, bundle: str, sign: Sign, go: Path
) -> None:
    await peer.hello()
    order = a_call(bundle, "work:wait", sign.path, str(go))
    peer.assign(order)
    await sign.number()
    peer.assign(order)
    release(go)
    end = await peer.end_of(order)
    assert end.state == run_pb2.ATTEMPT_STATE_SUCCEEDED
    assert peer.finished_count[order.attempt.token] == 1


def switches(agent: RunningAgent) -> dict[int, list[str]]:
    """Return how often each process but the session has been given a processor."""
    pids = [pid for pid in (agent.process.pid, *agent.commands()) if pid != agent.session_pid()]
    return {pid: [line for line in _status(pid) if "ctxt_switches" in line] for pid in pids}


def _status(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/status").read_text().splitlines()


async def test_an_idle_agent_does_nothing_but_heartbeats(agent: RunningAgent, peer: Peer, bundle: str) -> None:
    await peer.hello()
    order = a_call(bundle, "work:quick")
    peer.assign(order)
    await peer.end_of(order)
    seen = len(peer.requests)
    await peer.until(lambda: len(peer.requests) >= seen + 2)
    before, seen = switches(agent), len(peer.requests)
    await peer.until(lambda: len(peer.requests) >= seen + 3)
    assert len(before) >= 3  # the spawner, two workers, and one more if the task came before those were warm
    assert switches(agent) == before


async def test_an_agent_whose_data_folder_is_taken_away_ends(start: Start, peer: Peer) -> None:
    agent = start()
    agent.seen_id = (await peer.hello()).agent_id
    session = agent.session_pid()
    await asyncio.to_thread(shutil.rmtree, agent.folder)
    os.kill(session, signal.SIGKILL)
    await _ended(agent)
    assert agent.process.returncode == 4


async def test_a_data_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    argv = [sys.executable, "-m", "podium_agent", f"--data-dir={blocked}/agent"]
    refused = await asyncio.create_subprocess_exec(*argv, stderr=subprocess.PIPE)
    _, told = await refused.communicate()
    assert refused.returncode == 4
    assert b"data_dir: the folder cannot be used" in told

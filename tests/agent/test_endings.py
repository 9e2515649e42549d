"""Whatever ends an attempt, its whole process tree is gone before its end is told."""

from __future__ import annotations

import os
import signal

import pytest
from google.protobuf.duration_pb2 import Duration

from podium.v1 import run_pb2, session_pb2
from tests.agent.bundles import a_call
from tests.agent.conftest import RunningAgent
from tests.agent.peer import Peer, a_shell
from tests.agent.signs import Sign, gone, is_gone

STUBBORN_TREE = """
    trap '' TERM
    setsid sh -c 'trap "" TERM; echo $$ > a; while :; do sleep 0.2; done' &
    (sh -c 'echo $$ > b; exec sleep 1000' &)
    while ! [ -s a ] || ! [ -s b ]; do sleep 0.01; done
    echo $$ $(cat a) $(cat b) > "$SIGN"
    while :; do sleep 0.2; done
"""

MODULE = """
    import os, signal, subprocess, sys, time, ctypes

    def leave():
        print("before"); os._exit(9)

    def crash():
        print("last words"); ctypes.string_at(0)

    def sleep_on(path):
        open(path, "w").write(str(os.getpid()))
        try:
            time.sleep(1000)
        finally:
            print("cleaned up")

    def deaf(path):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open(path, "w").write(str(os.getpid()))
        while True:
            time.sleep(1000)

    def leave_children(path):
        script = f"(setsid sleep 1000 & echo $! > {path}); echo x; exec sleep 1000"
        child = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE)
        child.stdout.read(1)
        return child.pid

    def pid():
        return os.getpid()

    def fork_and_return():
        os.fork()
        return os.getpid()
"""


def a_second() -> Duration:
    return Duration(seconds=1)


@pytest.mark.parametrize("why", ["cancelled", "timed_out"])
async def test_a_stubborn_tree_is_ended_after_the_grace_and_only_then_reported(
    agent: RunningAgent, peer: Peer, sign: Sign, why: str
) -> None:
    await peer.hello()
    order = a_shell(STUBBORN_TREE)
    order.env["SIGN"] = sign.path
    if why == "timed_out":
        order.run_timeout = a_second()
    peer.assign(order)
    pids = [int(pid) for pid in (await sign.seen()).split()]
    if why == "cancelled":
        peer.say(cancels=[order.attempt])
    end = await peer.end_of(order)
    assert [is_gone(pid) for pid in pids] == [True, True, True]
    expected = run_pb2.ATTEMPT_STATE_CANCELLED if why == "cancelled" else run_pb2.ATTEMPT_STATE_TIMED_OUT
    assert end.state == expected
    assert end.end_time.seconds - end.start_time.seconds >= 1


async def test_a_cancelled_function_may_clean_up_and_its_words_are_kept(
    agent: RunningAgent, peer: Peer, bundle: str, sign: Sign
) -> None:
    await peer.hello()
    order = a_call(bundle, "work:sleep_on", sign.path)
    peer.assign(order)
    pid = await sign.number()
    peer.say(cancels=[order.attempt])
    end = await peer.end_of(order)
    assert end.state == run_pb2.ATTEMPT_STATE_CANCELLED
    assert end.failure.kind == run_pb2.FAILURE_KIND_CANCELLED
    log = await peer.whole_log(order)
    assert (log.text(1), log.text(2)) == ("cleaned up\n", "")
    assert is_gone(pid)


async def test_a_function_deaf_to_term_is_killed(agent: RunningAgent, peer: Peer, bundle: str, sign: Sign) -> None:
    await peer.hello()
    order = a_call(bundle, "work:deaf", sign.path, run_timeout=a_second())
    peer.assign(order)
    pid = await sign.number()
    end = await peer.end_of(order)
    assert end.state == run_pb2.ATTEMPT_STATE_TIMED_OUT
    assert end.failure.kind == run_pb2.FAILURE_KIND_TIMEOUT_RUN
    assert is_gone(pid)


@pytest.mark.parametrize(
    ("function", "code", "words", "printed"),
    [("work:leave", 9, "exit code 9", ""), ("work:crash", -11, "SIGSEGV", "")],
)
async def test_a_worker_that_dies_fails_its_attempt_and_no_other(
    agent: RunningAgent, peer: Peer, bundle: str, function: str, code: int, words: str, printed: str
) -> None:
    await peer.hello()
    order, after = a_call(bundle, function), a_call(bundle, "work:pid")
    peer.assign(order)
    end = await peer.end_of(order)
    assert end.state == run_pb2.ATTEMPT_STATE_FAILED
    assert end.failure.kind == run_pb2.FAILURE_KIND_EXIT_CODE
    assert end.failure.exit_code == code
    assert words in end.failure.message
    assert (await peer.whole_log(order)).text() in {"before\n", "last words\n"}
    peer.assign(after)
    assert await peer.result_of(after) > 0


async def test_a_killed_worker_fails_its_attempt_with_the_signal_named(
    agent: RunningAgent, peer: Peer, bundle: str, sign: Sign
) -> None:
    await peer.hello()
    order = a_call(bundle, "work:sleep_on", sign.path)
    peer.assign(order)
    os.kill(await sign.number(), signal.SIGKILL)
    end = await peer.end_of(order)
    assert end.failure.exit_code == -9
    assert "SIGKILL" in end.failure.message


async def test_processes_a_task_leaves_behind_are_ended_with_it(
    agent: RunningAgent, peer: Peer, bundle: str, sign: Sign
) -> None:
    await peer.hello()
    order = a_call(bundle, "work:leave_children", sign.path)
    peer.assign(order)
    grandchild = await sign.number()
    child = await peer.result_of(order)
    assert is_gone(child)
    assert is_gone(grandchild)


async def test_a_process_a_task_forks_is_no_worker_though_it_comes_back_from_the_task(
    agent: RunningAgent, peer: Peer, bundle: str
) -> None:
    await peer.hello()
    orders = [a_call(bundle, "work:fork_and_return") for _ in range(10)]
    peer.assign(*orders)
    workers = {await peer.result_of(order) for order in orders}
    after = a_call(bundle, "work:pid")
    peer.assign(after)
    assert await peer.result_of(after) in workers
    assert peer.finished_count == dict.fromkeys(peer.finished, 1)


async def test_a_shells_exit_code_and_signal_are_told(agent: RunningAgent, peer: Peer) -> None:
    await peer.hello()
    coded, signalled, absent = a_shell("exit 7"), a_shell("kill -INT $$"), a_shell("")
    absent.action["exec"] = ["/nowhere/at/all"]
    peer.assign(coded, signalled, absent)
    assert (await peer.end_of(coded)).failure.exit_code == 7
    assert (await peer.end_of(signalled)).failure.exit_code == -2
    assert "cannot be started" in (await peer.end_of(absent)).failure.message


async def test_a_stale_attempt_is_ended_and_never_spoken_of(
    agent: RunningAgent, peer: Peer, bundle: str, sign: Sign
) -> None:
    await peer.hello()
    order, after = a_call(bundle, "work:sleep_on", sign.path), a_shell("true")
    peer.assign(order)
    pid = await sign.number()
    peer.say(stale=[order.attempt])
    assert await gone(pid)
    peer.assign(after)
    await peer.end_of(after)
    assert order.attempt.token not in peer.finished


async def test_what_has_not_begun_can_be_taken_back_and_cancelled(agent: RunningAgent, peer: Peer) -> None:
    await peer.hello()
    resources = {"cpu_millis": 2000}
    first, second, third, fourth = (a_shell("sleep 0.3") for _ in range(4))
    for order in (first, second, third, fourth):
        order.resources.cpu_millis = resources["cpu_millis"]
    first.action["script"] = "sleep 0.5"
    peer.assign(first, second, third, fourth)
    await peer.start_of(first)
    peer.say(take_backs=[first.attempt, second.attempt], cancels=[third.attempt])
    await peer.end_of(fourth)
    assert second.attempt.token in peer.returned
    assert first.attempt.token not in peer.returned
    assert peer.finished[first.attempt.token].state == run_pb2.ATTEMPT_STATE_SUCCEEDED
    cancelled = peer.finished[third.attempt.token]
    assert cancelled.state == run_pb2.ATTEMPT_STATE_CANCELLED
    assert not cancelled.HasField("start_time")
    assert second.attempt.token not in peer.finished


async def test_what_can_never_fit_is_returned_at_once(agent: RunningAgent, peer: Peer) -> None:
    await peer.hello()
    order = a_shell("true")
    order.resources.cpu_millis = 1_000_000
    peer.assign(order)
    await peer.until(lambda: order.attempt.token in peer.returned)
    assert order.attempt.token not in peer.finished


async def test_a_long_attempt_is_told_to_have_started_and_a_short_one_only_to_have_ended(
    agent: RunningAgent, peer: Peer
) -> None:
    await peer.hello()
    long, short = a_shell("sleep 0.3"), a_shell("true")
    peer.assign(long, short)
    started = await peer.start_of(long)
    assert (await peer.end_of(long)).start_time == started.start_time
    await peer.end_of(short)
    assert isinstance(started, session_pb2.AttemptStarted)

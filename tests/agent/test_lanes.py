"""Short attempts are dealt to workers ahead of time, and none is stranded, lost or executed twice for it."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration

from podium.v1 import run_pb2, session_pb2, workflow_pb2
from podium_agent import records
from podium_agent.store.journal import read
from tests.agent.bundles import a_call
from tests.agent.conftest import RunningAgent
from tests.agent.peer import Assignment, Peer
from tests.agent.signs import Sign

MODULE = """
    import ctypes, os, signal, time

    def do(what="nothing", given=None, *rest):
        return globals()[what](given, *rest)

    def nothing(given):
        return given

    def hold(path):
        "Lets no other thread of the worker run for a while."
        with open(path, "w") as sign:
            sign.write("holding\\n")
        ctypes.PyDLL(None).sleep(2)
        return "held"

    def wait(path, go):
        with open(path, "w") as sign:
            sign.write(f"{os.getpid()}\\n")
        with open(go) as file:
            file.readline()
        return "waited"

    def die(given):
        os.kill(os.getpid(), signal.SIGKILL)

    def kill(pid):
        os.kill(pid, signal.SIGKILL)

    def note(path):
        with open(path, "a") as file:
            file.write("x")

    def doze(seconds):
        began = time.monotonic()
        time.sleep(seconds)
        return [began, time.monotonic()]

    def length(text):
        return len(text)
"""

Start = Callable[..., RunningAgent]


class Run:
    """Orders of one run, which differ in their arguments only."""

    def __init__(self, peer: Peer, bundle: str, **fields: Any) -> None:
        self._peer, self._bundle, self._fields = peer, bundle, fields
        self._run_id = uuid.uuid4().bytes
        self._count = 0

    def call(self, *args: Any) -> Assignment:
        self._count += 1
        name = session_pb2.AttemptReference(
            run_id=self._run_id, task=self._count, map_index=-1, number=1, token=uuid.uuid4().bytes
        )
        fields = {"resources": workflow_pb2.Resources(cpu_millis=1000), **self._fields}
        return a_call(self._bundle, "work:do", *args, attempt=name, **fields)

    async def known_to_be_short(self) -> None:
        """Have the agent learn that such attempts take no time."""
        for _ in range(3):
            order = self.call()
            self._peer.assign(order)
            await self._peer.result_of(order)


async def test_what_waits_in_a_lane_can_be_taken_back_and_cancelled_though_the_worker_lets_nobody_run(
    start: Start, peer: Peer, bundle: str, sign: Sign
) -> None:
    start(cpu="1")
    await peer.hello()
    run = Run(peer, bundle)
    await run.known_to_be_short()
    holding, behind = run.call("hold", sign.path), [run.call("nothing", index) for index in range(10)]
    peer.assign(holding, *behind)
    assert await sign.seen() == "holding"
    peer.say(take_backs=[order.attempt for order in behind[:9]], cancels=[behind[9].attempt])
    await peer.until(lambda: all(order.attempt.token in peer.returned for order in behind[:9]))
    cancelled = await peer.end_of(behind[9])
    assert holding.attempt.token not in peer.finished
    assert cancelled.state == run_pb2.ATTEMPT_STATE_CANCELLED
    assert not cancelled.HasField("start_time")
    assert await peer.result_of(holding) == "held"
    assert not [order for order in behind[:9] if order.attempt.token in peer.finished]


async def test_a_task_that_takes_long_by_surprise_strands_none_behind_it(
    start: Start, peer: Peer, bundle: str, sign: Sign, tmp_path: Path
) -> None:
    start(cpu="2")
    await peer.hello()
    run = Run(peer, bundle)
    await run.known_to_be_short()
    go = tmp_path / "go"
    os.mkfifo(go)
    long, behind = run.call("wait", sign.path, str(go)), [run.call("nothing", index) for index in range(40)]
    peer.assign(long, *behind)
    await sign.number()
    for index, order in enumerate(behind):
        assert await peer.result_of(order) == index
    assert (await peer.start_of(long)).start_time.seconds
    assert long.attempt.token not in peer.finished
    with go.open("w") as file:
        file.write("go\n")
    assert await peer.result_of(long) == "waited"


async def test_ends_that_a_worker_has_no_time_to_tell_are_read_from_its_journal(
    start: Start, peer: Peer, bundle: str, sign: Sign
) -> None:
    start(cpu="1")
    await peer.hello()
    run = Run(peer, bundle)
    await run.known_to_be_short()
    quick, holding = run.call("nothing", 1), run.call("hold", sign.path)
    peer.assign(quick, holding)
    await sign.seen()
    assert await peer.result_of(quick) == 1
    assert holding.attempt.token not in peer.finished
    assert await peer.result_of(holding) == "held"
    assert peer.finished_count == dict.fromkeys(peer.finished, 1)


async def test_a_worker_that_dies_fails_the_attempt_it_executes_and_none_behind_it(
    start: Start, peer: Peer, bundle: str
) -> None:
    start(cpu="1")
    await peer.hello()
    run = Run(peer, bundle)
    await run.known_to_be_short()
    before, dying = [run.call("nothing", index) for index in range(5)], run.call("die")
    behind = [run.call("nothing", index) for index in range(20)]
    peer.assign(*before, dying, *behind)
    failure = (await peer.end_of(dying)).failure
    assert (failure.kind, failure.exit_code) == (run_pb2.FAILURE_KIND_EXIT_CODE, -9)
    for group in (before, behind):
        for index, order in enumerate(group):
            assert await peer.result_of(order) == index
    assert peer.finished_count == dict.fromkeys(peer.finished, 1)
    assert not peer.returned


async def test_a_session_that_dies_takes_with_it_what_no_worker_has_begun(
    start: Start, peer: Peer, bundle: str, tmp_path: Path
) -> None:
    agent = start(cpu="1")
    await peer.hello()
    run = Run(peer, bundle)
    await run.known_to_be_short()
    noted = tmp_path / "noted"
    killing, behind = run.call("kill", agent.session_pid()), [run.call("note", str(noted)) for _ in range(60)]
    peer.assign(killing, *behind)
    hello = await peer.hello(2)
    held = {item.attempt.token for item in hello.held}
    assert killing.attempt.token in held
    after = run.call("nothing", "after")
    peer.assign(after)
    assert await peer.result_of(after) == "after"
    begun = [order for order in behind if order.attempt.token in held]
    for order in begun:
        await peer.end_of(order)
    assert len(begun) < len(behind)
    assert (noted.stat().st_size if noted.exists() else 0) == len(begun)
    assert not [order for order in behind if order.attempt.token in peer.finished and order not in begun]


async def test_ends_are_forgotten_when_their_message_is_committed_and_told_again_on_each_new_stream(
    start: Start, peer: Peer, bundle: str
) -> None:
    start()
    await peer.hello()
    peer.acknowledges = False
    run = Run(peer, bundle)
    orders = [run.call("nothing", index) for index in range(4)]
    failing = run.call("absent")
    peer.assign(*orders, failing)
    tokens = {order.attempt.token for order in (*orders, failing)}
    await peer.until(lambda: tokens <= peer.finished.keys())
    peer.drop_session()
    hello = await peer.hello(2)
    assert {item.attempt.token for item in hello.held} == tokens
    await peer.until(lambda: all(peer.finished_count[token] == 2 for token in tokens))
    last = peer.requests[-1].sequence
    peer.say(committed=1)
    later = run.call("nothing", 0)
    peer.assign(later)
    await peer.end_of(later)
    peer.say(committed=last)
    seen = len(peer.requests)
    await peer.until(lambda: len(peer.requests) > seen + 1)
    peer.drop_session()
    hello = await peer.hello(3)
    assert {item.attempt.token for item in hello.held} == {later.attempt.token}


async def test_orders_of_any_size_reach_the_worker(start: Start, peer: Peer, bundle: str) -> None:
    start(cpu="1")
    await peer.hello()
    run = Run(peer, bundle)
    await run.known_to_be_short()
    sizes = [3, 700_000, 5, 900_000, 900_001, 7]
    orders = [run.call("length", "x" * size) for size in sizes]
    for order in orders:
        peer.assign(order)
    assert [await peer.result_of(order) for order in orders] == sizes


async def test_a_start_is_written_before_each_end_and_no_two_at_a_time(start: Start, peer: Peer, bundle: str) -> None:
    agent = start(cpu="2")
    await peer.hello()
    peer.acknowledges = False
    run = Run(peer, bundle)
    await run.known_to_be_short()
    orders = [run.call("nothing", index) for index in range(200)]
    peer.assign(*orders)
    for order in orders:
        await peer.end_of(order)
    found = 0
    for path in (agent.folder / "journal").glob("w*.journal"):
        kept = [record for record, _ in read(path) if not isinstance(record, records.Order)]
        found += len(kept)
        assert [type(record) for record in kept[::2]] == [records.Start] * (len(kept) // 2)
        assert [record.token for record in kept[::2]] == [record.token for record in kept[1::2]]
    assert found == 2 * 203


async def test_no_more_execute_at_once_than_the_agent_has_room_for(start: Start, peer: Peer, bundle: str) -> None:
    start(cpu="2")
    await peer.hello()
    run = Run(peer, bundle)
    await run.known_to_be_short()
    orders = [run.call("doze", 0.002) for _ in range(150)]
    peer.assign(*orders)
    spans = [await peer.result_of(order) for order in orders]
    edges = sorted((at, step) for began, ended in spans for at, step in ((began, 1), (ended, -1)))
    executing = most = 0
    for _, change in edges:
        executing += change
        most = max(most, executing)
    assert most == 2


async def test_a_timeout_counts_from_the_attempts_own_start(start: Start, peer: Peer, bundle: str) -> None:
    start(cpu="1")
    await peer.hello()
    run = Run(peer, bundle, run_timeout=Duration(seconds=1))
    await run.known_to_be_short()
    orders = [run.call("doze", 0.7), run.call("doze", 0.7), run.call("doze", 30)]
    peer.assign(*orders)
    first, second = await peer.result_of(orders[0]), await peer.result_of(orders[1])
    assert [before[1] <= after[0] for before, after in pairwise([first, second])] == [True]
    end = await peer.end_of(orders[2])
    assert end.state == run_pb2.ATTEMPT_STATE_TIMED_OUT
    assert 1.0 <= (end.end_time.ToMicroseconds() - end.start_time.ToMicroseconds()) / 1e6 < 4


async def test_a_stopped_worker_is_left_and_what_it_had_goes_on_elsewhere(
    start: Start, peer: Peer, bundle: str
) -> None:
    agent = start(cpu="2")
    await peer.hello()
    run = Run(peer, bundle)
    await run.known_to_be_short()
    stopped = agent.worker_pids()[0]
    os.kill(stopped, signal.SIGSTOP)
    orders = [run.call("nothing", index) for index in range(100)]
    peer.assign(*orders)
    for index, order in enumerate(orders):
        assert await peer.result_of(order) == index
    os.kill(stopped, signal.SIGCONT)
    assert peer.finished_count == dict.fromkeys(peer.finished, 1)


async def test_who_is_cancelled_takes_no_other_along_whatever_its_worker_is_just_doing(
    start: Start, peer: Peer, bundle: str
) -> None:
    start(cpu="2")
    await peer.hello()
    run = Run(peer, bundle)
    await run.known_to_be_short()
    orders = [run.call("doze", 0.001) for _ in range(240)]
    peer.assign(*orders)
    unwanted = orders[::8]
    for order in unwanted:
        peer.say(cancels=[order.attempt])
    for order in orders:
        end = await peer.end_of(order)
        if order not in unwanted:
            assert end.state == run_pb2.ATTEMPT_STATE_SUCCEEDED, end
        elif end.state != run_pb2.ATTEMPT_STATE_SUCCEEDED:
            assert end.state == run_pb2.ATTEMPT_STATE_CANCELLED, end
    assert peer.finished_count == dict.fromkeys(peer.finished, 1)
    assert not peer.returned

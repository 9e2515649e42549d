from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from podium.telemetry import attempt_span
from podium.v1 import run_pb2
from tests.agent.bundles import a_bundle, a_call
from tests.agent.conftest import RunningAgent
from tests.agent.peer import Peer, inputs, output

MODULE = """
    import os, sys, functools
    from pathlib import Path

    def add(a, b=0, **rest):
        print("adding", a, b)
        return {"sum": a + b, **rest}

    def echo(value):
        return value

    def boom():
        raise LookupError("no such thing")

    def leave(code):
        sys.exit(code)

    def numbers():
        yield 1

    async def later():
        return 1

    def a_set():
        return {1, 2}

    def where():
        return [os.getcwd(), os.environ["PODIUM_RUN_ID"], os.environ["PODIUM_TASK"], os.environ["PODIUM_ATTEMPT"],
                os.environ["TRACEPARENT"], sorted(os.listdir("."))]

    def litter():
        Path("left").mkdir()
        Path("left/over").write_text("x")

    def pid():
        return os.getpid()

    class Task:
        def __init__(self, function):
            self.__wrapped__ = function
        def __call__(self):
            raise AssertionError("the task object was called")

    @Task
    def wrapped():
        return "unwrapped"

    class Group:
        @staticmethod
        def member():
            return "member"
"""


async def test_a_function_gets_its_arguments_and_hands_on_its_result(
    agent: RunningAgent, peer: Peer, bundle: str
) -> None:
    await peer.hello()
    bindings = {
        "b": {"parameter": "b"},
        "of": output("up", "rows", "1"),
        "gone": output("skipped"),
    }
    order = a_call(
        bundle,
        "work:add",
        2,
        bindings=bindings,
        params=b'{"b":40}',
        inputs=[*inputs({"up": {"rows": [1, "two"]}}), *inputs({})],
    )
    peer.assign(order)
    assert await peer.result_of(order) == {"sum": 42, "of": "two", "gone": None}
    assert (await peer.whole_log(order)).text() == "adding 2 40\n"
    end = peer.finished[order.attempt.token]
    assert end.peak_memory_bytes > 1 << 20
    assert end.start_time.ToNanoseconds() <= end.end_time.ToNanoseconds()


@pytest.mark.parametrize(
    ("function", "args", "kind", "words"),
    [
        ("work:boom", (), "USER_ERROR", "LookupError: no such thing"),
        ("work:leave", (3,), "USER_ERROR", "sys.exit(3)"),
        ("work:numbers", (), "USER_ERROR", "generator"),
        ("work:later", (), "USER_ERROR", "coroutine"),
        ("work:a_set", (), "USER_ERROR", "set"),
        ("work:absent", (), "USER_ERROR", "has no 'absent'"),
        ("nowhere:absent", (), "USER_ERROR", "no module 'nowhere'"),
        ("work:Task.__dict__", (), "USER_ERROR", "not a function"),
    ],
)
async def test_what_goes_wrong_in_a_function_is_told(
    agent: RunningAgent, peer: Peer, bundle: str, function: str, args: tuple[object, ...], kind: str, words: str
) -> None:
    await peer.hello()
    order = a_call(bundle, function, *args)
    peer.assign(order)
    end = await peer.end_of(order)
    assert end.state == run_pb2.ATTEMPT_STATE_FAILED
    assert run_pb2.FailureKind.Name(end.failure.kind) == f"FAILURE_KIND_{kind}"
    assert words in end.failure.message


async def test_a_traceback_shows_the_tasks_code_and_none_of_the_agents(
    agent: RunningAgent, peer: Peer, bundle: str
) -> None:
    await peer.hello()
    order = a_call(bundle, "work:boom")
    peer.assign(order)
    failure = (await peer.end_of(order)).failure
    assert failure.exception_type == "builtins.LookupError"
    assert 'raise LookupError("no such thing")' in failure.traceback
    assert "podium_agent" not in failure.traceback


async def test_an_attempt_finds_itself_in_an_empty_folder_with_its_name_in_the_environment(
    agent: RunningAgent, peer: Peer, bundle: str
) -> None:
    await peer.hello()
    litter, where = a_call(bundle, "work:litter"), a_call(bundle, "work:where", trace_id=bytes(range(16)))
    peer.assign(litter)
    await peer.end_of(litter)
    peer.assign(where)
    folder, run_id, task, number, traceparent, content = await peer.result_of(where)
    assert folder.startswith(str(agent.folder / "scratch"))
    assert run_id.replace("-", "") == where.attempt.run_id.hex()
    span = attempt_span(where.attempt.run_id, 0, -1, 1)
    assert (task, number, traceparent, content) == ("task", "1", f"00-{bytes(range(16)).hex()}-{span.hex()}-01", [])


async def test_the_sdks_wrapper_is_taken_off_and_members_are_found(
    agent: RunningAgent, peer: Peer, bundle: str
) -> None:
    await peer.hello()
    wrapped, member = a_call(bundle, "work:wrapped"), a_call(bundle, "work:Group.member")
    peer.assign(wrapped, member)
    assert await peer.result_of(wrapped) == "unwrapped"
    assert await peer.result_of(member) == "member"


async def test_a_worker_keeps_to_its_bundle(agent: RunningAgent, peer: Peer, bundle: str) -> None:
    await peer.hello()
    other = a_bundle(peer, work="import os\ndef pid():\n    return -os.getpid()\n")
    orders = [a_call(bundle, "work:pid"), a_call(other, "work:pid")] * 1
    pids = []
    for order in orders:
        peer.assign(order)
        pids.append(await peer.result_of(order))
    assert pids[0] > 0 > pids[1]
    assert pids[0] != -pids[1]


async def test_a_bundle_is_fetched_once_for_many_tasks_at_the_same_time(
    agent: RunningAgent, peer: Peer, bundle: str
) -> None:
    await peer.hello()
    orders = [a_call(bundle, "work:echo", index) for index in range(20)]
    peer.assign(*orders)
    for index, order in enumerate(orders):
        assert await peer.result_of(order) == index
    assert peer.fetched.count(bundle) == 1


async def test_a_bundle_that_cannot_be_fetched_is_a_fault_of_the_infrastructure(
    agent: RunningAgent, peer: Peer
) -> None:
    await peer.hello()
    order = a_call("0" * 64, "work:echo", 1)
    peer.assign(order)
    end = await peer.end_of(order)
    assert end.failure.kind == run_pb2.FAILURE_KIND_INTERNAL
    assert not end.HasField("start_time")


async def test_a_missing_part_of_an_input_is_told(agent: RunningAgent, peer: Peer, bundle: str) -> None:
    await peer.hello()
    order = a_call(bundle, "work:add", bindings={"a": output("up", "x")}, inputs=inputs({"up": {"y": 1}}))
    peer.assign(order)
    failure = (await peer.end_of(order)).failure
    assert failure.kind == run_pb2.FAILURE_KIND_REJECTED_INPUT
    assert "has no 'x'" in failure.message


async def test_integers_of_any_size_and_text_come_back_exact(agent: RunningAgent, peer: Peer, bundle: str) -> None:
    await peer.hello()
    value = {"big": 2**80, "text": "naïve ☃ \u2028", "nested": [[1.5, None, True]]}
    order = a_call(bundle, "work:echo", bindings={"value": output("up")}, inputs=inputs({"up": value}))
    peer.assign(order)
    end = await peer.end_of(order)
    assert json.loads(end.output) == value


async def test_a_worker_is_replaced_after_so_many_attempts(
    start: Callable[..., RunningAgent], peer: Peer, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODIUM_AGENT__RECYCLE_AFTER", "3")
    start(cpu="1")
    await peer.hello()
    orders = [a_call(bundle, "work:pid") for _ in range(12)]
    peer.assign(*orders)
    pids = [await peer.result_of(order) for order in orders]
    assert max(pids.count(pid) for pid in pids) == 3

"""Orders and ends in columns, as they are on the wire."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from podium.model.spec import Literal, Output, PythonAction, Resources, ShellAction, TaskSpec, WorkflowSpec
from podium.v1 import session_pb2
from podium.wire import workflow_bytes
from podium_coordinator.app.catalog import Compiled, compile_version
from podium_coordinator.app.events import AgentSaid, Order
from podium_coordinator.app.live import LiveRun, admit
from podium_coordinator.domain.records import RunRecord, WorkflowRecord
from podium_coordinator.domain.run import LiveAttempt, new_run
from podium_coordinator.domain.states import AttemptState, RunState
from podium_coordinator.rpc import dispatch
from podium_coordinator.rpc.session import Session

NOW = datetime(2026, 3, 1, tzinfo=UTC)
AGENT = UUID(int=7)


def a_task(key: str, *args: object, function: str = "m:f", **fields: object) -> TaskSpec:
    return TaskSpec(key, PythonAction(function, tuple(map(Literal, args))), **fields)  # type: ignore[arg-type]


def compiled(*tasks: TaskSpec) -> Compiled:
    spec = workflow_bytes(WorkflowSpec("wf", tasks))
    return compile_version(WorkflowRecord("wf", 3, b"d", bytes(32), len(tasks), NOW, spec))


def a_live_run(*tasks: TaskSpec) -> LiveRun:
    version = compiled(*tasks)
    run_id = uuid4()
    record = RunRecord(run_id, 0, "wf", 3, len(tasks), b'{"n":1}', RunState.RUNNING, None, b"t" * 16, NOW)
    return admit(record, new_run(run_id, version.graph), version)


def an_order(live: LiveRun, index: int = 0, number: int = 1, traced: bool = False, **inputs: bytes) -> Order:
    attempt = LiveAttempt(number, os.urandom(16), AGENT, NOW, traced=traced)
    return Order(live, index, attempt, tuple(inputs.items()))


def test_orders_that_agree_share_a_message_and_say_each_thing_once() -> None:
    live = a_live_run(a_task("a", 1), a_task("b", 1), a_task("c", 1))
    orders = [an_order(live, index) for index in range(3)]
    (told,) = dispatch.assignments(orders)
    assert (list(told.tasks), list(told.task_keys)) == ([0, 1, 2], ["a", "b", "c"])
    assert told.tokens == b"".join(order.attempt.token for order in orders)
    assert json.loads(told.order.action) == {"function": "m:f"}
    assert [json.loads(each) for each in told.arguments] == [{"args": [{"literal": 1}], "kwargs": {}}]
    assert (told.run_id, told.order.params, told.order.workflow, told.order.version) == (
        live.run_id.bytes,
        b'{"n":1}',
        "wf",
        3,
    )
    assert (list(told.map_indexes), list(told.numbers), list(told.inputs), told.order.trace_id) == ([], [], [], b"")
    assert not told.order.HasField("run_timeout")


def test_what_differs_by_attempt_is_told_for_each() -> None:
    live = a_live_run(a_task("a", 1), a_task("b", 2))
    (told,) = dispatch.assignments([an_order(live, 0, up=b"5"), an_order(live, 1, number=2)])
    assert [json.loads(each)["args"] for each in told.arguments] == [[{"literal": 1}], [{"literal": 2}]]
    assert list(told.numbers) == [1, 2]
    assert [[(i.task, i.output) for i in each.inputs] for each in told.inputs] == [[("up", b"5")], []]


def test_orders_that_differ_in_anything_shared_are_apart() -> None:
    live = a_live_run(
        a_task("a"),
        a_task("b", function="m:g"),
        a_task("c", resources=Resources(2000)),
        a_task("d", run_timeout=7.5),
        TaskSpec("e", ShellAction(script="true")),
    )
    other = a_live_run(a_task("a"))
    orders = [an_order(live, index) for index in range(5)] + [an_order(live, 0, traced=True), an_order(other)]
    told = dispatch.assignments(orders)
    assert sorted(len(each.tasks) for each in told) == [1] * 7
    assert {each.order.run_timeout.ToTimedelta() for each in told} == {timedelta(0), timedelta(seconds=7.5)}
    assert {each.order.trace_id for each in told} == {b"", b"t" * 16}
    (shell,) = [each for each in told if "script" in json.loads(each.order.action)]
    assert list(shell.arguments) == []


def test_higher_priorities_come_first_and_then_small_groups() -> None:
    large, small = a_live_run(*(a_task(f"t{i}") for i in range(5))), a_live_run(a_task("s"))
    urgent = a_live_run(a_task("u1", priority=2), a_task("u2", priority=2))
    orders = [*(an_order(large, i) for i in range(5)), an_order(small), an_order(urgent, 0), an_order(urgent, 1)]
    assert [each.task_keys[0] for each in dispatch.assignments(orders)] == ["u1", "s", "t0"]


def test_an_output_stays_a_reference_among_the_arguments() -> None:
    up = a_task("up")
    live = a_live_run(up, TaskSpec("down", PythonAction("m:f", (Output("up", ("rows", "n")),)), ("up",)))
    (told,) = dispatch.assignments([an_order(live, 1, up=b"{}")])
    assert json.loads(told.arguments[0])["args"] == [{"output": {"task": "up", "path": ["rows", "n"]}}]


def successes(count: int = 2, **changes: object) -> session_pb2.Successes:
    parts = {
        "run_id": uuid4().bytes,
        "tasks": list(range(count)),
        "tokens": bytes(range(16)) * count,
        "start_micros": [1_700_000_000_123_456] * count,
        "duration_micros": [2_500_000] * count,
        "outputs": [b"null"] * count,
    }
    return session_pb2.Successes(**parts | changes)  # type: ignore[arg-type]


def said(*groups: session_pb2.Successes) -> AgentSaid:
    message = session_pb2.ConnectRequest(sequence=9, succeeded=groups)
    return dispatch.report(Session(3.0), AGENT, message)


def test_successes_in_columns_are_ends_like_any_other() -> None:
    group = successes(logs=[b"x" * 5, b""])
    (name, finish, seconds), (other, silent, _) = said(group).finished
    assert (name.run_id.bytes, name.task, name.map_index, name.number, name.token) == (
        group.run_id,
        0,
        -1,
        1,
        bytes(range(16)),
    )
    assert (finish.state, finish.output, finish.log, finish.log_bytes) == (AttemptState.SUCCEEDED, b"null", b"x" * 5, 5)
    assert finish.started_at == datetime(2023, 11, 14, 22, 13, 20, 123_456, tzinfo=UTC)
    assert (seconds, other.task, silent.log, silent.log_bytes) == (2.5, 1, None, 0)
    assert said(group).sequence == 9


def test_columns_that_are_told_are_taken_by_attempt() -> None:
    (first, finish, _), (second, _, _) = said(
        successes(map_indexes=[-1, 4], numbers=[3, 1], log_bytes=[70, 0])
    ).finished
    assert (first.map_index, first.number, second.map_index, second.number) == (-1, 3, 4, 1)
    assert (finish.log, finish.log_bytes) == (None, 70)


@pytest.mark.parametrize(
    "broken",
    [
        lambda: successes(run_id=b"short"),
        lambda: successes(tokens=bytes(31)),
        lambda: successes(outputs=[b"null"]),
        lambda: successes(start_micros=[]),
        lambda: successes(duration_micros=[1, 2, 3]),
        lambda: successes(numbers=[1]),
        lambda: successes(map_indexes=[1]),
        lambda: successes(logs=[b""]),
        lambda: successes(log_bytes=[1, 2, 3]),
        lambda: successes(outputs=[b"", bytes(dispatch.LARGEST_OUTPUT + 1)]),
        lambda: successes(logs=[b"", bytes(dispatch.LARGEST_INLINE_LOG + 1)]),
    ],
)
def test_columns_that_do_not_fit_each_other_or_the_limits_are_refused(
    broken: Callable[[], session_pb2.Successes],
) -> None:
    with pytest.raises(dispatch.InvalidReportError):
        said(broken())


async def test_an_agent_holds_what_was_assigned_in_the_messages_it_has_heard() -> None:
    live, session = a_live_run(a_task("a"), a_task("b"), a_task("c")), Session(3.0)
    orders = [an_order(live, index) for index in range(3)]
    messages = session.messages()
    session.assign(orders[:2])
    first = await anext(messages)
    session.beat()
    second = await anext(messages)
    session.assign(orders[2:])
    third = await anext(messages)
    assert [m.sequence for m in (first, second, third)] == [1, 2, 3]
    assert session.delivered(0) == []
    assert session.delivered(2) == [order.attempt for order in orders[:2]]
    assert session.delivered(2) == []
    assert session.delivered(3) == [orders[2].attempt]


async def test_a_message_has_a_bounded_size_and_the_rest_follows_in_order() -> None:
    live, session = a_live_run(*(a_task(f"t{i}") for i in range(5))), Session(3.0)
    session.assign([an_order(live, index, up=bytes(1024 * 1024)) for index in range(5)])
    session.committed(4)
    messages = session.messages()
    told = [await anext(messages) for _ in range(3)]
    assert [list(each.assignments[0].tasks) for each in told] == [[0, 1], [2, 3], [4]]
    assert [each.committed for each in told] == [4, 4, 4]

"""Task runs, attempts and outputs, as read back."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from podium_coordinator.domain.records import (
    AttemptEnded,
    AttemptRecord,
    Failure,
    RunCancelling,
    RunEnded,
    TaskRunRecord,
)
from podium_coordinator.domain.states import AttemptState, FailureKind, RunState, TaskRunState
from podium_coordinator.store import task_runs
from podium_coordinator.store.batch import Batch
from podium_coordinator.store.task_runs import LAST_INDEX
from tests.store.builders import AGENT, an_agent, at, bear, born, changed, ended, runs_now, skipped, store_run

if TYPE_CHECKING:
    from typing import Any
    from uuid import UUID

    from podium_coordinator.store.journal import Journal
    from podium_coordinator.store.pools import Connection

FAILURE = Failure(FailureKind.USER_ERROR, "no", exception_type="ValueError")


async def states(conn: Connection, run_id: UUID) -> list[tuple[int, TaskRunState]]:
    return [(each.task, each.state) for each in await task_runs.list_task_runs(conn, run_id, -1, 100)]


async def test_a_run_without_rows_has_no_known_task_runs(conn: Connection) -> None:
    run = await store_run(conn)
    assert await task_runs.list_task_runs(conn, run.run_id, -1, 10) == []
    assert await task_runs.count_task_runs(conn, run.run_id) == {}


async def test_a_task_run_tells_what_its_newest_attempt_tells(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    await journal.commit(0, Batch(agents_changed=[changed(an_agent("web1", agent_id=AGENT))]))
    first = await bear(journal, run.run_id)
    await journal.commit(
        0, Batch(attempts_ended=[ended(first, AttemptState.FAILED, closes=False, retry_at=at(9), failure=FAILURE)])
    )
    assert await task_runs.list_task_runs(conn, run.run_id, -1, 10) == [
        TaskRunRecord(
            task=0,
            map_index=-1,
            state=TaskRunState.RETRYING,
            attempt=1,
            failure=FAILURE,
            agent="web1",
            assigned_at=at(1),
            retry_at=at(9),
        )
    ]
    second = await bear(journal, run.run_id, number=2, at=at(10))
    await journal.commit(0, Batch(attempts_running=[runs_now(second, at=at(11))]))
    assert await task_runs.list_task_runs(conn, run.run_id, -1, 10) == [
        TaskRunRecord(
            task=0,
            map_index=-1,
            state=TaskRunState.RUNNING,
            attempt=2,
            agent="web1",
            assigned_at=at(10),
            started_at=at(11),
        )
    ]
    await journal.commit(0, Batch(attempts_ended=[ended(second, at=at(12))]))
    (done,) = await task_runs.list_task_runs(conn, run.run_id, -1, 10)
    assert (done.state, done.attempt, done.finished_at, done.failure) == (TaskRunState.SUCCEEDED, 2, at(12), None)


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ({"state": AttemptState.SUCCEEDED}, TaskRunState.SUCCEEDED),
        ({"state": AttemptState.FAILED}, TaskRunState.FAILED),
        ({"state": AttemptState.TIMED_OUT}, TaskRunState.FAILED),
        ({"state": AttemptState.SKIPPED}, TaskRunState.SKIPPED),
        ({"state": AttemptState.CANCELLED}, TaskRunState.CANCELLED),
        ({"state": AttemptState.UNKNOWN}, TaskRunState.UNKNOWN),
        ({"state": AttemptState.LOST}, TaskRunState.FAILED),
        ({"state": AttemptState.FAILED, "closes": False, "retry_at": at(9)}, TaskRunState.RETRYING),
        ({"state": AttemptState.LOST, "closes": False}, TaskRunState.SCHEDULED),
        ({"state": AttemptState.TAKEN_BACK, "closes": False}, TaskRunState.SCHEDULED),
    ],
)
async def test_the_end_of_an_attempt_decides_its_task_run_if_it_closes_it(
    conn: Connection, journal: Journal, end: dict[str, Any], state: TaskRunState
) -> None:
    run = await store_run(conn)
    attempt = await bear(journal, run.run_id)
    await journal.commit(0, Batch(attempts_ended=[ended(attempt, **end)]))
    assert await states(conn, run.run_id) == [(0, state)]
    assert await task_runs.count_task_runs(conn, run.run_id) == {state: 1}


@pytest.mark.parametrize("stop", ["cancelling", "ended"])
async def test_what_waits_for_its_next_try_in_a_run_that_stops_is_cancelled(
    conn: Connection, journal: Journal, stop: str
) -> None:
    run = await store_run(conn)
    waits, live, done = [await bear(journal, run.run_id, task) for task in range(3)]
    await journal.commit(
        0,
        Batch(attempts_ended=[ended(waits, AttemptState.FAILED, closes=False, retry_at=at(9)), ended(done)]),
    )
    stops = {
        "cancelling": Batch(runs_cancelling=[RunCancelling(run.run_id, "", RunState.CANCELLED)]),
        "ended": Batch(runs_ended=[RunEnded(run.run_id, RunState.CANCELLED, "", at(20), {})]),
    }
    await journal.commit(0, stops[stop])
    assert await states(conn, run.run_id) == [
        (waits.task, TaskRunState.CANCELLED),
        (live.task, TaskRunState.ASSIGNED),
        (done.task, TaskRunState.SUCCEEDED),
    ]
    stopped = (await task_runs.list_task_runs(conn, run.run_id, -1, 10))[0]
    assert (stopped.retry_at, stopped.finished_at) == (None, at(20) if stop == "ended" else None)
    assert await task_runs.count_task_runs(conn, run.run_id) == {
        TaskRunState.CANCELLED: 1,
        TaskRunState.ASSIGNED: 1,
        TaskRunState.SUCCEEDED: 1,
    }


async def test_an_end_without_a_deciding_attempt_has_the_last_word(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    attempt = await bear(journal, run.run_id)
    await journal.commit(
        0,
        Batch(
            attempts_ended=[ended(attempt, AttemptState.FAILED, closes=False, retry_at=at(9))],
            task_runs_ended=[
                skipped(run.run_id, 0, state=TaskRunState.FAILED, failure=FAILURE),
                skipped(run.run_id, 2, state=TaskRunState.UPSTREAM_FAILED),
            ],
        ),
    )
    decided, never = await task_runs.list_task_runs(conn, run.run_id, -1, 10)
    assert (decided.state, decided.attempt, decided.failure, decided.finished_at, decided.retry_at) == (
        TaskRunState.FAILED,
        1,
        FAILURE,
        at(4),
        None,
    )
    assert (never.task, never.state, never.attempt, never.agent) == (2, TaskRunState.UPSTREAM_FAILED, 0, "")


async def test_task_runs_are_listed_page_by_page_whichever_table_holds_them(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    await journal.commit(
        0,
        Batch(
            attempts_born=[born(run.run_id, task) for task in range(0, 30, 2)],
            task_runs_ended=[skipped(run.run_id, task) for task in range(1, 30, 2)],
        ),
    )
    seen: list[int] = []
    while page := await task_runs.list_task_runs(conn, run.run_id, seen[-1] if seen else -1, 7):
        seen += [each.task for each in page]
        assert len(page) <= 7
    assert seen == list(range(30))


async def test_the_elements_of_a_mapped_task_are_listed_page_by_page(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    await journal.commit(0, Batch(attempts_born=[born(run.run_id, 1, map_index=index) for index in range(5)]))
    page = await task_runs.list_task_runs(conn, run.run_id, 1, 10, after_map_index=2)
    assert [each.map_index for each in page] == [3, 4]
    assert await task_runs.list_task_runs(conn, run.run_id, 1, 10) == []
    assert LAST_INDEX > 4


async def test_task_runs_are_listed_by_state(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    await journal.commit(0, Batch(attempts_born=[born(run.run_id, task) for task in range(20)]))
    await journal.commit(0, Batch(task_runs_ended=[skipped(run.run_id, 25)]))
    found = await task_runs.list_task_runs(conn, run.run_id, -1, 1, states=[TaskRunState.SKIPPED])
    assert [each.task for each in found] == [25]
    found = await task_runs.list_task_runs(conn, run.run_id, 4, 3, states={TaskRunState.ASSIGNED, TaskRunState.RUNNING})
    assert [each.task for each in found] == [5, 6, 7]


async def test_attempts_are_read_back_in_order(conn: Connection, journal: Journal) -> None:
    run, other = await store_run(conn), await store_run(conn)
    tries = [born(run.run_id, task, number=number) for task in (2, 0, 1) for number in (2, 1)]
    await journal.commit(0, Batch(attempts_born=[*tries, born(other.run_id)]))
    stored = await task_runs.load_attempts(conn, run.run_id)
    assert [(each.task, each.number) for each in stored] == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]
    assert stored[0] == AttemptRecord(
        task=0,
        map_index=-1,
        number=1,
        token=tries[3].token,
        agent_id=AGENT,
        agent="",
        state=AttemptState.ASSIGNED,
        assigned_at=at(1),
    )


async def test_attempts_are_listed_page_by_page_and_by_task(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    tries = [born(run.run_id, task, number=number) for task in range(3) for number in (1, 2)]
    await journal.commit(0, Batch(attempts_born=tries))
    first = await task_runs.list_attempts(conn, run.run_id, None, 3)
    last = first[-1]
    rest = await task_runs.list_attempts(conn, run.run_id, (last.task, last.map_index, last.number), 10)
    assert [(each.task, each.number) for each in first + rest] == [(each.task, each.number) for each in tries]
    of_one = await task_runs.list_attempts(conn, run.run_id, (1, -1, 1), 10, task=1)
    assert [(each.task, each.number) for each in of_one] == [(1, 2)]


async def test_outputs_are_those_of_attempts_that_closed_their_task_run_well(
    conn: Connection, journal: Journal
) -> None:
    run = await store_run(conn)
    tries = [await bear(journal, run.run_id, task) for task in range(4)]
    ends: list[AttemptEnded] = [
        ended(tries[0], output=b'{"a": 1}'),
        ended(tries[1]),
        ended(tries[2], AttemptState.FAILED, output=b"1"),
        ended(tries[3], output=b"x" * 300_000),
    ]
    await journal.commit(0, Batch(attempts_ended=ends))
    outputs = await task_runs.load_outputs(conn, run.run_id, None)
    assert outputs == {(0, -1): b'{"a": 1}', (1, -1): b"null", (3, -1): b"x" * 300_000}
    assert await task_runs.load_outputs(conn, run.run_id, [0, 2]) == {(0, -1): b'{"a": 1}'}
    assert await task_runs.load_outputs(conn, run.run_id, []) == {}
    assert await task_runs.outputs_size(conn, run.run_id, None) == 300_008
    assert await task_runs.outputs_size(conn, run.run_id, [1]) == 0


async def test_an_unknown_run_has_nothing(conn: Connection) -> None:
    nowhere = uuid4()
    assert await task_runs.load_attempts(conn, nowhere) == []
    assert await task_runs.load_ended_task_runs(conn, nowhere) == []
    assert await task_runs.load_outputs(conn, nowhere, None) == {}

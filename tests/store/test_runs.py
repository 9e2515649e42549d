"""Runs as rows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from podium.errors import RequestIdReusedError, RunNotFoundError, WorkflowNotFoundError
from podium_coordinator.domain.records import RunCancelling, RunEnded, RunStarted
from podium_coordinator.domain.states import RunState
from podium_coordinator.store import runs
from podium_coordinator.store.batch import Batch
from podium_coordinator.store.runs import RunFilter
from tests.store.builders import NOON, a_run, at, new_run_id, store_run, store_workflow

if TYPE_CHECKING:
    from podium_coordinator.store.journal import Journal
    from podium_coordinator.store.pools import Connection

EVERYTHING = RunFilter()


async def test_a_run_is_stored_as_it_was_given(conn: Connection) -> None:
    await store_workflow(conn)
    run = a_run(params=b'{"n": 1}', request_id="r1", trace_id=b"t" * 16)
    assert await runs.insert_run(conn, run, b"f") == (run, True)
    assert await runs.get_run(conn, run.run_id) == run


async def test_a_repeated_request_gets_the_run_it_made(conn: Connection) -> None:
    await store_workflow(conn)
    first, again = a_run(request_id="r1"), a_run(request_id="r1")
    await runs.insert_run(conn, first, b"f")
    assert await runs.insert_run(conn, again, b"f") == (first, False)


async def test_a_request_id_that_comes_with_another_request_is_refused(conn: Connection) -> None:
    await store_workflow(conn)
    await runs.insert_run(conn, a_run(request_id="r1"), b"f")
    with pytest.raises(RequestIdReusedError) as caught:
        await runs.insert_run(conn, a_run(request_id="r1"), b"other")
    assert caught.value.metadata == {"request_id": "r1"}


async def test_requests_without_an_id_are_never_the_same(conn: Connection) -> None:
    await store_workflow(conn)
    made = [await runs.insert_run(conn, a_run(), b"f") for _ in range(2)]
    assert [created for _, created in made] == [True, True]


async def test_of_two_equal_requests_at_once_one_makes_the_run(conn: Connection, other: Connection) -> None:
    await store_workflow(conn)
    made = await asyncio.gather(
        runs.insert_run(conn, a_run(request_id="r"), b"f"), runs.insert_run(other, a_run(request_id="r"), b"f")
    )
    assert sorted(created for _, created in made) == [False, True]
    assert made[0][0] == made[1][0]


async def test_a_run_of_a_version_that_is_not_there_is_refused(conn: Connection) -> None:
    with pytest.raises(WorkflowNotFoundError, match="no version 1 of workflow flights"):
        await runs.insert_run(conn, a_run(), b"f")


async def test_a_run_that_is_not_there_is_not_found(conn: Connection) -> None:
    with pytest.raises(RunNotFoundError):
        await runs.get_run(conn, uuid4())


async def test_runs_are_listed_newest_first_page_by_page(conn: Connection) -> None:
    stored = [await store_run(conn, run_id=new_run_id(seconds)) for seconds in range(5)]
    newest_first = [run.run_id for run in reversed(stored)]
    first = await runs.list_runs(conn, EVERYTHING, None, 3)
    rest = await runs.list_runs(conn, EVERYTHING, first[-1].run_id, 3)
    assert [run.run_id for run in first + rest] == newest_first


async def test_runs_are_listed_by_workflow_state_and_time(conn: Connection, journal: Journal) -> None:
    queued = await store_run(conn, run_id=new_run_id(1), created_at=at(1))
    running = await store_run(conn, run_id=new_run_id(2), created_at=at(2))
    other = await store_run(conn, run_id=new_run_id(3), created_at=at(3), workflow="other")
    await journal.commit(0, Batch(runs_started=[RunStarted(running.run_id, NOON)]))
    expected = {
        RunFilter(workflow="other"): [other],
        RunFilter(states=frozenset({RunState.RUNNING})): [running],
        RunFilter(states=frozenset({RunState.QUEUED, RunState.PAUSED})): [other, queued],
        RunFilter(created_from=at(2)): [other, running],
        RunFilter(created_before=at(2)): [queued],
        RunFilter(workflow="flights", created_from=at(2), created_before=at(3)): [running],
        RunFilter(workflow="flights", states=frozenset({RunState.FAILED})): [],
    }
    for which, found in expected.items():
        listed = await runs.list_runs(conn, which, None, 10)
        assert [run.run_id for run in listed] == [run.run_id for run in found], which


async def test_the_unfinished_runs_of_a_shard_are_those_that_have_not_ended(conn: Connection, journal: Journal) -> None:
    queued, running, cancelling, done, elsewhere = [
        await store_run(conn, run_id=new_run_id(number), shard=number // 4) for number in range(5)
    ]
    await journal.commit(
        0,
        Batch(
            runs_started=[RunStarted(running.run_id, NOON)],
            runs_cancelling=[RunCancelling(cancelling.run_id, "why", RunState.CANCELLED)],
            runs_ended=[RunEnded(done.run_id, RunState.FAILED, "it broke", NOON, {})],
        ),
    )
    unfinished = await runs.unfinished_runs(conn, 0)
    assert [run.run_id for run in unfinished] == [queued.run_id, running.run_id, cancelling.run_id]
    assert unfinished[2].outcome is RunState.CANCELLED
    assert [run.run_id for run in await runs.unfinished_runs(conn, 1)] == [elsewhere.run_id]

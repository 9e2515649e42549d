"""Logs from the agents' stream to readers: while they grow, after they ended, and after restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import grpc
import pytest

from podium.errors import InvalidArgumentError
from podium.logformat import LogStream, encode
from podium.v1 import log_pb2 as pb
from podium.v1 import run_pb2, session_pb2
from podium_coordinator.domain.records import AttemptBorn, RunEnded, RunStarted
from podium_coordinator.domain.states import AttemptState, RunState, TaskRunState
from podium_coordinator.logs.finisher import LogFinisher, Patience
from podium_coordinator.logs.folder import AttemptName, LogFolder
from podium_coordinator.rpc.log_intake import PIECE_BYTES, LogIntake, verify_by
from podium_coordinator.store import logs as rows
from podium_coordinator.store.batch import Batch
from tests.rpc.probe import details, refused
from tests.rpc.site import LOG_QUOTA, Site, a_task
from tests.shard.cluster import Cluster
from tests.store.builders import NOON, born, ended, runs_now, skipped


def piece(text: str, stream: LogStream = LogStream.STDOUT) -> bytes:
    return encode(1_700_000_000.25, stream, text.encode())


async def a_running_attempt(site: Site) -> AttemptBorn:
    await site.register(a_task("a"), a_task("b"))
    run = await site.create()
    attempt = born(UUID(run.run_id), 0)
    start = RunStarted(UUID(run.run_id), NOON)
    await site.journal.commit(
        0, Batch(runs_started=[start], attempts_born=[attempt], attempts_running=[runs_now(attempt)])
    )
    return attempt


async def end(site: Site, attempt: AttemptBorn, **fields: object) -> None:
    await site.journal.commit(0, Batch(attempts_ended=[ended(attempt, **fields)]))  # type: ignore[arg-type]


def named(attempt: AttemptBorn) -> AttemptName:
    return AttemptName(attempt.run_id, attempt.task, attempt.map_index, attempt.number)


def reference(attempt: AttemptBorn, token: bytes | None = None) -> session_pb2.AttemptReference:
    return session_pb2.AttemptReference(
        run_id=attempt.run_id.bytes,
        task=attempt.task,
        map_index=attempt.map_index,
        number=attempt.number,
        token=token or attempt.token,
    )


def append(attempt: AttemptBorn, offset: int, data: bytes, last: bool = False) -> session_pb2.AppendLogsRequest:
    return session_pb2.AppendLogsRequest(attempt=reference(attempt), offset=offset, data=data, last=last)


async def sent(site: Site, *requests: session_pb2.AppendLogsRequest) -> list[int]:
    async def stream() -> AsyncIterator[session_pb2.AppendLogsRequest]:
        for request in requests:
            yield request

    intake = LogIntake(site.logs, site.finisher, verify_by(site.database.read))
    return [response.stored async for response in intake.append(stream())]


def read_request(attempt: AttemptBorn, number: int = 0) -> pb.ReadLogRequest:
    return pb.ReadLogRequest(run_id=str(attempt.run_id), task="a", attempt=number)


def tail_request(attempt: AttemptBorn, number: int = 0) -> pb.TailLogRequest:
    return pb.TailLogRequest(run_id=str(attempt.run_id), task="a", attempt=number)


async def text_of(call: AsyncIterator[pb.ReadLogResponse | pb.TailLogResponse]) -> str:
    return b"".join([entry.data async for message in call for entry in message.entries]).decode()


async def until_stored(site: Site, attempt: AttemptBorn) -> rows.AttemptLog:
    """Wait until the finisher has moved the log out of the folder."""
    with site.logs.follow(named(attempt)) as changed:
        async with asyncio.timeout(10):
            while site.logs.holds(named(attempt)):
                await changed.wait()
                changed.clear()
    async with site.database.read.connection() as conn:
        return await rows.attempt_log(conn, *named_parts(attempt))


def named_parts(attempt: AttemptBorn) -> tuple[UUID, int, int, int]:
    return attempt.run_id, attempt.task, attempt.map_index, attempt.number


# Taking logs in.


async def test_pieces_are_stored_and_answered_in_order(site: Site) -> None:
    attempt = await a_running_attempt(site)
    first, second = piece("one\n"), piece("two\n")
    stored = await sent(site, append(attempt, 0, first), append(attempt, 0, first), append(attempt, len(first), second))
    assert stored == [len(first), len(first), len(first) + len(second)]
    assert await text_of(site.log.ReadLog(read_request(attempt))) == "one\ntwo\n"


async def test_pieces_under_another_token_are_dropped_and_acknowledged(site: Site) -> None:
    attempt = await a_running_attempt(site)
    forged = session_pb2.AppendLogsRequest(attempt=reference(attempt, uuid4().bytes), data=piece("forged"))
    unknown = session_pb2.AppendLogsRequest(attempt=reference(born(uuid4())), offset=7, data=b"abc")
    assert await sent(site, forged, unknown) == [len(forged.data), 10]
    assert site.logs.names() == []


@pytest.mark.parametrize(
    "broken",
    [
        session_pb2.AppendLogsRequest(),
        session_pb2.AppendLogsRequest(attempt=session_pb2.AttemptReference(run_id=bytes(16), token=bytes(16))),
        session_pb2.AppendLogsRequest(
            attempt=session_pb2.AttemptReference(run_id=bytes(16), token=bytes(16), number=1),
            data=bytes(PIECE_BYTES + 1),
        ),
        session_pb2.AppendLogsRequest(
            attempt=session_pb2.AttemptReference(run_id=bytes(16), token=bytes(16), number=1), offset=-1
        ),
    ],
)
async def test_a_piece_that_cannot_be_is_refused(site: Site, broken: session_pb2.AppendLogsRequest) -> None:
    with pytest.raises(InvalidArgumentError):
        await sent(site, broken)


# Reading.


async def test_a_log_has_times_streams_and_bytes(site: Site) -> None:
    attempt = await a_running_attempt(site)
    data = piece("out") + piece("err", LogStream.STDERR) + piece("note", LogStream.PODIUM)
    await sent(site, append(attempt, 0, data))
    (message,) = [one async for one in site.log.ReadLog(read_request(attempt, 1))]
    assert [(entry.stream, entry.data) for entry in message.entries] == [
        (pb.LOG_STREAM_STDOUT, b"out"),
        (pb.LOG_STREAM_STDERR, b"err"),
        (pb.LOG_STREAM_PODIUM, b"note"),
    ]
    assert message.entries[0].time.ToMicroseconds() == 1_700_000_000_250_000


async def test_a_small_log_is_read_from_its_attempts_row(site: Site) -> None:
    attempt = await a_running_attempt(site)
    await end(site, attempt, log=piece("all of it"), log_bytes=len(piece("all of it")))
    assert await text_of(site.log.ReadLog(read_request(attempt))) == "all of it"
    assert await text_of(site.log.TailLog(tail_request(attempt))) == "all of it"


async def test_a_finished_log_becomes_a_blob_and_reads_the_same(site: Site) -> None:
    attempt = await a_running_attempt(site)
    lines = [piece(f"line {n}\n" * 40) for n in range(100)]
    offset = 0
    for line in lines:
        (offset,) = await sent(site, append(attempt, offset, line, last=line is lines[-1]))
    await end(site, attempt, log_bytes=offset)
    site.finisher.offer(named(attempt))
    found = await until_stored(site, attempt)
    assert found.blob is not None
    assert found.log_bytes == offset
    async with site.database.write.connection() as conn:
        count = await conn.execute(
            "SELECT count(*) FROM attempt_blob WHERE purpose = 'log' AND sha256 = %s", [found.blob]
        )
        assert await count.fetchone() == (1,)
    text = "".join(f"line {n}\n" * 40 for n in range(100))
    assert await text_of(site.log.ReadLog(read_request(attempt))) == text
    assert await text_of(site.log.TailLog(tail_request(attempt))) == text
    assert site.logs.names() == []


async def test_the_last_piece_may_come_after_the_end(site: Site) -> None:
    attempt = await a_running_attempt(site)
    whole = piece("a") + piece("b")
    await sent(site, append(attempt, 0, piece("a")))
    await end(site, attempt, log_bytes=len(whole))
    await sent(site, append(attempt, len(piece("a")), piece("b"), last=True))
    assert (await until_stored(site, attempt)).log_bytes == len(whole)
    assert await text_of(site.log.ReadLog(read_request(attempt))) == "ab"


async def test_the_log_of_a_lost_agent_is_kept_as_far_as_it_came(site: Site) -> None:
    attempt = await a_running_attempt(site)
    await sent(site, append(attempt, 0, piece("so far")))
    await end(site, attempt, state=AttemptState.LOST)
    site.finisher.offer(named(attempt))
    assert (await until_stored(site, attempt)).blob is not None
    assert await text_of(site.log.TailLog(tail_request(attempt))) == "so far"


async def test_a_streamed_log_that_turned_out_small_leaves_the_folder(site: Site) -> None:
    attempt = await a_running_attempt(site)
    await sent(site, append(attempt, 0, piece("small")))
    await end(site, attempt, log=piece("small"), log_bytes=len(piece("small")))
    assert site.finisher.sweep() == 1
    found = await until_stored(site, attempt)
    assert (found.inline, found.blob) == (piece("small"), None)


async def test_logs_that_a_crash_left_are_finished_by_the_next_process(site: Site, tmp_path: Path) -> None:
    attempt = await a_running_attempt(site)
    left = LogFolder(tmp_path / "left", LOG_QUOTA)
    await left.append(named(attempt), 0, piece("left behind"), last=True)
    nobody = AttemptName(uuid4(), 0, -1, 1)
    await left.append(nobody, 0, b"whose?")
    await end(site, attempt, log_bytes=len(piece("left behind")))

    folder = LogFolder(tmp_path / "left", LOG_QUOTA)
    finisher = LogFinisher(folder, site.blobs, site.database.write, Patience(0.1, 0.1))
    with folder.follow(named(attempt)) as one, folder.follow(nobody) as other:
        running = asyncio.create_task(finisher.run())
        async with asyncio.timeout(10):
            await one.wait()
            await other.wait()
        running.cancel()
        await asyncio.wait([running])
    assert folder.names() == []
    assert await text_of(site.log.ReadLog(read_request(attempt))) == "left behind"


async def test_a_damaged_log_is_read_as_far_as_it_can_be(site: Site) -> None:
    attempt = await a_running_attempt(site)
    await sent(site, append(attempt, 0, piece("good") + b"\xff" * 100))
    assert "damaged" in await text_of(site.log.ReadLog(read_request(attempt)))


async def test_a_large_log_comes_in_bounded_messages(site: Site) -> None:
    attempt = await a_running_attempt(site)
    data = b"".join(piece("x" * 60_000) for _ in range(60))
    await end(site, attempt, log=data, log_bytes=len(data))
    sizes = [sum(len(entry.data) for entry in one.entries) async for one in site.log.ReadLog(read_request(attempt))]
    assert sum(sizes) == 60 * 60_000
    assert max(sizes) <= 1 << 20


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"run_id": str(uuid4())}, "RUN_NOT_FOUND"),
        ({"task": "z"}, "TASK_NOT_FOUND"),
        ({"task": ""}, "TASK_NOT_FOUND"),
        ({"attempt": 2}, "ATTEMPT_NOT_FOUND"),
        ({"attempt": -1}, "ATTEMPT_NOT_FOUND"),
        ({"map_index": 3}, "ATTEMPT_NOT_FOUND"),
    ],
)
async def test_what_is_not_there_is_not_found(site: Site, fields: dict[str, object], reason: str) -> None:
    attempt = await a_running_attempt(site)
    wanted: dict[str, object] = {"run_id": str(attempt.run_id), "task": "a"} | fields
    calls = [site.log.ReadLog(pb.ReadLogRequest(**wanted))]  # type: ignore[arg-type]
    if "map_index" not in fields:
        calls.append(site.log.TailLog(pb.TailLogRequest(**wanted)))  # type: ignore[arg-type]
    for call in calls:
        told = await refused(call.read())
        assert (told.code(), details(told)[0].reason) == (grpc.StatusCode.NOT_FOUND, reason)


async def test_reading_before_the_first_attempt_finds_none(site: Site) -> None:
    attempt = await a_running_attempt(site)
    request = pb.ReadLogRequest(run_id=str(attempt.run_id), task="b")
    assert details(await refused(site.log.ReadLog(request).read()))[0].reason == "ATTEMPT_NOT_FOUND"


# Following.


async def test_a_tail_follows_appends_by_signals_until_the_log_is_complete(owning: tuple[Site, Cluster]) -> None:
    site, cluster = owning
    agent = await cluster.agent()
    await site.register(a_task("a"))
    run = await site.create()
    order = await agent.orders.get()
    agent.start(order)
    attempt = born(UUID(run.run_id), 0, number=order.name.number, token=order.name.token)

    tail = aiter(site.log.TailLog(tail_request(attempt)))
    first, second = piece("one\n"), piece("two\n")
    await sent(site, append(attempt, 0, first))
    assert (await anext(tail)).entries[0].data == b"one\n"
    began = asyncio.get_running_loop().time()
    await sent(site, append(attempt, len(first), second))
    assert (await anext(tail)).entries[0].data == b"two\n"
    assert asyncio.get_running_loop().time() - began < 0.5

    agent.finish(order)
    assert [message async for message in tail] == []


async def test_a_tail_waits_for_the_first_attempt(owning: tuple[Site, Cluster]) -> None:
    site, cluster = owning
    await site.register(a_task("a"))
    run = await site.create()
    tail = aiter(site.log.TailLog(pb.TailLogRequest(run_id=run.run_id, task="a")))
    reading = asyncio.ensure_future(anext(tail))
    agent = await cluster.agent()
    order = await agent.orders.get()
    agent.start(order)
    attempt = born(UUID(run.run_id), 0, number=order.name.number, token=order.name.token)
    await sent(site, append(attempt, 0, piece("at last")))
    async with asyncio.timeout(10):
        assert (await reading).entries[0].data == b"at last"
    agent.finish(order)
    assert [message async for message in tail] == []


async def test_a_tail_of_another_owners_attempt_ends_with_it(site: Site) -> None:
    attempt = await a_running_attempt(site)
    tail = asyncio.ensure_future(text_of(site.log.TailLog(tail_request(attempt))))
    await sent(site, append(attempt, 0, piece("streamed, ")))
    whole = piece("streamed, ") + piece("and the rest")
    await end(site, attempt, log=whole, log_bytes=len(whole))
    async with asyncio.timeout(10):
        assert await tail == "streamed, and the rest"


async def test_a_tail_ends_when_its_task_run_ends_without_an_attempt(site: Site) -> None:
    attempt = await a_running_attempt(site)
    tail = site.log.TailLog(pb.TailLogRequest(run_id=str(attempt.run_id), task="b"))
    await site.journal.commit(0, Batch(task_runs_ended=[skipped(attempt.run_id, 1)]))
    assert details(await refused(tail.read()))[0].reason == "ATTEMPT_NOT_FOUND"


async def test_a_tail_that_nobody_reads_any_more_is_let_go(site: Site) -> None:
    attempt = await a_running_attempt(site)
    tail = site.log.TailLog(tail_request(attempt))
    await sent(site, append(attempt, 0, piece("x")))
    await tail.read()
    tail.cancel()
    await end(site, attempt)
    counts = {TaskRunState.SUCCEEDED: 1, TaskRunState.CANCELLED: 1}
    finished = RunEnded(attempt.run_id, RunState.CANCELLED, "", NOON, counts)
    await site.journal.commit(0, Batch(runs_ended=[finished]))
    run: run_pb2.GetRunResponse = await site.runs.GetRun(run_pb2.GetRunRequest(run_id=str(attempt.run_id)))
    assert run.run.state == run_pb2.RUN_STATE_CANCELLED

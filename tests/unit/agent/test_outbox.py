from __future__ import annotations

import uuid

from podium.v1 import session_pb2
from podium_agent.session.outbox import LARGEST_BATCH_BYTES, LARGEST_BATCH_ITEMS, Outbox


def a_reference() -> session_pb2.AttemptReference:
    return session_pb2.AttemptReference(run_id=uuid.uuid4().bytes, token=uuid.uuid4().bytes, number=1)


def an_end(size: int = 10) -> session_pb2.AttemptFinished:
    return session_pb2.AttemptFinished(attempt=a_reference(), output=b"x" * size)


async def test_all_that_is_ready_leaves_in_one_message() -> None:
    outbox = Outbox()
    accepted, started, returned = a_reference(), session_pb2.AttemptStarted(attempt=a_reference()), a_reference()
    end = an_end()
    outbox.accept(accepted)
    outbox.start(started)
    outbox.finish(end)
    outbox.give_back(returned)
    await outbox.wait()
    request = outbox.take()
    assert list(request.accepted) == [accepted]
    assert list(request.started) == [started]
    assert list(request.finished) == [end]
    assert list(request.returned) == [returned]
    assert outbox.empty


async def test_a_message_is_bounded_in_items() -> None:
    outbox = Outbox()
    for _ in range(LARGEST_BATCH_ITEMS + 10):
        outbox.accept(a_reference())
    outbox.finish(an_end())
    first, second = outbox.take(), outbox.take()
    assert (len(first.accepted), len(first.finished)) == (LARGEST_BATCH_ITEMS, 0)
    assert (len(second.accepted), len(second.finished)) == (10, 1)


async def test_a_message_is_bounded_in_bytes() -> None:
    outbox = Outbox()
    ends = [an_end(LARGEST_BATCH_BYTES // 8) for _ in range(20)]
    for end in ends:
        outbox.finish(end)
    taken: list[session_pb2.AttemptFinished] = []
    while not outbox.empty:
        request = outbox.take()
        assert request.ByteSize() < LARGEST_BATCH_BYTES * 1.2
        taken += request.finished
    assert taken == ends


async def test_a_new_stream_begins_with_nothing_but_the_wish_to_drain() -> None:
    outbox = Outbox()
    outbox.accept(a_reference())
    outbox.drain()
    outbox.restart()
    assert outbox.empty
    assert outbox.take() == session_pb2.ConnectRequest(draining=True)

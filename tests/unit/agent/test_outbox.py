from __future__ import annotations

import uuid

from podium.v1 import run_pb2, session_pb2
from podium_agent.session.outbox import LARGEST_BATCH_BYTES, LARGEST_BATCH_ITEMS, Outbox
from tests.unit.agent.builders import a_failure, an_attempt, an_order, ended


def a_reference() -> session_pb2.AttemptReference:
    return session_pb2.AttemptReference(run_id=uuid.uuid4().bytes, token=uuid.uuid4().bytes, number=1)


async def test_all_that_is_ready_leaves_in_one_message() -> None:
    outbox = Outbox()
    begun, succeeded, failed, returned = an_attempt(started=5), ended(an_attempt()), an_attempt(), a_reference()
    failed.end = a_failure(failed)
    outbox.start(begun)
    outbox.finish(succeeded)
    outbox.finish(failed)
    outbox.give_back(returned)
    await outbox.wait()
    request = outbox.take(7)
    assert request.sequence == 7
    assert [item.attempt for item in request.started] == [begun.reference]
    assert [item.tokens for item in request.succeeded] == [succeeded.token]
    assert [(item.attempt, item.state) for item in request.finished] == [
        (failed.reference, run_pb2.ATTEMPT_STATE_FAILED)
    ]
    assert list(request.returned) == [returned]
    assert outbox.empty


async def test_successes_of_a_run_share_columns_which_are_left_out_when_they_say_nothing() -> None:
    outbox = Outbox()
    plain = [ended(an_attempt(task=task), output=b"%d" % task) for task in range(3)]
    other = ended(an_attempt(an_order(run="1" * 32), map_index=4, number=2), log=b"log", log_bytes=9000)
    for attempt in (*plain, other):
        outbox.finish(attempt)
    first, second = outbox.take(1).succeeded
    assert (list(first.tasks), list(first.outputs)) == ([0, 1, 2], [b"0", b"1", b"2"])
    assert first.tokens == b"".join(attempt.token for attempt in plain)
    assert (list(first.start_micros), list(first.duration_micros)) == ([1_000_000] * 3, [5] * 3)
    assert (list(first.cpu_micros), list(first.peak_memory_bytes)) == ([3] * 3, [7] * 3)
    assert not [*first.map_indexes, *first.numbers, *first.logs, *first.log_bytes]
    assert (list(second.map_indexes), list(second.numbers)) == ([4], [2])
    assert (list(second.logs), list(second.log_bytes)) == ([b"log"], [9000])


async def test_a_message_is_bounded_in_items() -> None:
    outbox = Outbox()
    for _ in range(LARGEST_BATCH_ITEMS + 10):
        outbox.give_back(a_reference())
    outbox.finish(ended(an_attempt()))
    first, second = outbox.take(1), outbox.take(2)
    assert (len(first.returned), len(first.succeeded)) == (LARGEST_BATCH_ITEMS, 0)
    assert (len(second.returned), len(second.succeeded)) == (10, 1)


async def test_a_message_is_bounded_in_bytes() -> None:
    outbox = Outbox()
    attempts = [ended(an_attempt(), output=b"x" * (LARGEST_BATCH_BYTES // 8)) for _ in range(20)]
    for attempt in attempts:
        outbox.finish(attempt)
    tokens = b""
    sequence = 0
    while not outbox.empty:
        sequence += 1
        request = outbox.take(sequence)
        assert request.ByteSize() < LARGEST_BATCH_BYTES * 1.2
        tokens += b"".join(told.tokens for told in request.succeeded)
    assert tokens == b"".join(attempt.token for attempt in attempts)
    assert sequence > 1


async def test_ends_are_told_until_the_message_that_told_them_is_committed() -> None:
    outbox = Outbox()
    first, second, third = (ended(an_attempt()) for _ in range(3))
    outbox.finish(first)
    outbox.take(1)
    outbox.finish(second)
    outbox.take(2)
    outbox.take(3)
    outbox.finish(third)
    outbox.take(4)
    assert outbox.committed(1) == [first]
    assert outbox.committed(1) == []
    assert outbox.committed(3) == [second]
    outbox.restart()
    assert outbox.committed(4) == []


async def test_an_end_that_is_not_wanted_any_more_is_not_told() -> None:
    outbox = Outbox()
    attempt = ended(an_attempt())
    outbox.finish(attempt)
    attempt.end = None
    assert outbox.take(1) == session_pb2.ConnectRequest(sequence=1)


async def test_a_new_stream_begins_with_nothing_but_the_wish_to_drain() -> None:
    outbox = Outbox()
    outbox.finish(ended(an_attempt()))
    outbox.drain()
    outbox.restart()
    assert outbox.empty
    assert outbox.take(1) == session_pb2.ConnectRequest(sequence=1, draining=True)

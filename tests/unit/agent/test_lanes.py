from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from podium_agent.executors.connection import NO_TICKET, Connection
from podium_agent.session.lanes import MOST_DEALT, WINDOW, Lane, Phase
from podium_agent.session.workers import Channel, serve
from tests.unit.agent.builders import an_attempt, an_order

MOST = 1000


class Listener:
    """Takes up one worker."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.heard = asyncio.Event()

    def worker_hello(self, header: dict[str, Any], channel: Channel) -> bool:
        assert header["worker"] == self.lane.name
        self.lane.connect(channel)
        self.heard.set()
        return True

    def worker_said(self, worker: str, header: dict[str, Any], body: bytes) -> None:
        raise AssertionError(f"{worker} was to say nothing, and said {header} {body!r}")

    def worker_hung_up(self, worker: str) -> None:
        assert worker == self.lane.name


@asynccontextmanager
async def connected(lane: Lane, folder: Path) -> AsyncIterator[tuple[Connection, list[dict[str, Any]]]]:
    """Yield the worker's end of a lane, and the orders it is told."""
    path, told = str(folder / "socket"), list[dict[str, Any]]()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    listener = Listener(lane)
    await serve(listener, listening)
    worker = Connection(path, {"worker": "w1"}, lambda header, _: told.append(header))
    worker.connect()
    await listener.heard.wait()
    asyncio.get_running_loop().remove_reader(listening)
    listening.close()
    yield worker, told
    worker.close()
    assert lane.channel is not None
    lane.channel.dispose()


async def test_a_worker_takes_one_after_the_other_and_what_it_has_not_taken_can_be_recalled(tmp_path: Path) -> None:
    lane = Lane("w1", Phase.BUSY)
    order = an_order(micros=10, number=3)
    attempts = [an_attempt(order, key=f"task{index}") for index in range(5)]
    async with connected(lane, tmp_path) as (worker, told):
        for attempt in attempts[:4]:
            lane.deal(attempt, b"")
        lane.flush()
        first = worker.task(worker.ticket())
        assert first is not None
        assert (first.name, first.key) == (attempts[0].name, b"task0")
        assert lane.recall() == attempts[1:4]
        assert worker.ticket() == NO_TICKET
        for attempt in attempts[1:4]:
            lane.remove(attempt)
        lane.deal(attempts[4], b"")
        lane.flush()
        last = worker.task(worker.ticket())
        assert last is not None
        assert last.name == attempts[4].name
        assert told == [{}, {"order": 3}]
    assert list(lane.dealt.values()) == [attempts[0], attempts[4]]


async def test_tickets_die_with_the_connection_they_came_over(tmp_path: Path) -> None:
    lane = Lane("w1", Phase.BUSY)
    attempt = an_attempt(an_order(micros=10))
    async with connected(lane, tmp_path):
        lane.deal(attempt, b"")
        lane.flush()
        theirs, ours = socket.socketpair()
        fresh = Channel(ours, Listener(lane))
        assert lane.connect(fresh) == [attempt]
        assert lane.channel is fresh
    theirs.close()


async def test_a_lane_has_room_for_so_much_expected_work_and_no_more() -> None:
    lane = Lane("w1", Phase.BUSY)
    order = an_order(micros=WINDOW // 4)
    for _ in range(4):
        assert lane.has_room(order, MOST)
        lane.deal(an_attempt(order), b"")
    assert not lane.has_room(order, MOST)
    lane.remove(next(iter(lane.dealt.values())))
    assert lane.has_room(order, MOST)
    assert not lane.has_room(order, 3)


async def test_none_lines_up_behind_an_attempt_of_which_nobody_knows_how_long_it_takes() -> None:
    lane = Lane("w1", Phase.BUSY)
    unknown, short = an_order(), an_order(micros=1)
    assert not lane.has_room(unknown, MOST)
    lane.deal(an_attempt(unknown), b"")
    assert not lane.has_room(short, MOST)


async def test_a_lane_has_room_for_so_many_attempts_and_no_more() -> None:
    lane = Lane("w1", Phase.BUSY)
    order = an_order(micros=1)
    while lane.has_room(order, MOST):
        lane.deal(an_attempt(order), b"")
    assert len(lane.dealt) == MOST_DEALT


async def test_only_what_asks_for_the_same_of_the_same_bundle_lines_up(tmp_path: Path) -> None:
    lane = Lane("w1", Phase.BUSY, bundle="b1", demand=an_order().demand)
    async with connected(lane, tmp_path):
        assert lane.suits(an_order())
        assert lane.suits(an_order(bundle="b1"))
        assert not lane.suits(an_order(bundle="b2"))
        assert not lane.suits(an_order(cpu_millis=1))
        lane.stuck = True
        assert not lane.suits(an_order())

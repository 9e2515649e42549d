"""Work that is due from time to time."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from podium_coordinator.housekeeping import Housekeeping
from podium_coordinator.structured_logs import Event


async def test_a_job_runs_again_and_again() -> None:
    ran = asyncio.Queue[int]()

    async def job() -> None:
        ran.put_nowait(1)

    house = Housekeeping()
    house.every(0.02, "count", job)
    house.start()
    async with asyncio.timeout(10):
        for _ in range(3):
            await ran.get()
    house.stop()


async def test_a_job_that_fails_is_logged_and_tried_again() -> None:
    ran = asyncio.Queue[int]()

    async def job() -> None:
        ran.put_nowait(1)
        raise ValueError("once more")

    house = Housekeeping()
    house.every(0.02, "fragile", job)
    with capture_logs() as lines:
        house.start()
        async with asyncio.timeout(10):
            await ran.get()
            await ran.get()
        house.stop()
    assert lines[0]["event"] == Event.JOB_BROKE
    assert lines[0]["job"] == "fragile"


async def test_a_slow_job_is_never_run_beside_itself_and_a_late_one_runs_all_the_same() -> None:
    running, most, turns = 0, 0, asyncio.Queue[int]()

    async def job() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        turns.put_nowait(1)
        await asyncio.sleep(0.05)
        running -= 1

    house = Housekeeping()
    house.every(0.01, "slow", job)
    house.start()
    async with asyncio.timeout(10):
        for _ in range(3):
            await turns.get()
    house.stop()
    assert most == 1


async def test_a_job_may_be_a_plain_function() -> None:
    ran = asyncio.Event()
    house = Housekeeping()
    house.every(0.01, "plain", ran.set)
    house.start()
    async with asyncio.timeout(10):
        await ran.wait()
    house.stop()


async def test_stopping_before_the_start_is_harmless() -> None:
    Housekeeping().stop()

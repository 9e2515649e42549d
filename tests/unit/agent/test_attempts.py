from __future__ import annotations

import asyncio
import uuid

from podium_agent.domain.attempt import State
from podium_agent.session.attempts import Attempt, Attempts
from tests.unit.agent.builders import an_order


def an_attempt(state: State = State.QUEUED) -> Attempt:
    return Attempt(uuid.uuid4().bytes, an_order(), 0, -1, 1, "task", state=state)


async def test_reported_attempts_are_counted_once_whatever_way_they_took() -> None:
    attempts = Attempts()
    attempts.moved(State.DEALT, State.SETTLING)
    attempts.moved(State.SETTLING, State.REPORTED)
    attempts.moved(State.CANCELLING, State.REPORTED)
    assert attempts.reported == 2
    attempts.moved(State.REPORTED, State.REPORTED)
    attempts.moved(State.REPORTED, State.FORGOTTEN)
    assert attempts.reported == 1


async def test_a_drain_sees_every_way_an_attempt_can_go() -> None:
    attempts = Attempts()
    running, reported = an_attempt(State.DEALT), an_attempt(State.REPORTED)
    attempts.add(running)
    attempts.add(reported)
    executed = asyncio.create_task(attempts.wait_until_executed())
    acknowledged = asyncio.create_task(attempts.wait_until_acknowledged())
    await asyncio.sleep(0)
    attempts.forget(running)
    await executed
    assert not acknowledged.done()
    attempts.forget(reported)
    await acknowledged

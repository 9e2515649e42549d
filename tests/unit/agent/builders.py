"""What the agent's unit tests are about, with defaults."""

from __future__ import annotations

import uuid
from typing import Any

from podium_agent import frames
from podium_agent.domain.attempt import State
from podium_agent.records import End, Success
from podium_agent.session.attempts import Attempt
from podium_agent.session.orders import Order, adopted

FACTS = {
    "run": "0" * 32,
    "workflow": "flow",
    "version": 1,
    "cpu_millis": 1000,
    "memory_bytes": 0,
    "run_timeout": None,
    "bundle": "",
}


def an_order(micros: int = 0, number: int = 0, **facts: Any) -> Order:
    order = adopted({**FACTS, **facts})
    order.usual.micros, order.number = micros, number
    order.frame = frames.pack({"order": number})
    return order


def an_attempt(order: Order | None = None, **fields: Any) -> Attempt:
    return Attempt(
        uuid.uuid4().bytes, order or an_order(), **{"task": 0, "map_index": -1, "number": 1, "key": "task", **fields}
    )


def a_success(attempt: Attempt, output: bytes = b"null", log: bytes = b"", **figures: int) -> Success:
    known: dict[str, Any] = {"started": 1_000_000, "duration": 5, "cpu": 3, "peak": 7, "log_bytes": len(log), **figures}
    return Success(*attempt.name, **known, output=output, log=log)


def a_failure(attempt: Attempt, message: str = "no") -> End:
    facts = {
        "state": "failed",
        "failure": {"kind": "user_error", "message": message},
        "no_retry": False,
        "retry_after": None,
        "blobs": [],
        "duration": 5,
        "cpu": 3,
        "peak": 7,
        "log_bytes": 0,
    }
    return End(*attempt.name, 1_000_000, facts, b"", b"")


def ended(attempt: Attempt, **fields: Any) -> Attempt:
    attempt.state, attempt.end = State.REPORTED, a_success(attempt, **fields)
    return attempt

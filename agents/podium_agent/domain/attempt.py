"""Life of one attempt at the agent. Pure: no clock, no I/O.

    queued -> preparing -> running -> settling -> reported -> (forgotten)
                              |
                              +-> ending -> reported -> (forgotten)

Queued: waits for the agent's resources. Preparing: holds them while its bundle and inputs are fetched and a worker is
found. Running: a worker has it. Ending: its processes are being ended. Settling: it has ended, its files are being
uploaded. Reported: its end is told, again and again, until acknowledged. What it holds is released when its processes
are gone, never before.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Where an attempt stands at the agent."""

    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    ENDING = "ending"
    SETTLING = "settling"
    REPORTED = "reported"
    FORGOTTEN = "forgotten"


class Cause(Enum):
    """Why a running attempt is being ended."""

    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Life:
    """Where an attempt stands; `cause` while it is ending."""

    state: State
    cause: Cause | None = None


class Event(Enum):
    """What happens to an attempt. `ENDED` and `WORKER_GONE` are told apart: only the first has a result."""

    ADMITTED = "admitted"
    TAKEN_BACK = "taken_back"
    PREPARED = "prepared"
    UNPREPARABLE = "unpreparable"
    REFUSED = "refused"
    ENDED = "ended"
    WORKER_GONE = "worker_gone"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    STALE = "stale"
    SETTLED = "settled"
    ACKNOWLEDGED = "acknowledged"


class Effect(Enum):
    """What the caller must now do. To discard is to forget along with the log and the files."""

    PREPARE = "prepare"
    EXECUTE = "execute"
    RELEASE = "release"
    RETURN = "return"
    END_WORKER = "end_worker"
    SETTLE = "settle"
    REPORT_RESULT = "report_result"
    REPORT_CANCELLED = "report_cancelled"
    REPORT_TIMED_OUT = "report_timed_out"
    REPORT_DEATH = "report_death"
    REPORT_UNPREPARABLE = "report_unpreparable"
    FORGET = "forget"
    DISCARD = "discard"


class IllegalTransitionError(Exception):
    """No row of the table matches: the caller has lost its way."""


QUEUED, PREPARING, RUNNING = Life(State.QUEUED), Life(State.PREPARING), Life(State.RUNNING)
SETTLING, REPORTED, FORGOTTEN = Life(State.SETTLING), Life(State.REPORTED), Life(State.FORGOTTEN)
CANCELLING, TIMING_OUT, STALE = (Life(State.ENDING, cause) for cause in Cause)

Row = tuple[Life, tuple[Effect, ...]]

TABLE: dict[tuple[Life, Event], Row] = {
    (QUEUED, Event.ADMITTED): (PREPARING, (Effect.PREPARE,)),
    (QUEUED, Event.TAKEN_BACK): (FORGOTTEN, (Effect.RELEASE, Effect.RETURN, Effect.FORGET)),
    (QUEUED, Event.CANCELLED): (REPORTED, (Effect.RELEASE, Effect.REPORT_CANCELLED)),
    (QUEUED, Event.STALE): (FORGOTTEN, (Effect.RELEASE, Effect.DISCARD)),
    (PREPARING, Event.PREPARED): (RUNNING, (Effect.EXECUTE,)),
    (PREPARING, Event.UNPREPARABLE): (REPORTED, (Effect.RELEASE, Effect.REPORT_UNPREPARABLE)),
    (PREPARING, Event.TAKEN_BACK): (FORGOTTEN, (Effect.RELEASE, Effect.RETURN, Effect.FORGET)),
    (PREPARING, Event.CANCELLED): (REPORTED, (Effect.RELEASE, Effect.REPORT_CANCELLED)),
    (PREPARING, Event.STALE): (FORGOTTEN, (Effect.RELEASE, Effect.DISCARD)),
    (RUNNING, Event.ENDED): (SETTLING, (Effect.RELEASE, Effect.SETTLE)),
    (RUNNING, Event.REFUSED): (FORGOTTEN, (Effect.RELEASE, Effect.RETURN, Effect.FORGET)),
    (RUNNING, Event.WORKER_GONE): (REPORTED, (Effect.RELEASE, Effect.REPORT_DEATH)),
    (RUNNING, Event.CANCELLED): (CANCELLING, (Effect.END_WORKER,)),
    (RUNNING, Event.TIMED_OUT): (TIMING_OUT, (Effect.END_WORKER,)),
    (RUNNING, Event.STALE): (STALE, (Effect.END_WORKER,)),
    (RUNNING, Event.TAKEN_BACK): (RUNNING, ()),
    (CANCELLING, Event.WORKER_GONE): (REPORTED, (Effect.RELEASE, Effect.REPORT_CANCELLED)),
    (TIMING_OUT, Event.WORKER_GONE): (REPORTED, (Effect.RELEASE, Effect.REPORT_TIMED_OUT)),
    (STALE, Event.WORKER_GONE): (FORGOTTEN, (Effect.RELEASE, Effect.DISCARD)),
    (CANCELLING, Event.STALE): (STALE, ()),
    (TIMING_OUT, Event.STALE): (STALE, ()),
    (SETTLING, Event.SETTLED): (REPORTED, (Effect.REPORT_RESULT,)),
    (SETTLING, Event.STALE): (FORGOTTEN, (Effect.DISCARD,)),
    (REPORTED, Event.ACKNOWLEDGED): (FORGOTTEN, (Effect.FORGET,)),
    (REPORTED, Event.STALE): (FORGOTTEN, (Effect.DISCARD,)),
}

IGNORED: dict[State, frozenset[Event]] = {
    # The worker's last word comes while it is being ended: what was asked for stands.
    State.ENDING: frozenset(
        {Event.ENDED, Event.REFUSED, Event.CANCELLED, Event.TIMED_OUT, Event.TAKEN_BACK, Event.STALE}
    ),
    # Orders that crossed the end on the wire, and the worker that ends after its last attempt.
    State.SETTLING: frozenset({Event.CANCELLED, Event.TIMED_OUT, Event.TAKEN_BACK, Event.WORKER_GONE, Event.ENDED}),
    State.REPORTED: frozenset(Event) - {Event.ACKNOWLEDGED, Event.STALE, Event.ADMITTED},
    # Work that was under way when the attempt was let go.
    State.FORGOTTEN: frozenset(Event),
}
"""Events that arrive late by nature and change nothing."""


def step(life: Life, event: Event) -> tuple[Life, tuple[Effect, ...]]:
    """Apply one event; return the new life and what the caller must now do.

    Raises:
        IllegalTransitionError: No row matches.
    """
    row = TABLE.get((life, event))
    if row is not None:
        return row
    if event in IGNORED.get(life.state, ()):
        return life, ()
    raise IllegalTransitionError(f"An attempt that is {life.state.value} cannot be {event.value}.")

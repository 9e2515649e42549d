"""Life of one attempt at the agent. Pure: no clock, no I/O.

    queued -> preparing -> dealt ------------------------------------> settling -> reported -> (forgotten)
       |                    ^ |                                                      ^
       +--------------------+ +-> cancelling | timing_out | disowned ----------------+

Queued: waits for the agent's resources. Preparing: holds them while its bundle and inputs are fetched and a worker is
found. Dealt: a worker executes it, or will when it has executed those before it; until the worker takes it, it can be
recalled and is queued again. Cancelling, timing out, disowned: its processes are being ended, and why. Settling: it has
ended, its files are being uploaded. Reported: its end is told, on each new stream again, until it is committed. What it
holds is released when its processes are gone, never before.
"""

from __future__ import annotations

from enum import IntEnum, auto


class State(IntEnum):
    """Where an attempt stands at the agent."""

    QUEUED = auto()
    PREPARING = auto()
    DEALT = auto()
    CANCELLING = auto()
    TIMING_OUT = auto()
    DISOWNED = auto()
    SETTLING = auto()
    REPORTED = auto()
    FORGOTTEN = auto()


class Event(IntEnum):
    """What happens to an attempt. Only `ENDED` and `ENDED_WITH_FILES` have a result of the worker's."""

    ADMITTED = auto()
    TAKEN_BACK = auto()
    DEALT = auto()
    RECALLED = auto()
    UNPREPARABLE = auto()
    REFUSED = auto()
    ENDED = auto()
    ENDED_WITH_FILES = auto()
    WORKER_GONE = auto()
    CANCELLED = auto()
    TIMED_OUT = auto()
    STALE = auto()
    SETTLED = auto()
    ACKNOWLEDGED = auto()


class Effect(IntEnum):
    """What the caller must now do. To discard is to forget along with the log and the files."""

    PREPARE = auto()
    EXECUTE = auto()
    QUEUE_AGAIN = auto()
    RELEASE = auto()
    RETURN = auto()
    END_WORKER = auto()
    SETTLE = auto()
    REPORT_RESULT = auto()
    REPORT_CANCELLED = auto()
    REPORT_TIMED_OUT = auto()
    REPORT_DEATH = auto()
    FORGET = auto()
    DISCARD = auto()


class IllegalTransitionError(Exception):
    """No row of the table matches: the caller has lost its way."""


UNSTARTED = frozenset({State.QUEUED, State.PREPARING})
EXECUTING = frozenset({State.DEALT, State.CANCELLING, State.TIMING_OUT, State.DISOWNED})
ENDING = EXECUTING - {State.DEALT}

Row = tuple[State, tuple[Effect, ...]]

_UNSTARTED_ENDS: dict[Event, Row] = {
    Event.TAKEN_BACK: (State.FORGOTTEN, (Effect.RELEASE, Effect.RETURN, Effect.FORGET)),
    Event.CANCELLED: (State.REPORTED, (Effect.RELEASE, Effect.REPORT_CANCELLED)),
    Event.STALE: (State.FORGOTTEN, (Effect.RELEASE, Effect.DISCARD)),
}

TABLE: dict[tuple[State, Event], Row] = {
    (State.QUEUED, Event.ADMITTED): (State.PREPARING, (Effect.PREPARE,)),
    **{(state, event): row for state in UNSTARTED for event, row in _UNSTARTED_ENDS.items()},
    **{(state, Event.DEALT): (State.DEALT, (Effect.EXECUTE,)) for state in UNSTARTED},
    (State.PREPARING, Event.UNPREPARABLE): (State.REPORTED, (Effect.RELEASE, Effect.REPORT_RESULT)),
    (State.DEALT, Event.RECALLED): (State.QUEUED, (Effect.QUEUE_AGAIN,)),
    (State.DEALT, Event.ENDED): (State.REPORTED, (Effect.RELEASE, Effect.REPORT_RESULT)),
    (State.DEALT, Event.ENDED_WITH_FILES): (State.SETTLING, (Effect.RELEASE, Effect.SETTLE)),
    (State.DEALT, Event.REFUSED): (State.FORGOTTEN, (Effect.RELEASE, Effect.RETURN, Effect.FORGET)),
    (State.DEALT, Event.WORKER_GONE): (State.REPORTED, (Effect.RELEASE, Effect.REPORT_DEATH)),
    (State.DEALT, Event.CANCELLED): (State.CANCELLING, (Effect.END_WORKER,)),
    (State.DEALT, Event.TIMED_OUT): (State.TIMING_OUT, (Effect.END_WORKER,)),
    (State.DEALT, Event.STALE): (State.DISOWNED, (Effect.END_WORKER,)),
    (State.CANCELLING, Event.WORKER_GONE): (State.REPORTED, (Effect.RELEASE, Effect.REPORT_CANCELLED)),
    (State.TIMING_OUT, Event.WORKER_GONE): (State.REPORTED, (Effect.RELEASE, Effect.REPORT_TIMED_OUT)),
    (State.DISOWNED, Event.WORKER_GONE): (State.FORGOTTEN, (Effect.RELEASE, Effect.DISCARD)),
    (State.CANCELLING, Event.STALE): (State.DISOWNED, ()),
    (State.TIMING_OUT, Event.STALE): (State.DISOWNED, ()),
    (State.SETTLING, Event.SETTLED): (State.REPORTED, (Effect.REPORT_RESULT,)),
    (State.SETTLING, Event.STALE): (State.FORGOTTEN, (Effect.DISCARD,)),
    (State.REPORTED, Event.ACKNOWLEDGED): (State.FORGOTTEN, (Effect.FORGET,)),
    (State.REPORTED, Event.STALE): (State.FORGOTTEN, (Effect.DISCARD,)),
}

_ORDERS = frozenset({Event.CANCELLED, Event.TIMED_OUT, Event.TAKEN_BACK})
_LAST_WORDS = frozenset({Event.ENDED, Event.ENDED_WITH_FILES, Event.REFUSED})

IGNORED: dict[State, frozenset[Event]] = {
    State.DEALT: frozenset({Event.TAKEN_BACK}),
    # The worker's last word comes while it is being ended: what was asked for stands.
    **dict.fromkeys(ENDING, _ORDERS | _LAST_WORDS),
    State.DISOWNED: _ORDERS | _LAST_WORDS | {Event.STALE},
    # Orders that crossed the end on the wire, and the worker that ends after its last attempt.
    State.SETTLING: _ORDERS | _LAST_WORDS | {Event.WORKER_GONE},
    State.REPORTED: frozenset(Event) - {Event.ACKNOWLEDGED, Event.STALE, Event.ADMITTED, Event.DEALT},
    # Work that was under way when the attempt was let go.
    State.FORGOTTEN: frozenset(Event),
}
"""Events that arrive late by nature and change nothing."""


def step(state: State, event: Event) -> Row:
    """Apply one event; return the new state and what the caller must now do.

    Raises:
        IllegalTransitionError: No row matches.
    """
    row = TABLE.get((state, event))
    if row is not None:
        return row
    if event in IGNORED.get(state, ()):
        return state, ()
    raise IllegalTransitionError(f"{event.name} cannot happen to an attempt that is {state.name}.")

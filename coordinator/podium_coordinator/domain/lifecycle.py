"""The life of runs, task runs and attempts: every transition there is, in one file. Pure.

Events come in as calls, what follows goes out as data in `Effects`. The tables say which transitions exist; `_move`
and `_end_attempt` refuse all others, so a fault shows where it is made and not three tables later.

A report about an attempt counts only while that attempt is the current one of its task run, under its token, from its
agent. All else is stale: the caller answers it so and nothing changes.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from uuid import UUID

from podium.model.rules import Verdict, judge
from podium.model.spec import TriggerRule
from podium_coordinator.domain.graph import RULES
from podium_coordinator.domain.ids import fraction
from podium_coordinator.domain.records import (
    AttemptBorn,
    AttemptEnded,
    AttemptRuns,
    Failure,
    RunCancelling,
    RunEnded,
    RunStarted,
    TaskRunEnded,
)
from podium_coordinator.domain.retry import LONGEST_WAIT, POISONOUS, Tries, charge, next_delay
from podium_coordinator.domain.run import (
    CODES,
    PENDING,
    SCHEDULED,
    STATES,
    TERMINAL_CODES,
    Effects,
    LiveAttempt,
    Released,
    RetryTimer,
    Run,
    StartTimer,
    StopAttempt,
)
from podium_coordinator.domain.states import AttemptState, FailureKind, RunState, TaskRunState

A, R, T = AttemptState, RunState, TaskRunState

ATTEMPT_TRANSITIONS: dict[AttemptState, frozenset[AttemptState]] = {
    A.ASSIGNED: frozenset(
        {A.RUNNING, A.SUCCEEDED, A.FAILED, A.TIMED_OUT, A.LOST, A.CANCELLED, A.UNKNOWN, A.TAKEN_BACK, A.SKIPPED}
    ),
    A.RUNNING: frozenset({A.SUCCEEDED, A.FAILED, A.TIMED_OUT, A.LOST, A.CANCELLED, A.UNKNOWN, A.SKIPPED}),
}

TASK_RUN_TRANSITIONS: dict[TaskRunState, frozenset[TaskRunState]] = {
    T.PENDING: frozenset({T.SCHEDULED, T.SKIPPED, T.UPSTREAM_FAILED, T.CANCELLED}),
    T.SCHEDULED: frozenset({T.ASSIGNED, T.FAILED, T.CANCELLED}),
    T.ASSIGNED: frozenset(
        {T.RUNNING, T.SCHEDULED, T.RETRYING, T.SUCCEEDED, T.FAILED, T.SKIPPED, T.CANCELLED, T.UNKNOWN}
    ),
    T.RUNNING: frozenset(
        {T.WAITING, T.SCHEDULED, T.RETRYING, T.SUCCEEDED, T.FAILED, T.SKIPPED, T.CANCELLED, T.UNKNOWN}
    ),
    T.WAITING: frozenset({T.SCHEDULED, T.SUCCEEDED, T.FAILED, T.SKIPPED, T.CANCELLED}),
    T.RETRYING: frozenset({T.SCHEDULED, T.CANCELLED}),
}

RUN_TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    R.QUEUED: frozenset({R.RUNNING, R.CANCELLED}),
    R.RUNNING: frozenset({R.PAUSED, R.CANCELLING, R.SUCCEEDED, R.FAILED, R.CANCELLED}),
    R.PAUSED: frozenset({R.RUNNING, R.CANCELLING, R.CANCELLED, R.FAILED}),
    R.CANCELLING: frozenset({R.CANCELLED, R.FAILED}),
}

BAD = frozenset({T.FAILED, T.UPSTREAM_FAILED, T.UNKNOWN})

ALL_SUCCESS = RULES.index(TriggerRule.ALL_SUCCESS)

_REACHED = tuple(frozenset(CODES[after] for after in TASK_RUN_TRANSITIONS.get(state, ())) for state in STATES)
"""TASK_RUN_TRANSITIONS by code."""


class IllegalTransitionError(Exception):
    """A fault of ours: no row of a table above allows the step."""


class Answer(Enum):
    """What an agent's report about an attempt is worth."""

    ACCEPTED = auto()
    STALE = auto()


@dataclass(slots=True)
class Speaker:
    """Who reports about which attempt of a task run."""

    index: int
    number: int
    token: bytes
    agent_id: UUID


@dataclass(slots=True)
class Finish:
    """How an attempt ended, in its agent's words. `retry_after` in seconds, None to leave the wait to the policy."""

    state: AttemptState
    started_at: datetime | None = None
    output: bytes | None = None
    failure: Failure | None = None
    no_retry: bool = False
    retry_after: float | None = None
    log: bytes | None = None
    log_bytes: int = 0
    blobs: tuple[tuple[bytes, int, str], ...] = ()


# A run begins.


def start(run: Run, now: datetime, effects: Effects) -> None:
    """Take up a queued run: what waits for nothing becomes ready."""
    _move_run(run, R.RUNNING)
    effects.runs_started.append(RunStarted(run.run_id, now))
    _judge_roots(run, now, effects)
    finish_run_if_done(run, now, effects)


def _judge_roots(run: Run, now: datetime, effects: Effects) -> None:
    for index in run.graph.roots:
        if run.graph.parents[index] == 0:
            ready(run, index, effects)
        else:
            apply_verdict(run, index, judge(run.graph.rule(index), run.tally(index)), now, effects)


# An attempt's life.


def assign(run: Run, index: int, token: bytes, agent_id: UUID, now: datetime, effects: Effects) -> LiveAttempt:
    """Give a scheduled task run's next attempt to an agent."""
    if run.state is not R.RUNNING:
        raise IllegalTransitionError(f"Run {run.run_id} is {run.state}; it starts nothing.")
    _move(run, index, T.ASSIGNED, effects)
    run.numbers[index] += 1
    attempt = LiveAttempt(run.numbers[index], token, agent_id, now)
    run.attempts[index] = attempt
    effects.attempts_born.append(
        AttemptBorn(run.run_id, run.task_of(index), run.map_index_of(index), attempt.number, token, agent_id, now)
    )
    return attempt


def report_started(run: Run, speaker: Speaker, at: datetime, effects: Effects) -> Answer:
    """Note that an attempt began to execute. Repeats change nothing."""
    attempt = _current(run, speaker)
    if attempt is None:
        return Answer.STALE
    if attempt.state is A.ASSIGNED:
        attempt.state, attempt.started_at = A.RUNNING, at
        _move(run, speaker.index, T.RUNNING, effects)
        effects.attempts_running.append(
            AttemptRuns(
                run.run_id,
                run.task_of(speaker.index),
                run.map_index_of(speaker.index),
                attempt.number,
                attempt.token,
                at,
            )
        )
    return Answer.ACCEPTED


def report_finished(run: Run, speaker: Speaker, finish: Finish, now: datetime, effects: Effects) -> Answer:
    """Accept an attempt's end, and decide what follows."""
    if _current(run, speaker) is None:
        return Answer.STALE
    index = speaker.index
    match finish.state:
        case A.SUCCEEDED:
            _end_attempt(run, index, finish, now, effects)
            _end(run, index, T.SUCCEEDED, now, effects)
        case A.SKIPPED:
            _end_attempt(run, index, finish, now, effects)
            _end(run, index, T.SKIPPED, now, effects)
        case A.CANCELLED if run.state is R.CANCELLING:
            _end_attempt(run, index, finish, now, effects)
            _end(run, index, T.CANCELLED, now, effects)
        case A.CANCELLED:
            stopped = finish.failure or Failure(FailureKind.PREEMPTED, "The agent stopped the attempt.")
            stopped = replace(stopped, kind=FailureKind.PREEMPTED)
            _fail(run, index, replace(finish, state=A.FAILED, output=None, failure=stopped), now, effects)
        case A.FAILED | A.TIMED_OUT:
            kind = FailureKind.INTERNAL if finish.state is A.FAILED else FailureKind.TIMEOUT_RUN
            failure = finish.failure or Failure(kind, "The agent gave no reason.")
            _fail(run, index, replace(finish, output=None, failure=failure), now, effects)
        case _:
            raise IllegalTransitionError(f"No agent may report an attempt as {finish.state}.")
    return Answer.ACCEPTED


def report_returned(run: Run, speaker: Speaker, now: datetime, effects: Effects) -> Answer:
    """Take an attempt back that never started: it costs no retry."""
    attempt = _current(run, speaker)
    if attempt is None or attempt.state is not A.ASSIGNED:
        return Answer.STALE
    index = speaker.index
    _end_attempt(run, index, Finish(A.TAKEN_BACK), now, effects)
    if run.state is R.CANCELLING:
        _end(run, index, T.CANCELLED, now, effects)
    else:
        ready(run, index, effects)
    return Answer.ACCEPTED


def lose(run: Run, index: int, reason: str, now: datetime, effects: Effects) -> None:
    """Declare a live attempt lost: its agent is gone, or came back without it."""
    downs = run.tries.get(index, Tries()).downs + 1
    if downs >= POISONOUS and run.attempts[index].started_at is not None:
        reason += f" The task was executing on {downs} agents when they were lost; it is not given to another one."
    finish = Finish(A.LOST, run.attempts[index].started_at, failure=Failure(FailureKind.AGENT_LOST, reason))
    _fail(run, index, finish, now, effects)


# Time passes.


def retry_due(run: Run, index: int, number: int, effects: Effects) -> None:
    """The wait before a task run's next try is over. Void if anything happened since."""
    if run.state is R.RUNNING and run.state_of(index) is T.RETRYING and run.numbers[index] == number:
        ready(run, index, effects)


def start_expired(run: Run, index: int, number: int, now: datetime, effects: Effects) -> None:
    """A task run has waited for capacity as long as it may. Void if anything happened since."""
    if run.state is not R.RUNNING or run.numbers[index] != number or run.state_of(index) is not T.SCHEDULED:
        return
    limit = run.graph.terms_for(run.task_of(index)).start_timeout
    failure = Failure(FailureKind.TIMEOUT_START, f"No agent had room for it within its start timeout of {limit:g} s.")
    _record_end(run, index, T.FAILED, now, failure, effects)
    _end(run, index, T.FAILED, now, effects)


def run_expired(run: Run, now: datetime, effects: Effects) -> None:
    """A run has taken as long as it may: it fails once what is live has been stopped."""
    if run.state is R.RUNNING:
        _stop(run, R.FAILED, f"The run took longer than its timeout of {run.graph.run_timeout:g} s.", now, effects)


# A user speaks.


def cancel(run: Run, reason: str, now: datetime, effects: Effects) -> bool:
    """Cancel a run: nothing new starts, live attempts are stopped. Returns False if it was bound to end already."""
    if run.state is R.QUEUED:
        run.outcome, run.reason = R.CANCELLED, reason
        _cancel_waiting(run, effects)
        _end_run(run, R.CANCELLED, now, effects)
        return True
    if run.state not in (R.RUNNING, R.PAUSED):
        return False
    _stop(run, R.CANCELLED, reason, now, effects)
    return True


def _stop(run: Run, outcome: RunState, reason: str, now: datetime, effects: Effects) -> None:
    _move_run(run, R.CANCELLING)
    run.outcome, run.reason = outcome, reason
    _cancel_waiting(run, effects)
    for index, attempt in run.attempts.items():
        effects.stops.append(StopAttempt(run.run_id, index, attempt))
    if run.attempts:
        effects.runs_cancelling.append(RunCancelling(run.run_id, reason, outcome))
    else:
        _end_run(run, outcome, now, effects)


def _cancel_waiting(run: Run, effects: Effects) -> None:
    """End, without a row each, all that has no attempt: a task run of such a run without a row is cancelled."""
    for index, code in enumerate(run.states):
        if code not in TERMINAL_CODES and index not in run.attempts:
            _move(run, index, T.CANCELLED, effects)
            run.unended -= 1


# What follows from an end.


def _fail(run: Run, index: int, finish: Finish, now: datetime, effects: Effects) -> None:
    failure = finish.failure
    assert failure is not None  # noqa: S101 - every caller gives one; for the type checker
    delay = None if run.state is R.CANCELLING else _delay(run, index, finish, failure.kind)
    if delay is None:
        _end_attempt(run, index, finish, now, effects)
        _end(run, index, T.FAILED, now, effects)
    elif delay <= 0:
        _end_attempt(run, index, finish, now, effects, retry_at=now)
        ready(run, index, effects)
    else:
        _end_attempt(run, index, finish, now, effects, retry_at=now + timedelta(seconds=delay))
        _move(run, index, T.RETRYING, effects)
        effects.retry_timers.append(RetryTimer(run.run_id, index, run.numbers[index], delay))


def _delay(run: Run, index: int, finish: Finish, kind: FailureKind) -> float | None:
    tries = run.tries.setdefault(index, Tries())
    charge(tries, kind, executing=run.attempts[index].started_at is not None)
    policy = run.graph.terms_for(run.task_of(index)).retry
    jitter = fraction(run.run_id.bytes, index.to_bytes(4, "big"), run.numbers[index].to_bytes(4, "big"))
    delay = next_delay(policy, tries, kind, jitter)
    if delay is None or finish.no_retry:
        return None
    return min(delay if finish.retry_after is None else finish.retry_after, LONGEST_WAIT)


def _end_attempt(
    run: Run, index: int, finish: Finish, now: datetime, effects: Effects, retry_at: datetime | None = None
) -> None:
    attempt = run.attempts[index]
    if finish.state not in ATTEMPT_TRANSITIONS.get(attempt.state, ()):
        raise IllegalTransitionError(f"An attempt goes not from {attempt.state} to {finish.state}.")
    del run.attempts[index]
    effects.attempts_ended.append(
        AttemptEnded(
            run_id=run.run_id,
            task=run.task_of(index),
            map_index=run.map_index_of(index),
            number=attempt.number,
            token=attempt.token,
            state=finish.state,
            at=now,
            started_at=finish.started_at or attempt.started_at,
            output=finish.output,
            failure=finish.failure,
            closes=retry_at is None and finish.state is not A.TAKEN_BACK,
            retry_at=retry_at,
            log=finish.log,
            log_bytes=finish.log_bytes,
            blobs=finish.blobs,
        )
    )
    effects.released.append(Released(run.run_id, index, attempt))


def _end(run: Run, index: int, state: TaskRunState, now: datetime, effects: Effects) -> None:
    """End a task run, judge those behind it, and end the run with its last one."""
    _settle(run, index, state, effects)
    spread(run, index, now, effects)
    finish_run_if_done(run, now, effects)


def spread(run: Run, index: int, now: datetime, effects: Effects) -> None:
    """Judge the task runs behind one that ended, and those behind what that ends."""
    fallen = deque([index])
    while fallen:
        fallen += _tell_children(run, fallen.popleft(), now, effects)


def _settle(run: Run, index: int, state: TaskRunState, effects: Effects) -> None:
    _move(run, index, state, effects)
    run.unended -= 1
    if state in BAD and run.graph.decisive[run.task_of(index)]:
        run.doomed = True


def _tell_children(run: Run, index: int, now: datetime, effects: Effects) -> list[int]:
    """Count an end for the task runs behind it; return those that ended by that alone."""
    ended = run.state_of(index)
    if run.state is R.CANCELLING or ended is T.CANCELLED:
        return []
    counts, graph = column(run, ended), run.graph
    fallen, begin = [], []
    for child in graph.children_of(run.task_of(index)):
        counts[child] += 1
        if run.states[child] != PENDING:
            continue
        if ended is T.SUCCEEDED and graph.rules[child] == ALL_SUCCESS:
            # By far the most frequent case, judged here: any other end among its upstreams would have ended it.
            if counts[child] == graph.parents[child]:
                begin.append(child)
        elif apply_verdict(run, child, judge(graph.rule(child), run.tally(child)), now, effects):
            fallen.append(child)
    if begin:
        _ready_all(run, begin, effects)
    return fallen


def column(run: Run, ended: TaskRunState) -> array[int]:
    """Return the count, per task run, of direct upstreams that ended so."""
    match ended:
        case T.SUCCEEDED:
            return run.succeeded
        case T.SKIPPED:
            return run.skipped
        case T.UPSTREAM_FAILED:
            return run.upstream_failed
        case _:
            return run.failed


def apply_verdict(run: Run, index: int, verdict: Verdict, now: datetime, effects: Effects) -> bool:
    """Do what a trigger rule says of a pending task run; return whether that ended it."""
    match verdict:
        case Verdict.WAIT:
            return False
        case Verdict.START:
            ready(run, index, effects)
            return False
        case Verdict.SKIP:
            state = T.SKIPPED
        case Verdict.UPSTREAM_FAILED:
            state = T.UPSTREAM_FAILED
    _record_end(run, index, state, now, None, effects)
    _settle(run, index, state, effects)
    return True


def ready(run: Run, index: int, effects: Effects) -> None:
    """Let a task run wait for capacity."""
    _move(run, index, T.SCHEDULED, effects)
    effects.ready.append((run, index))
    if run.graph.starts_limited:
        _limit_wait(run, index, effects)


def _ready_all(run: Run, indexes: list[int], effects: Effects) -> None:
    """Let pending task runs wait for capacity: as `ready`, for the hundred thousand that one end may free."""
    _move_all(run, indexes, PENDING, SCHEDULED)
    items = [(run, index) for index in indexes]
    effects.changed += items
    effects.ready += items
    if run.graph.starts_limited:
        for index in indexes:
            _limit_wait(run, index, effects)


def _limit_wait(run: Run, index: int, effects: Effects) -> None:
    limit = run.graph.terms_for(run.task_of(index)).start_timeout
    if limit is not None:
        effects.start_timers.append(StartTimer(run.run_id, index, run.numbers[index], limit))


def _record_end(
    run: Run, index: int, state: TaskRunState, now: datetime, failure: Failure | None, effects: Effects
) -> None:
    effects.task_runs_ended.append(
        TaskRunEnded(run.run_id, run.task_of(index), run.map_index_of(index), state, now, failure)
    )


def finish_run_if_done(run: Run, now: datetime, effects: Effects) -> None:
    """End a run with its last task run."""
    if run.unended or run.state not in (R.RUNNING, R.CANCELLING):
        return
    if run.state is R.CANCELLING:
        assert run.outcome is not None  # noqa: S101 - set by _stop; for the type checker
        _end_run(run, run.outcome, now, effects)
    else:
        _end_run(run, R.FAILED if run.doomed else R.SUCCEEDED, now, effects)


def _end_run(run: Run, state: RunState, now: datetime, effects: Effects) -> None:
    _move_run(run, state)
    effects.runs_ended.append(RunEnded(run.run_id, state, run.reason, now, run.tallied()))


# The only places where a state is written.


def _move(run: Run, index: int, state: TaskRunState, effects: Effects) -> None:
    before, code = run.states[index], CODES[state]
    if code not in _REACHED[before]:
        raise IllegalTransitionError(f"Task run {index} of {run.run_id} goes not from {STATES[before]} to {state}.")
    run.states[index] = code
    run.counts[before] -= 1
    run.counts[code] += 1
    effects.changed.append((run, index))


def _move_all(run: Run, indexes: list[int], before: int, code: int) -> None:
    """Move task runs that are known to be in one state, and not twice the same, by the states' codes."""
    if code not in _REACHED[before]:
        raise IllegalTransitionError(f"Task runs of {run.run_id} go not from {STATES[before]} to {STATES[code]}.")
    states = run.states
    for index in indexes:
        states[index] = code
    run.counts[before] -= len(indexes)
    run.counts[code] += len(indexes)


def _move_run(run: Run, state: RunState) -> None:
    if state not in RUN_TRANSITIONS.get(run.state, ()):
        raise IllegalTransitionError(f"Run {run.run_id} goes not from {run.state} to {state}.")
    run.state = state


def _current(run: Run, speaker: Speaker) -> LiveAttempt | None:
    attempt = run.attempts.get(speaker.index)
    if (
        attempt is None
        or attempt.number != speaker.number
        or attempt.token != speaker.token
        or attempt.agent_id != speaker.agent_id
    ):
        return None
    return attempt

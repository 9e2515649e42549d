"""Faults put into the product one at a time, each the loss of one guard or of one piece of book-keeping.

A simulation that does not find them would not find real ones either. Guards that only repeat another one are left out:
no run can show their loss. Each has a unit test of its own.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Protocol

from podium.model import rules
from podium_coordinator.domain import fleet, lifecycle, placement, reload, retry, seating

PATCHED = ("podium_coordinator.domain.", "podium.model.", "tests.unit.domain.simulation.")


class Setter(Protocol):
    """Sets an attribute until the end of a test."""

    def __call__(self, target: object, name: str, value: object) -> None: ...


@dataclass(frozen=True)
class Mutant:
    """A function of the product with one piece of its source replaced."""

    name: str
    function: Callable[..., object]
    old: str
    new: str

    def plant(self, setter: Setter) -> None:
        """Put the fault in wherever the function is known."""
        original, mutated = self.function, self._mutated()
        owner = original.__qualname__.rpartition(".")[0]
        if owner:
            setter(getattr(sys.modules[original.__module__], owner), original.__name__, mutated)
            return
        modules = [module for name, module in sys.modules.items() if name.startswith(PATCHED)]
        for module in modules:
            for name, value in list(vars(module).items()):
                if value is original:
                    setter(module, name, mutated)
                elif isinstance(value, dict) and original in value.values():
                    setter(module, name, {key: mutated if of is original else of for key, of in value.items()})

    def _mutated(self) -> FunctionType:
        assert isinstance(self.function, FunctionType)
        source = textwrap.dedent(inspect.getsource(self.function))
        found = source.count(self.old)
        assert found == 1, (
            f"{self.name}: {self.old!r} is {found} times in {self.function.__qualname__}; bring it up to date"
        )
        text = "from __future__ import annotations\n" + source.replace(self.old, self.new)
        code = compile(text, f"<{self.name}>", "exec", dont_inherit=True)
        made: dict[str, FunctionType] = {}
        exec(code, self.function.__globals__, made)  # noqa: S102 - our own source with one of our own changes
        return made[self.function.__name__]


def without(function: Callable[..., object], piece: str, name: str, instead: str = "") -> Mutant:
    return Mutant(name, function, piece, instead)


L, P = lifecycle, placement
MUTANTS = [
    # Who may speak.
    without(L._current, "attempt.token != speaker.token", "token not checked", "False"),
    without(L._current, "attempt.number != speaker.number", "number not checked", "False"),
    without(L._current, "attempt.agent_id != speaker.agent_id", "agent not checked", "False"),
    without(L.report_returned, "or attempt.state is not A.ASSIGNED", "running attempt taken back"),
    without(L.report_started, "if attempt.state is A.ASSIGNED:", "repeated start told again", "if True:"),
    # Timers that ring late.
    without(L.retry_due, "run.state_of(index) is T.RETRYING and ", "retry whatever the state"),
    without(L.retry_due, " and run.numbers[index] == number", "retry by an old timer"),
    without(L.start_expired, "run.numbers[index] != number or ", "start timeout by an old timer"),
    without(L.start_expired, " or run.state_of(index) is not T.SCHEDULED", "start timeout whatever the state"),
    without(L.run_expired, "if run.state is R.RUNNING:", "run timeout whatever the state", "if True:"),
    # Books.
    without(L.assign, "run.numbers[index] += 1", "attempts not numbered", "run.numbers[index] = 1"),
    without(L._tell_children, "counts[child] += 1", "upstream ends not counted", "pass"),
    without(L._tell_children, "if run.states[child] != PENDING:", "children judged twice", "if False:"),
    without(L._settle, "run.unended -= 1", "ends not counted", "pass"),
    without(L._settle, "run.doomed = True", "decisive failure forgotten", "pass"),
    without(L._settle, " and run.graph.decisive[run.task_of(index)]", "any failure decisive"),
    without(L._cancel_waiting, "run.unended -= 1", "cancelled task runs not counted", "pass"),
    without(L._move, "run.counts[before] -= 1", "states miscounted", "pass"),
    without(L.spread, "fallen += _tell_children", "failures told to children only", "_tell_children"),
    without(L._end_attempt, "effects.released.append", "capacity not released", "list().append"),
    without(L._end_attempt, "retry_at is None and ", "every end closes"),
    without(L._end_attempt, "retry_at=retry_at,", "retry not stored"),
    without(L.report_started, "_move(run, speaker.index, T.RUNNING, effects)", "start not noted", "pass"),
    without(L._fail, "effects.retry_timers.append", "retry timer not set", "list().append"),
    without(L.ready, "effects.ready.append", "ready task run not queued", "list().append"),
    without(L._limit_wait, "effects.start_timers.append", "start timer not set", "list().append"),
    without(L._ready_all, "effects.ready += items", "ready task runs not queued", "pass"),
    without(L._move_all, "run.counts[code] += len(indexes)", "states miscounted together", "pass"),
    without(L._record_end, "effects.task_runs_ended.append", "end without attempt not stored", "list().append"),
    # Budgets and waits.
    without(
        L._delay,
        "charge(tries, kind, executing=run.attempts[index].started_at is not None)",
        "failures not charged",
        "pass",
    ),
    without(L._delay, " or finish.no_retry", "giving up ignored"),
    without(retry.next_delay, "tries.failures > policy.retries", "own budget without end", "False"),
    without(
        retry.next_delay, "tries.failures > policy.retries", "one retry too many", "tries.failures > policy.retries + 1"
    ),
    without(
        retry.next_delay, "tries.failures > policy.retries", "one retry too few", "tries.failures >= policy.retries"
    ),
    without(retry.next_delay, " if tries.losses <= INFRASTRUCTURE_BUDGET else None", "losses without end"),
    without(retry.next_delay, "kind in NEVER_RETRIED", "rejected input retried", "False"),
    without(retry.charge, "kind in INFRASTRUCTURE", "losses charged to the task", "False"),
    without(retry.backoff, "min(failures - 1, 1_000)", "back-off grows too soon", "failures"),
    # Cancelling.
    without(L._stop, "_cancel_waiting(run, effects)", "waiting task runs not cancelled", "pass"),
    without(L._stop, "effects.stops.append", "live attempts not stopped", "list().append"),
    without(L._stop, "run.outcome, run.reason = outcome, reason", "outcome forgotten", "run.outcome = R.CANCELLED"),
    without(L._stop, "effects.runs_cancelling.append", "cancel not stored", "list().append"),
    without(L._fail, "None if run.state is R.CANCELLING else ", "retry in a run being cancelled"),
    without(L.finish_run_if_done, "if run.unended or", "run ended early", "if"),
    # Rules.
    without(rules._all_success, "if tally.bad:", "failure ignored", "if False:"),
    without(rules._all_failed, " or tally.skipped", "skip taken for failure"),
    without(rules._one_done, " or tally.failed", "failure not done"),
    without(rules._none_failed_min_one_success, "tally.skipped == tally.total", "started after skips alone", "False"),
    without(rules._all_done_min_one_success, "and not tally.succeeded", "waits for ever", "and False"),
    # Coming back.
    without(
        reload._take_attempt,
        "charge(tries, attempt.failure.kind, executing=attempt.started_at is not None)",
        "budgets renewed",
        "pass",
    ),
    without(reload._take_attempt, "run.numbers[index] = attempt.number", "numbers begin anew", "pass"),
    without(reload._recount, "tally[child] += 1", "upstream ends forgotten", "pass"),
    without(reload._recount, "run.unended += 1", "nothing left to do", "pass"),
    without(reload._recount, "run.doomed = ", "decisive failure forgotten by a new owner", "_ = "),
    without(
        reload._resume,
        "if run.numbers[index]:",
        "taken back and forgotten",
        "if run.numbers[index]: pass\n        elif False:",
    ),
    without(reload._resume, "effects.retry_timers.append", "retry forgotten by a new owner", "list().append"),
    without(reload._cancel_rest, "and index not in run.attempts", "live attempt forgotten"),
    without(reload.reload, "_cancel_rest(run)", "cancel forgotten by a new owner", "pass"),
    without(reload.reload, "run.state, run.outcome, run.reason = ", "reason forgotten", "run.state, run.outcome, _ = "),
    # Placement and agents.
    without(
        seating.Seat.room, "self.cpu_used + needs.cpu_millis <= self.cpu_millis * window", "cpu overcommitted", "True"
    ),
    without(
        seating.Seat.room,
        "self.memory_used + needs.memory_bytes <= self.memory_bytes * window",
        "memory overcommitted",
        "True",
    ),
    without(seating.Seat.could_ever_fit, "self.labels.issuperset(needs.agent_labels)", "labels ignored", "True"),
    without(seating.Seat.release, "self.cpu_used -= needs.cpu_millis", "cpu leaks", "pass"),
    without(P.ReadyQueue.first, "run.states[waiting[0]] == SCHEDULED", "stale queue entry placed", "True"),
    without(P.ReadyQueue.pop, "turns[run_id] = (run, waiting)", "rest of a run dropped", "pass"),
    without(seating.Bench.top, "seat.open and ", "closed agent given work"),
    without(seating.Seat.release, "self.note()", "room that came free forgotten", "pass"),
    without(L._tell_children, "if counts[child] == graph.parents[child]:", "started before all succeeded", "if True:"),
    without(fleet.Fleet._lost_at, "self.terms.lost_after", "lost too early", "self.terms.disconnected_after"),
    without(fleet.Fleet.hear, "agent.last_heard = now", "deaf to heartbeats", "pass"),
    without(fleet.Fleet._deadline, "held_back = braked and", "reviews without end", "held_back = False and"),
]

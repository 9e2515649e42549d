"""What the shard loop says once a batch is committed, and what it then forgets."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from podium_coordinator.app.board import Board, attempt_name
from podium_coordinator.app.events import Replies, RetryDue, StartExpired
from podium_coordinator.app.live import LiveRun, task_run_record
from podium_coordinator.app.timers import Timers
from podium_coordinator.app.tracing import Tracing
from podium_coordinator.app.watch import Watchers
from podium_coordinator.domain.records import AttemptEnded, TaskRunEnded, TaskRunRecord
from podium_coordinator.domain.run import TERMINAL_CODES, Effects, Run
from podium_coordinator.domain.states import RunState


class Speech:
    """Performs the effects of a committed batch."""

    def __init__(self, board: Board, watchers: Watchers, timers: Timers, tracing: Tracing) -> None:
        self._board = board
        self._watchers = watchers
        self._timers = timers
        self._tracing = tracing

    def speak(self, effects: Effects, replies: Replies, epoch: int) -> None:
        """Tell agents and watchers, set timers, let go of what ended."""
        self._answer_agents(effects, replies, epoch)
        self._set_timers(effects)
        self._let_go(effects)
        touched = list({id(run): run for run, _ in effects.changed}.values())
        self._settle_runs(effects, touched)
        self._tell_watchers(effects, touched)
        self._tracing.committed(self._board, effects)
        self._forget(effects)

    def _answer_agents(self, effects: Effects, replies: Replies, epoch: int) -> None:
        for link in replies.welcomed:
            link.welcome(epoch)
        for link, name in replies.stale:
            link.stale(name)
        for link, name in replies.cancels:
            link.cancel(name)
        for link, sequence in replies.committed.items():
            link.committed(sequence)
        for agent_id, orders in replies.orders.items():
            to = self._board.links.get(agent_id)
            if to is not None:
                to.assign(orders)
        for stop in effects.stops:
            to = self._board.links.get(stop.attempt.agent_id)
            if to is not None:
                run = self._board.runs[stop.run_id].run
                to.cancel(attempt_name(run, stop.index, stop.attempt))

    def _set_timers(self, effects: Effects) -> None:
        for retry in effects.retry_timers:
            self._timers.after(retry.delay, RetryDue(retry.run_id, retry.index, retry.number))
        for wait in effects.start_timers:
            self._timers.after(wait.delay, StartExpired(wait.run_id, wait.index, wait.number))

    def _let_go(self, effects: Effects) -> None:
        """Drop results that nobody waits for any more."""
        ended = {
            (run.run_id, index)
            for run, index in effects.changed
            if index in run.graph.inputs and run.states[index] in TERMINAL_CODES
        }
        for run_id, index in ended:
            self._board.runs[run_id].let_go(index)

    def _settle_runs(self, effects: Effects, touched: list[Run]) -> None:
        for started in effects.runs_started:
            live = self._board.runs[started.run_id]
            live.record = replace(live.record, state=RunState.RUNNING, started_at=started.at)
        for stopping in effects.runs_cancelling:
            live = self._board.runs[stopping.run_id]
            live.record = replace(
                live.record, state=RunState.CANCELLING, reason=stopping.reason, outcome=stopping.outcome
            )
        for ended in effects.runs_ended:
            live = self._board.runs[ended.run_id]
            live.record = replace(
                live.record, state=ended.state, reason=ended.reason, finished_at=ended.at, counts=ended.counts
            )
        for run in touched:
            self._board.runs[run.run_id].counts = run.tallied()

    def _tell_watchers(self, effects: Effects, touched: list[Run]) -> None:
        changed: dict[UUID, set[int]] = {}
        for run, index in effects.changed if self._watchers.any_in_detail else ():
            if self._watchers.watched_in_detail(run.run_id):
                changed.setdefault(run.run_id, set()).add(index)
        moved = [run.run_id for run in touched]
        moved += [row.run_id for row in effects.runs_started]
        moved += [row.run_id for row in effects.runs_cancelling]
        moved += [row.run_id for row in effects.runs_ended]
        for run_id in filter(self._watchers.watched, moved):
            changed.setdefault(run_id, set())
        ends = _ends(effects) if changed else {}
        for run_id, indexes in changed.items():
            live = self._board.runs[run_id]
            records = [self._record(live, index, ends) for index in sorted(indexes)]
            self._watchers.tell(live.record, live.counts, records)

    def _record(
        self, live: LiveRun, index: int, ends: dict[tuple[UUID, int, int], AttemptEnded | TaskRunEnded]
    ) -> TaskRunRecord:
        run = live.run
        ended = ends.get((run.run_id, run.task_of(index), run.map_index_of(index)))
        attempt = run.attempts.get(index)
        return task_run_record(live, index, self._board.agent_name(attempt.agent_id) if attempt else "", ended)

    def _forget(self, effects: Effects) -> None:
        for ended in effects.runs_ended:
            self._board.forget(ended.run_id)


def _ends(effects: Effects) -> dict[tuple[UUID, int, int], AttemptEnded | TaskRunEnded]:
    ends: dict[tuple[UUID, int, int], AttemptEnded | TaskRunEnded] = {}
    for row in effects.attempts_ended:
        ends[row.run_id, row.task, row.map_index] = row
    for end in effects.task_runs_ended:
        ends[end.run_id, end.task, end.map_index] = end
    return ends

"""The guards of the product, each taken away by one mutant: a simulation that misses that would miss real faults.

Guards that only repeat another one are left out: no world can show their loss. Each has a unit test of its own.
"""

from __future__ import annotations

from podium.model import rules
from podium_agent.domain import admission
from podium_coordinator.app import board, owner, reports, shard, speech, takeover
from podium_coordinator.domain import fleet, lifecycle, placement, reload, retry, seating
from tests.simulation import store
from tests.simulation.mutants import without

L, P, S = lifecycle, placement, seating
DOMAIN = [
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
    without(L._tell_children, "if counts[child] == graph.parents[child]:", "started before all succeeded", "if True:"),
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
    without(L._ready_all, "effects.ready += items", "ready task runs not queued", "pass"),
    without(L._move_all, "run.counts[code] += len(indexes)", "states miscounted together", "pass"),
    without(L._limit_wait, "effects.start_timers.append", "start timer not set", "list().append"),
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
    without(retry.next_delay, "tries.downs >= POISONOUS", "poisonous task let loose", "False"),
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
    without(S.Seat.room, "self.cpu_used + needs.cpu_millis <= self.cpu_millis * window", "cpu overcommitted", "True"),
    without(
        S.Seat.room,
        "self.memory_used + needs.memory_bytes <= self.memory_bytes * window",
        "memory overcommitted",
        "True",
    ),
    without(S.Seat.could_ever_fit, "self.labels.issuperset(needs.agent_labels)", "labels ignored", "True"),
    without(S.Seat.release, "self.cpu_used -= needs.cpu_millis", "cpu leaks", "pass"),
    without(P.ReadyQueue.first, "run.states[waiting[0]] == SCHEDULED", "stale queue entry placed", "True"),
    without(P.ReadyQueue.pop, "turns[run_id] = (run, waiting)", "rest of a run dropped", "pass"),
    without(S.Bench.top, "seat.open and ", "closed agent given work"),
    without(S.Seat.release, "self.note()", "room that came free forgotten", "pass"),
    without(fleet.Fleet._lost_at, "self.terms.lost_after", "lost too early", "self.terms.disconnected_after"),
    without(fleet.Fleet.hear, "agent.last_heard = now", "deaf to heartbeats", "pass"),
    without(fleet.Fleet._deadline, "held_back = braked and", "reviews without end", "held_back = False and"),
]

COMMIT = "await self._journal.commit(self.epoch, batch)"
APPLICATION = [
    # Commit before you speak.
    without(
        shard.Shard.turn,
        f"        {COMMIT}\n    self._speech.speak(effects, replies, self.epoch)",
        "speaks before it commits",
        f"        self._speech.speak(effects, replies, self.epoch)\n        {COMMIT}",
    ),
    without(
        shard.Shard.turn,
        COMMIT,
        "unknown outcome taken for success",
        f"await asyncio.gather({COMMIT.removeprefix('await ')}, return_exceptions=True)",
    ),
    without(shard.Shard.turn, "batch.agents_changed += ", "agents not stored", "_ = "),
    without(shard.Shard._fill_batch, "batch.attempts_ended += effects.attempts_ended", "ends not stored", "pass"),
    without(
        shard.Shard._arrive,
        "if live.run_id in self.board.runs or live.run_id in self.board.ended:",
        "run taken up twice",
        "if False:",
    ),
    without(shard.Shard._arrive, "self.board.hold(live, instant)", "attempts read back hold nobody", "pass"),
    without(shard.Shard._arrive, "effects.merge(event.effects)", "what rows leave to be done is not done", "pass"),
    without(shard.Shard._arrive, "max(0.0, live.run.graph.run_timeout - since)", "run timeout too early", "0.5"),
    without(shard.Shard._apply_to_run, "batch.commands_applied.append(event.command_id)", "command not marked", "pass"),
    without(
        shard.Shard._apply,
        "self._review_due(instant)",
        "silence judged before words that wait",
        "self._review(instant, now, effects, replies)",
    ),
    without(shard.Shard._watch_over, "if due is not None and", "silence never reviewed", "if False and"),
    # Fencing and takeover.
    without(store.Store.commit, "if epoch != self.epoch:", "no fence", "if False:"),
    without(store.Store._give, "self.epoch += 1", "epoch not raised", "pass"),
    without(owner.Owner._own, "await self._read_back(shard)", "rows not read back", "pass"),
    without(owner.Owner._own, "await expect_agents(shard, self._stores.pool)", "agents of before forgotten", "pass"),
    without(owner.Owner._renew, "if not await self._leadership.renew():", "lease not renewed", "if False:"),
    without(
        owner.Owner._take_up_commands,
        "if command.command_id not in shard.asked:",
        "command handed over twice",
        "if True:",
    ),
    without(owner.Owner._sweep_now_and_then, "self.wake()", "lost hints not found again", "pass"),
    without(takeover._rebuilt, "live.outputs.update", "outputs not read back", "dict().update"),
    without(
        takeover.read_back,
        "StoredRun(record, attempts, ended)",
        "ends without attempt not read back",
        "StoredRun(record, attempts, [])",
    ),
    without(takeover._attempts, "if len(page) < ATTEMPTS_PAGE:", "only the first page of attempts read", "if True:"),
    without(takeover.expect_agents, "if len(page) < PAGE:", "only the first page of agents read", "if True:"),
    without(reload._take_attempt, "if attempt.state in ATTEMPT_LIVE:", "live attempts not read back", "if False:"),
    # Books of the board.
    without(board.Board.release, "agent.seat.release(released.run_id, released.index)", "agent not released", "pass"),
    without(board.Board.fill, "seat.take(", "order holds nobody", "str("),
    without(board.Board.keep_outputs, "self.runs[ended.run_id].keep_output(ended)", "result not kept", "pass"),
    without(board.Board.forget, "self.queue.discard(run_id)", "ended run waits on", "pass"),
    without(speech.Speech.speak, "self._forget(effects)", "ended run kept", "pass"),
    without(speech.Speech._answer_agents, "to.cancel(", "stop not told", "str("),
    without(speech.Speech._answer_agents, "to.assign(orders)", "order not sent", "pass"),
    without(
        speech.Speech._set_timers,
        "self._timers.after(retry.delay, ",
        "retry timer too early",
        "self._timers.after(0.0, ",
    ),
    without(
        speech.Speech._set_timers,
        "self._timers.after(wait.delay, ",
        "start timer too early",
        "self._timers.after(0.0, ",
    ),
    # Sessions.
    without(
        reports._reconcile,
        "lose(live.run, index, CAME_BACK_WITHOUT, now, effects)\n        elif",
        "came back without it, kept",
        "pass\n        elif",
    ),
    without(reports._reconcile, "elif item_held is None:", "order lost on its way kept", "elif False:"),
    without(reports._reconcile, "if live.run.state is RunState.CANCELLING:", "cancel not told again", "if False:"),
    without(reports.said, "replies.committed[event.link] = event.sequence", "end not acknowledged", "pass"),
    without(reports.closed, "board.fleet.disconnect(agent)", "agent without session given work", "pass"),
    without(
        reports.closed,
        "if board.links.get(event.agent_id) is event.link:",
        "old session ends the new one",
        "if event.agent_id in board.links:",
    ),
    without(reports.review, "lose(board.runs", "lost agent keeps its attempts", "str(board.runs"),
    without(reports._end_earlier_session, "earlier.close(", "earlier session left open", "str("),
    # At the agent.
    without(
        admission.Admission.fits,
        "used.cpu_millis + demand.cpu_millis <= self._capacity.cpu_millis",
        "cpu overcommitted at the agent",
        "True",
    ),
    without(admission.Admission.admit, "self._held[token] = ", "executing attempt holds nothing"),
]
MUTANTS = [*DOMAIN, *APPLICATION]

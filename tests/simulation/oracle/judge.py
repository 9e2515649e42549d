"""All judges, by what they are told: commits, turns, words to agents, news for users."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from podium_coordinator.app.events import AttemptName
from podium_coordinator.domain.records import AttemptEnded, RunUpdate
from podium_coordinator.domain.states import AttemptState, RunState
from podium_coordinator.store.batch import Batch
from tests.simulation.oracle.ledger import Ledger
from tests.simulation.oracle.memory import MemoryJudge, Owned, Stopped
from tests.simulation.oracle.rows import RowJudge
from tests.simulation.tables import LIVE_ATTEMPT, LIVE_RUN, Tables
from tests.simulation.view import by_rows
from tests.simulation.violation import ViolationError, demand
from tests.unit.domain.semantics import ENDS

FAR = {RunState.QUEUED: 0, RunState.RUNNING: 1, RunState.CANCELLING: 2}


class Judge:
    """Holds the first violation: the product may swallow what is raised inside it."""

    def __init__(self, tables: Tables, lost_after: timedelta) -> None:
        self.ledger = Ledger()
        self.memory = MemoryJudge(tables)
        self.failure: ViolationError | None = None
        self.epoch = 0
        self._rows = RowJudge(tables, self.ledger)
        self._tables = tables
        self._lost_after = lost_after
        self._heard: dict[tuple[int, UUID], list[datetime]] = {}
        self._raised_at: datetime = tables.now()

    def fail(self, what: str) -> None:
        """Note a violation that cannot be raised where it is found."""
        self.failure = self.failure or ViolationError(what)

    def demand(self, holds: bool, what: str) -> None:
        """Note a violation, and raise it."""
        if not holds:
            self.fail(what)
            raise ViolationError(what)

    # The store.

    def epoch_raised(self, epoch: int) -> None:
        self.demand(epoch > self.epoch, f"epoch {epoch} came after {self.epoch}")
        self.epoch = epoch
        self._raised_at = self._tables.now()

    def before_commit(self, epoch: int, batch: Batch) -> None:
        self.demand(epoch == self.epoch, f"a commit under epoch {epoch} when it is {self.epoch}")
        self._rows.before(batch)

    def after_commit(self, batch: Batch) -> None:
        self._rows.after(batch)
        for ended in batch.attempts_ended:
            if ended.state is AttemptState.LOST:
                self._judge_silence(ended)

    def heard(self, epoch: int, agent_id: UUID) -> None:
        """An agent gave a coordinator a sign of life."""
        self._heard.setdefault((epoch, agent_id), []).append(self._tables.now())

    def _judge_silence(self, ended: AttemptEnded) -> None:
        stored = self._tables.find(ended.token)
        if stored is None or ended.failure is None or "not heard from" not in ended.failure.message:
            return
        heard = self._heard.get((self.epoch, stored.agent_id), ())
        silent = ended.at - max([self._raised_at, *(at for at in heard if at <= ended.at)])
        demand(silent >= self._lost_after, f"an agent was given up after {silent} of silence")

    # The shard loop.

    def turned(self, shard: Owned, epoch: int, batch: Batch, stopped: Stopped) -> None:
        """A turn is over: its batch is committed and spoken about."""
        if epoch != self.epoch:
            return
        try:
            self.memory.judge(shard, batch, stopped)
        except AssertionError as error:
            self.fail(f"{type(error).__name__}: {error}")
            raise

    # Words to agents, each of which must have its row.

    def assigned(self, token: bytes, inputs: tuple[tuple[str, bytes], ...], window: float) -> None:
        place = self._tables.places.get(token)
        self.demand(place is not None, "an order left before its commit")
        assert place is not None
        self.memory.windows[token] = window
        rows = self._tables.runs[place[0]]
        position = {task.key: index for index, task in enumerate(rows.tasks)}
        for key, value in inputs:
            expected = rows.outputs.get(position[key], b"")
            self.demand(value == expected, f"an order has {value!r} for {key}, whose output is {expected!r}")

    def acknowledged(self, name: AttemptName, agent_id: UUID) -> None:
        self._demand_over(name, agent_id, "was acknowledged")

    def stale(self, name: AttemptName, agent_id: UUID) -> None:
        self._demand_over(name, agent_id, "was called stale")

    def _demand_over(self, name: AttemptName, agent_id: UUID, what: str) -> None:
        """What an agent is told to forget may not be live there; lies are answered as they may."""
        row = self._tables.find(name.token)
        own = row is not None and row.agent_id == agent_id
        if row is not None and own and self._tables.places[name.token] == (name.run_id, name.task, name.number):
            self.demand(row.state not in LIVE_ATTEMPT, f"an attempt {what} whose row is live")

    def cancelled(self, run_id: UUID) -> None:
        state = self._tables.runs[run_id].run.state
        self.demand(
            state not in (RunState.QUEUED, RunState.RUNNING), f"an attempt was stopped while its run is {state}"
        )

    def asked_back(self, token: bytes) -> None:
        self.demand(self._tables.find(token) is not None, "an attempt was asked back that has no row")

    # News for users.

    def told(self, update: RunUpdate) -> None:
        """A watcher was told how a run stands: it must have come there by its rows."""
        rows = self._tables.runs[update.run.run_id]
        said, stored = update.run.state, rows.run.state
        if said in LIVE_RUN:
            self.demand(stored not in FAR or FAR[said] <= FAR[stored], f"a run was told to be {said}, it is {stored}")
        else:
            self.demand(said is stored, f"a run was told to be {said}, it is {stored}")
            self.ledger.told_over.add(update.run.run_id)
        for record in update.task_runs:
            known = by_rows(rows, record.task)
            if record.state in ENDS and said in (RunState.RUNNING, RunState.QUEUED):
                self.demand(known is record.state, f"{record.task} was told to be {record.state}, it is {known}")
            born = len(rows.attempts[record.task])
            self.demand(record.attempt <= born, f"attempt {record.attempt} of {record.task} was told of, not stored")

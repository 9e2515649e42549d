"""What a worker writes down and tells: the start of each attempt, and its end.

An end is in the journal before it is told, a start before the attempt executes. While attempts follow one another, an
end is written together with the next start, and ends are told together: when the oldest has waited for `TELL_WITHIN`,
before an attempt that may be long, and whenever there is nothing to execute.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from podium_agent import frames, records
from podium_agent.store.logs import discard

if TYPE_CHECKING:
    from podium_agent.executors.connection import Connection
    from podium_agent.executors.outcome import Outcome
    from podium_agent.executors.shared import Shared
    from podium_agent.records import Task
    from podium_agent.store.journal import JournalWriter
    from podium_agent.store.logs import LogWriter

TELL_WITHIN = 0.001
SHORT_MICROS = 1_000
"""Attempts that usually take longer do not begin before the ends of those before are told."""


@dataclass(slots=True)
class Ended:
    """An attempt's end; `duration` and `cpu` in microseconds, `peak` in bytes."""

    task: Task
    started: int
    duration: int
    cpu: int
    peak: int
    outcome: Outcome
    log: LogWriter | None

    def record(self, **more: Any) -> bytes:
        """Return the end as a record; `more` are facts to add."""
        log, told = self.log, self.outcome
        small, size = (log.small() or b"", log.size) if log is not None else (b"", 0)
        if told.state == "succeeded" and not told.blobs and not more:
            figures = self.started, self.duration, self.cpu, self.peak, size
            return records.pack_success(self.task.name, figures, told.output, small)
        facts = {"duration": self.duration, "cpu": self.cpu, "peak": self.peak, "log_bytes": size}
        return records.pack_end(self.task.name, self.started, {**told.fields(), **facts, **more}, told.output, small)

    def forget_small_log(self) -> None:
        """Remove the file of a log that travels with the end."""
        if self.log is not None and self.log.on_disk and self.log.small() is not None:
            discard(self.log.path)


class Ledger:
    """See the module's text."""

    def __init__(self, journal: JournalWriter, connection: Connection) -> None:
        self._journal = journal
        self._connection = connection
        self._owed: Ended | None = None
        self._untold: list[bytes] = []
        self._waiting_since = 0.0
        self._place = journal.place

    @property
    def owes(self) -> bool:
        """Whether there is an end that is not written down or not told."""
        return self._owed is not None or bool(self._untold)

    def begin(self, task: Task, shared: Shared, started: int) -> bool:
        """Write down that an attempt begins; False when the disk does not take it, and the attempt was refused."""
        if self._journal.full:
            self.catch_up()
            self._journal.rotate()
        start = records.pack_start(task.name, started, task.key)
        order = -1 if self._journal.knows(shared.number) else shared.number
        if order >= 0:
            start = shared.record + start
        owed = self._owed
        end = b"" if owed is None else owed.record()
        try:
            self._journal.append(end + start, order)
        except OSError as error:
            self.catch_up()
            self._connection.tell({"op": "refused", "token": task.name[0].hex(), "reason": str(error)})
            return False
        if owed is not None:
            number, position = self._journal.place
            self._kept(owed, end, (number, position - len(start)))
        if self._untold and self._is_time(task):
            self._tell()
        return True

    def ended(self, end: Ended) -> None:
        """Take an attempt's end, to be written down and told soon."""
        self._owed = end

    def catch_up(self) -> None:
        """Write down and tell what there is."""
        owed = self._owed
        if owed is not None:
            record = owed.record()
            try:
                self._journal.append(record)
            except OSError as error:
                record = owed.record(unkept=str(error))
            self._kept(owed, record, self._journal.place)
        if self._untold:
            self._tell()

    def _kept(self, owed: Ended, record: bytes, place: tuple[int, int]) -> None:
        owed.forget_small_log()
        if not self._untold:
            self._waiting_since = time.monotonic()
        self._untold.append(record)
        self._owed, self._place = None, place

    def _is_time(self, task: Task) -> bool:
        return not 0 < task.usual <= SHORT_MICROS or time.monotonic() - self._waiting_since > TELL_WITHIN

    def _tell(self) -> None:
        told = records.PLACE.pack(*self._place) + b"".join(self._untold)
        self._untold.clear()
        self._connection.tell_ends(frames.pack({}, told))

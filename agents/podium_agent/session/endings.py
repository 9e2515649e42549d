"""Ends that the session declares itself, for attempts whose worker cannot: death, cancellation, timeout, no start."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from podium_agent.executors.outcome import describe_exit
from podium_agent.records import End, Success
from podium_agent.store.logs import SMALL, append_output, complete, discard, log_name

if TYPE_CHECKING:
    from pathlib import Path

    from podium_agent.session.attempts import Attempt
    from podium_agent.store.folder import DataFolder


log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Endings:
    """Makes results; `tail` is the quota of a log's tail in bytes."""

    folder: DataFolder
    tail: int

    def log_path(self, attempt: Attempt) -> Path:
        """Return where an attempt's log is."""
        token, _, *place = attempt.name
        return self.folder.logs / f"{log_name(attempt.order.run_id, token, *place)}.log"

    def plain(self, attempt: Attempt, state: str, failure: dict[str, Any]) -> End:
        """Return the end of an attempt that never executed."""
        return _end(attempt, state, failure)

    async def gathered(self, attempt: Attempt, state: str, failure: dict[str, Any]) -> End:
        """Return the end of an attempt whose worker is gone, with all it printed."""
        said = attempt.end
        if isinstance(said, Success):
            kept = {"duration": said.duration, "cpu": said.cpu, "peak": said.peak, "log_bytes": said.log_bytes}
            return _end(attempt, state, failure, said.log, kept)
        if said is not None:
            kept = {name: said.facts[name] for name in ("duration", "cpu", "peak", "log_bytes")}
            return _end(attempt, state, failure, said.log, kept)
        worker = attempt.lane.name if attempt.lane is not None else ""
        size, words = await asyncio.to_thread(self._gather, self.log_path(attempt), worker)
        return _end(attempt, state, failure, words, {"log_bytes": size})

    def _gather(self, path: Path, worker: str) -> tuple[int, bytes]:
        """Complete a log; return its size, and the whole of a small one. What a full disk does not take is lost."""
        try:
            complete(path, self.tail)
            for stream, suffix in ((1, "out"), (2, "err")):
                append_output(path, stream, self.folder.logs / f"{worker}.{suffix}")
        except OSError as error:
            log.warning("log_incomplete", log=path.name, error=str(error))
        if not path.exists():
            return 0, b""
        size = path.stat().st_size
        if size > SMALL:
            return size, b""
        whole = path.read_bytes()
        discard(path)
        return size, whole

    def last_words(self, worker: str) -> str:
        """Return, and remove, what a worker printed outside of any attempt."""
        words = []
        for suffix in ("out", "err"):
            path = self.folder.logs / f"{worker}.{suffix}"
            if path.exists():
                words.append(path.read_bytes()[-2000:].decode(errors="replace"))
                path.unlink()
        return "".join(words).strip()


def death(code: int) -> dict[str, Any]:
    """Return the failure of an attempt whose worker died."""
    return {"kind": "exit_code", "message": describe_exit("The task's process", code), "exit_code": code}


def cancelled() -> dict[str, Any]:
    """Return the failure of a cancelled attempt."""
    return {"kind": "cancelled", "message": "The attempt was cancelled."}


def timed_out(limit: float) -> dict[str, Any]:
    """Return the failure of an attempt that executed for too long."""
    return {"kind": "timeout_run", "message": f"The attempt executed longer than its run timeout of {limit:g} s."}


def _end(attempt: Attempt, state: str, failure: dict[str, Any], log: bytes = b"", known: Any = None) -> End:
    now = time.time_ns() // 1000
    facts = {
        "state": state,
        "failure": failure,
        "no_retry": False,
        "retry_after": None,
        "blobs": [],
        "ended": now,
        "duration": max(now - attempt.started, 0),
        "cpu": None,
        "peak": 0,
        "log_bytes": 0,
        **(known or {}),
    }
    return End(*attempt.name, attempt.started, facts, b"", log)

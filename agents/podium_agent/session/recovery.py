"""Finds out, when a session begins, what the sessions before it left: results, attempts that still execute, logs.

The journals are read first, then the spawner says who lives. An attempt with a START and no FINISH still executes if
its worker lives; if the worker died since, the attempt's death is known; if the spawner does not know the worker, the
whole agent was restarted, and the coordinator counts the attempt as lost. A worker that may be idle is waited for: it
could have an order of the session before, not yet begun. One that stays silent is ended, so that nothing begins
unseen.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from podium.v1 import session_pb2
from podium_agent.store.logs import complete, discard, read_log_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from podium_agent.session.conductor import Conductor
    from podium_agent.session.desk import Desk
    from podium_agent.session.logs import LogShipper
    from podium_agent.session.pool import Pool
    from podium_agent.session.spawner import SpawnerClient
    from podium_agent.store.folder import DataFolder
    from podium_agent.store.journal import Found, Journal, Recovered

log = structlog.get_logger(__name__)

HELLO_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Recovery:
    """The parts that take up what is found.

    `tail` is the quota of a log's tail in bytes; `open_door` lets workers in, once it is known which there are.
    """

    folder: DataFolder
    journal: Journal
    spawner: SpawnerClient
    pool: Pool
    conductor: Conductor
    desk: Desk
    logs: LogShipper
    tail: int
    open_door: Callable[[], Awaitable[None]]

    async def run(self) -> bool:
        """Take up what there is; return whether the agent is draining already."""
        recovered = self.journal.recover()
        state = await self.spawner.ready()
        self._adopt_finished(recovered)
        self._adopt_running(recovered, state)
        self._tidy_writers(state["living"])
        await self.open_door()
        await self._hear_from_idle()
        self._take_up_logs()
        self._tidy_folders(state["living"])
        return bool(state["draining"])

    def _adopt_finished(self, recovered: Recovered) -> None:
        for found in _one_each(recovered.finished):
            self.conductor.adopt_finished(found)
        if recovered.finished:
            log.info("results_recovered", count=len(recovered.finished))

    def _adopt_running(self, recovered: Recovered, state: dict[str, Any]) -> None:
        exited = state["exited"]
        for worker in (*state["living"], *exited):
            found = recovered.started.get(worker)
            busy = found is not None and not self.conductor.knows(found.record.token)
            lane = self.pool.adopt(worker, found.order["bundle"] if found is not None else "")
            if found is not None and busy:
                self.conductor.adopt_running(found, lane)
                self.pool.settled(lane)
        for worker, code in exited.items():
            self.desk.worker_exited(worker, code)

    def _tidy_writers(self, living: dict[str, int]) -> None:
        for writer in self.journal.writers() - set(living):
            self.journal.writer_gone(writer)

    async def _hear_from_idle(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HELLO_PATIENCE):
                await self.desk.wait_for_hellos()
        for worker in self.pool.silent():
            log.warning("worker_silent", worker=worker)
            lane = self.pool.lane(worker)
            if lane is not None:
                self.pool.end(lane, 0.0)
        await self.desk.wait_for_hellos()

    def _take_up_logs(self) -> None:
        """Send the logs of attempts that have ended, if need be without their tails, which a full disk may not take."""
        tails = {tail.with_suffix(".log") for tail in self.folder.logs.glob("*.tail?")}
        for path in tails | set(self.folder.logs.glob("*.log")):
            try:
                run_id, token, task, map_index, number = read_log_name(path.stem)
            except ValueError:
                discard(path)
                continue
            if not self.conductor.knows(token):
                self._complete(path)
                name = session_pb2.AttemptReference(
                    run_id=run_id, task=task, map_index=map_index, number=number, token=token
                )
                self.logs.ended(name, path)

    def _complete(self, path: Path) -> None:
        try:
            complete(path, self.tail)
        except OSError as error:
            log.warning("log_incomplete", log=path.name, error=str(error))

    def _tidy_folders(self, living: dict[str, int]) -> None:
        for folder in self.folder.scratch.iterdir():
            if folder.name not in living:
                shutil.rmtree(folder, ignore_errors=True)
        for folder in self.folder.files.iterdir():
            if not self.conductor.knows(token_of(folder.name)):
                shutil.rmtree(folder, ignore_errors=True)


def token_of(name: str) -> bytes:
    """Return the token that a folder is named by; nobody's when it is not named so."""
    try:
        return bytes.fromhex(name)
    except ValueError:
        return b""


def _one_each(finished: list[Found]) -> list[Found]:
    """Return one end for each attempt: what a session declared counts before what the worker said."""
    chosen: dict[bytes, Found] = {}
    for found in finished:
        token = found.record.token
        if token not in chosen or found.name.startswith("session"):
            chosen[token] = found
    return list(chosen.values())

"""A database of one's own, reached by URL over TCP with a password: any Postgres from 14 on."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from podium_coordinator.domain.records import RunEnded, RunStarted
from podium_coordinator.domain.states import RunState, TaskRunState
from podium_coordinator.store import agents, binaries, blobs, commands, logs, runs, task_runs, workflows
from podium_coordinator.store.batch import Batch
from podium_coordinator.store.binaries import find_binaries
from podium_coordinator.store.errors import FencedError, PostgresVersionError
from podium_coordinator.store.identity import choose_identity
from podium_coordinator.store.journal import Journal, journal_connection
from podium_coordinator.store.leadership import Leadership
from podium_coordinator.store.migrate import migrate
from podium_coordinator.store.pools import read_pool
from tests.store.builders import an_agent, at, born, changed, ended, new_run_id, runs_now, skipped, store_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podium_coordinator.store.pools import Connection


def system_programs() -> list[Path]:
    found = [folder for root in binaries.SYSTEM for folder in Path(root).glob("*/bin")]
    return sorted(folder for folder in found if (folder / "postgres").exists())


@contextlib.contextmanager
def external(programs: Path, folder: Path) -> Iterator[str]:
    """A server on a free port of the loopback with one account and its password; yields its URL."""
    identity = choose_identity()
    (folder / "password").write_text("s3cret", "ascii")
    made = ["-D", str(folder / "data"), "-U", "owner", "--no-sync", "--auth=scram-sha-256", "-E", "UTF8"]
    command = identity.command(programs / "initdb", *made, f"--pwfile={folder / 'password'}")
    subprocess.run(command, check=True, capture_output=True, cwd="/", timeout=60)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["-D", str(folder / "data"), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    command = identity.command(programs / "postgres", *options, "-p", str(port))
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stderr=log, cwd="/") as server:
        try:
            url = f"postgresql://owner:s3cret@127.0.0.1:{port}/postgres"
            until_ready(url)
            yield url
        finally:
            server.terminate()


def until_ready(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
        else:
            return


@pytest.mark.parametrize(
    "programs", [*system_programs(), None], ids=lambda each: each.parts[-2] if each else "embedded"
)
async def test_a_database_of_ones_own_does_all_that_the_embedded_one_does(
    programs: Path | None, short_folder: Path
) -> None:
    chosen = find_binaries(programs)
    folder = short_folder / f"external{chosen.major}"
    folder.mkdir()
    with external(chosen.folder, folder) as url:
        migrate(url)
        owner = Leadership(url, 0, "a", "a:1", 60.0)
        epoch = await owner.acquire()
        journal = Journal(partial(journal_connection, url, 0), 0)
        async with read_pool(url, 1) as pool, pool.connection() as reading:
            await live_a_run(url, epoch, journal, reading)
        with pytest.raises(FencedError):
            await journal.commit(epoch + 1, Batch(attempts_born=[born(new_run_id())]))
        assert await owner.renew()
        await journal.close()
        await owner.release()


async def live_a_run(url: str, epoch: int, journal: Journal, reading: Connection) -> None:
    """Use every kind of statement once."""
    writing = await journal_connection(url, 0)
    run = await store_run(writing, request_id="r")
    attempt, command_id = born(run.run_id), an_agent().agent_id
    await commands.insert_command(writing, command_id, run.run_id, "cancel", "")
    await journal.commit(
        epoch,
        Batch(
            runs_started=[RunStarted(run.run_id, at(1))],
            attempts_born=[attempt],
            agents_changed=[changed(an_agent(agent_id=attempt.agent_id))],
            commands_applied=[command_id],
        ),
    )
    await journal.commit(epoch, Batch(attempts_running=[runs_now(attempt)]))
    counts = {TaskRunState.SUCCEEDED: 1, TaskRunState.SKIPPED: 1}
    await journal.commit(
        epoch,
        Batch(
            attempts_ended=[ended(attempt, output=b"1", blobs=((b"b" * 32, 1, "f"),))],
            task_runs_ended=[skipped(run.run_id, 1)],
            runs_ended=[RunEnded(run.run_id, RunState.SUCCEEDED, "", at(5), counts)],
        ),
    )
    await blobs.record_blob(writing, b"b" * 32, 1)
    assert await blobs.touch(writing, [b"b" * 32]) == {b"b" * 32: 1}
    assert await logs.set_log_blob(writing, run.run_id, 0, -1, 1, b"b" * 32, 1)
    await writing.close()
    assert (await runs.get_run(reading, run.run_id)).counts == counts
    assert await task_runs.count_task_runs(reading, run.run_id) == counts
    assert [each.agent for each in await task_runs.list_task_runs(reading, run.run_id, -1, 10)] == ["web1", ""]
    assert await task_runs.load_outputs(reading, run.run_id, None) == {(0, -1): b"1"}
    assert len(await runs.list_runs(reading, runs.RunFilter(states=frozenset({RunState.SUCCEEDED})), None, 10)) == 1
    assert [each.workflow for each in await workflows.list_newest(reading, "", 10)] == ["flights"]
    assert [each.name for each in await agents.list_agents(reading)] == ["web1"]


def test_there_is_a_postgres_of_the_system_to_test_against() -> None:
    if not system_programs():
        pytest.skip("NOT RUN: no Postgres under /usr/lib/postgresql, so only the wheel's version was tested")


def test_a_server_that_is_too_old_is_refused(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podium_coordinator.store.migrate.FLOOR", 99)
    with pytest.raises(PostgresVersionError, match=re.compile(r"is Postgres \d+; Podium needs 99 or newer")):
        migrate(database)

"""The embedded Postgres as users run it, killed and restarted in every way it can be."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

from podium_coordinator.store import embedded_files as files
from podium_coordinator.store.batch import Batch
from podium_coordinator.store.binaries import find_binaries
from podium_coordinator.store.embedded import EmbeddedPostgres
from podium_coordinator.store.errors import (
    PostgresInUseError,
    PostgresNotFoundError,
    PostgresStartError,
    PostgresVersionError,
    UnknownOutcomeError,
)
from podium_coordinator.store.journal import Journal, journal_connection
from podium_coordinator.store.migrate import migrate
from podium_coordinator.store.pools import options, write_connection
from tests.store.activity import until_waiting
from tests.store.builders import born, new_run_id
from tests.store.children import COMMAND, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def folder(short_folder: Path) -> Iterator[Path]:
    made = short_folder / uuid.uuid4().hex[:8]
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    made = EmbeddedPostgres(folder)
    made.start()
    yield made
    made.stop()


def ask(conninfo: str, query: str) -> object:
    with psycopg.connect(conninfo) as link:
        row = link.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


@contextlib.contextmanager
def child(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """A process that runs an embedded Postgres; yields it, how to connect, and Postgres's process id."""
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip(), int(process.stdout.readline() or 0)
        finally:
            process.communicate(timeout=60)


def test_a_server_is_made_started_and_stopped_twice_in_a_row(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    for _ in range(2):
        assert ask(server.start(), "SELECT current_database()") == "podium"
        assert server.running()
        server.stop()
        assert not server.running()
        assert server.pid is None


def test_a_server_listens_on_its_socket_only(postgres: EmbeddedPostgres) -> None:
    assert postgres.pid is not None
    sockets = psutil.Process(postgres.pid).net_connections("tcp")  # before 15 there is one of UDP, connected to itself
    assert sockets == []
    assert ask(postgres.conninfo, "SHOW listen_addresses") == ""


def test_nobody_else_can_reach_data_or_socket(postgres: EmbeddedPostgres) -> None:
    socket_dir = Path(str(ask(postgres.conninfo, "SHOW unix_socket_directories")).strip('"'))
    for private in (postgres.folder, postgres.folder / "data", socket_dir):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700


def test_a_server_is_durable(postgres: EmbeddedPostgres) -> None:
    assert [ask(postgres.conninfo, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")] == [
        "on"
    ] * 3


def test_text_sorts_by_code_point_whatever_the_host(postgres: EmbeddedPostgres) -> None:
    query = "SELECT string_agg(x, '' ORDER BY x) FROM unnest('{b,B,a,é}'::text[]) AS x"
    assert ask(postgres.conninfo, query) == "Babé"


def test_committed_rows_survive_the_death_of_the_server(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.conninfo, autocommit=True) as link:
        link.execute("CREATE TABLE kept (id int)")
        for number in range(50):
            link.execute("INSERT INTO kept VALUES (%s)", [number])
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(server.pid)] if server.pid else [], timeout=10)
    server.start()
    assert ask(server.conninfo, "SELECT count(*) FROM kept") == 50


async def test_a_journal_goes_on_when_the_server_was_killed_and_started_again(server: EmbeddedPostgres) -> None:
    """A commit that was under way is unknown; all others are there, and the journal finds the server again."""
    migrate(server.conninfo)
    journal = Journal(partial(journal_connection, server.conninfo, 0), 0)
    run_id = new_run_id()
    for task in range(20):
        await journal.commit(0, Batch(attempts_born=[born(run_id, task)]))
    busy = psycopg.connect(options(server.conninfo, "test"))
    busy.execute("SELECT 1 FROM leadership FOR UPDATE")
    commit = asyncio.create_task(journal.commit(0, Batch(attempts_born=[born(run_id, 20)])))
    await until_journal_waits(server.conninfo)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(UnknownOutcomeError):
        await commit
    busy.close()
    server.start()
    await journal.commit(0, Batch(attempts_born=[born(run_id, 21)]))
    await journal.close()
    tasks = ask(server.conninfo, "SELECT array_agg(task ORDER BY task) FROM podium.attempt")
    assert tasks == [*range(20), 21]


async def until_journal_waits(conninfo: str) -> None:
    link = await write_connection(conninfo, "test")
    await until_waiting(link, "podium-journal-0")
    await link.close()


def test_starting_a_server_that_runs_changes_nothing(postgres: EmbeddedPostgres) -> None:
    before = postgres.pid
    postgres.start()
    assert postgres.pid == before


def test_the_server_ends_when_its_process_is_killed(folder: Path) -> None:
    with child("embed", str(folder)) as (process, _, pid):
        postgres = psutil.Process(pid)
        process.kill()
        assert psutil.wait_procs([postgres], timeout=20)[1] == []
    assert "database system is shut down" in last_state(folder)


def last_state(folder: Path) -> str:
    """What the data directory says about how it was left: a clean shutdown needs no recovery."""
    server = EmbeddedPostgres(folder)
    server.start()
    server.stop()
    log = (folder / "postgres.log").read_text("utf-8")
    assert "not properly shut down" not in log
    return log


def test_the_next_process_waits_for_a_server_that_is_still_shutting_down(folder: Path) -> None:
    """A session in the middle of something keeps the old server for a moment after its coordinator died."""
    with child("embed", str(folder)) as (process, conninfo, pid):
        os.kill(pid, signal.SIGSTOP)
        process.kill()
        process.wait()
        thaw = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -CONT {pid}"])
        server = EmbeddedPostgres(folder)
        assert server.start() == conninfo
        assert server.pid != pid
        server.stop()
        thaw.wait()


def test_a_folder_has_one_user_at_a_time(postgres: EmbeddedPostgres) -> None:
    second = EmbeddedPostgres(postgres.folder)
    with pytest.raises(PostgresInUseError, match="in use by another coordinator"):
        second.start()
    assert postgres.running()


def test_a_pid_file_whose_number_another_program_has_by_now_is_no_hindrance(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    server.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    pid_file = folder / "data" / "postmaster.pid"
    first, rest = pid_file.read_text("ascii").split("\n", 1)
    bystander = subprocess.Popen(["sleep", "60"])
    pid_file.write_text(f"{bystander.pid}\n{rest}", "ascii")
    assert int(first) != bystander.pid
    server.start()
    server.stop()
    bystander.kill()
    bystander.wait()


def test_data_of_another_major_version_are_refused(server: EmbeddedPostgres) -> None:
    server.stop()
    marker = server.folder / "postgres.json"
    assert json.loads(marker.read_text("utf-8"))["major"] == find_binaries().major
    marker.write_text(json.dumps({"major": 12}), "utf-8")
    with pytest.raises(PostgresVersionError, match="belong to Postgres 12"):
        EmbeddedPostgres(server.folder).start()


def test_data_without_a_marker_are_judged_by_postgress_own(server: EmbeddedPostgres) -> None:
    server.stop()
    (server.folder / "postgres.json").unlink()
    (server.folder / "data" / "PG_VERSION").write_text("11\n", "ascii")
    with pytest.raises(PostgresVersionError, match="belong to Postgres 11"):
        EmbeddedPostgres(server.folder).start()


def test_an_initialization_that_was_interrupted_is_begun_anew(folder: Path) -> None:
    (folder / "data.new" / "base").mkdir(parents=True)
    server = EmbeddedPostgres(folder)
    server.start()
    server.stop()
    assert not (folder / "data.new").exists()


def test_a_server_that_cannot_start_shows_the_end_of_its_log(server: EmbeddedPostgres) -> None:
    server.stop()
    (server.folder / "data" / "global" / "pg_control").write_bytes(b"no")
    with pytest.raises(PostgresStartError, match="could not read file"):
        server.start()
    with pytest.raises(PostgresStartError, match="could not read file"):
        server.start()


def test_without_programs_the_error_says_what_to_do(folder: Path) -> None:
    with pytest.raises(PostgresNotFoundError, match="does not hold Postgres's programs"):
        EmbeddedPostgres(folder, binaries=ROOT).start()


def test_a_deep_folder_gets_its_socket_elsewhere(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    server = EmbeddedPostgres(deep)
    conninfo = server.start()
    assert str(deep) not in conninfo
    assert ask(conninfo, "SELECT 1") == 1
    server.stop()


@pytest.mark.parametrize("name", ["with, comma", "it's two  blanks"])
def test_a_folder_may_have_any_name(folder: Path, name: str) -> None:
    server = EmbeddedPostgres(folder / name)
    assert ask(server.start(), "SELECT 1") == 1
    server.stop()


def test_a_socket_folder_that_somebody_else_made_is_refused(folder: Path) -> None:
    elsewhere = files.socket_dir(folder / ("d" * 120), 5432)
    elsewhere.symlink_to("/")
    try:
        with pytest.raises(PostgresStartError, match="is not a folder of user"):
            EmbeddedPostgres(folder / ("d" * 120)).start()
    finally:
        elsewhere.unlink()


def test_the_log_is_bounded(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    server._log._limit = 2000
    server.start()
    with psycopg.connect(server.conninfo, autocommit=True) as link:
        for number in range(40):
            link.execute(f"DO $$ BEGIN RAISE LOG 'line {number} %', repeat('x', 200); END $$".encode())
    server.stop()
    logs = sorted(server.folder.glob("postgres.log*"))
    assert [log.name for log in logs] == ["postgres.log", "postgres.log.1"]
    assert all(log.stat().st_size <= 2000 for log in logs)


@as_root
def test_a_server_of_root_runs_as_an_account_that_is_named(short_folder: Path, folder: Path) -> None:
    short_folder.chmod(0o700)
    server = EmbeddedPostgres(folder, account="nobody")
    assert ask(server.start(), "SELECT 1") == 1
    assert server.pid is not None
    assert psutil.Process(server.pid).uids().effective == NOBODY
    assert (folder / "data").stat().st_uid == NOBODY
    server.stop()


@as_root
def test_programs_the_account_cannot_read_are_copied(folder: Path) -> None:
    folder.mkdir()
    private = folder / "private"
    package = find_binaries().folder.parents[1]
    for part in package.parent.glob(f"{package.name}*"):
        if part.suffix in {"", ".libs"}:
            shutil.copytree(part, private / part.name, symlinks=True)
    private.chmod(0o700)
    server = EmbeddedPostgres(folder / "pg", private / package.name / "pginstall" / "bin", account="nobody")
    server.start()
    assert server.pid is not None
    assert Path(f"/proc/{server.pid}/exe").readlink().is_relative_to(folder / "pg")
    server.stop()


@as_root
def test_a_folder_the_account_cannot_reach_is_refused(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    folder.chmod(0o700)
    with pytest.raises(PostgresStartError, match=f"cannot pass {folder}"):
        EmbeddedPostgres(folder / "a" / "b", account="nobody").start()


def readable_python() -> str | None:
    """An interpreter like ours that any user can run: ours may live in root's home."""
    version = f"python3.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        found = Path(candidate).resolve()
        if found.exists() and all(place.stat().st_mode & stat.S_IXOTH for place in (found, *found.parents)):
            return candidate
    return None


@as_root
def test_a_server_of_an_ordinary_user_runs_as_that_user(folder: Path) -> None:
    python = readable_python()
    if python is None:
        pytest.skip("NOT RUN: no interpreter of this version that an ordinary user may read")
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    path = os.pathsep.join([sysconfig.get_path("purelib"), *(p for p in sys.path if p.startswith(str(ROOT)))])
    with subprocess.Popen(
        [python, *COMMAND[1:], "embed", str(folder / "pg")],
        cwd=ROOT,
        env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        conninfo, pid = process.stdout.readline().strip(), int(process.stdout.readline())
        assert psutil.Process(pid).uids().effective == NOBODY
        assert ask(conninfo, "SELECT 1") == 1
        process.communicate(timeout=60)


@as_root
def test_root_falls_back_to_an_account_where_namespaces_are_not_allowed(folder: Path) -> None:
    """As in a container under Docker's default rules."""
    with subprocess.Popen(
        [*COMMAND, "embed-confined", str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "unmapped\n"
        for kind in ("uid", "gid"):
            Path(f"/proc/{process.pid}/{kind}_map").write_text("0 0 65536", "ascii")
        process.stdin.write("go\n")
        conninfo, pid = process.stdout.readline().strip(), int(process.stdout.readline())
        assert pwd.getpwuid(psutil.Process(pid).uids().effective).pw_name in {"podium", "postgres", "nobody"}
        assert ask(conninfo, "SELECT 1") == 1
        process.communicate(timeout=60)

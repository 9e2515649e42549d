"""A Postgres of our own, in a data folder, reached over a unix socket only.

It lives as long as this process: a fast shutdown when it is stopped, and when this process dies, however it dies. Only
one process may use a data folder; the next one waits for a Postgres that is still shutting down, and is refused
otherwise.

    folder/                0700
        lock               held by the process that uses the folder
        postgres.json      which major version the data belong to
        data/              what Postgres calls its data directory
        postgres.log       its log, with one predecessor, bounded
        socket/            0700; elsewhere when the path is too long for a socket
        binaries-18/       a copy, only where Postgres runs as another user who cannot read ours
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from podium_coordinator.store import embedded_files as files
from podium_coordinator.store.binaries import Binaries, find_binaries
from podium_coordinator.store.errors import PostgresInUseError, PostgresStartError, PostgresVersionError
from podium_coordinator.store.identity import Identity, choose_identity
from podium_coordinator.store.server_log import ServerLog

if TYPE_CHECKING:
    from io import TextIOWrapper

DATABASE: Final = "podium"
USER: Final = "podium"
PORT: Final = 5432
SETTINGS: Final = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_error_statement": "panic",
    "log_line_prefix": "%m [%p] %a ",
}
_STILL_THERE: Final = ('lock file "postmaster.pid" already exists', "pre-existing shared memory block")
"""What a server says that finds another one, or what is left of it, at work on its data."""

_POLL: Final = 0.02
_PAUSE: Final = 0.2


class EmbeddedPostgres:
    """One Postgres in one data folder. All methods block; `launch` and `start` belong to the main thread.

    The kernel stops Postgres when the *thread* that launched it ends, so never launch from a pool's thread;
    `wait_ready` may run anywhere.
    """

    def __init__(
        self, folder: Path, binaries: Path | None = None, account: str | None = None, start_timeout: float = 300.0
    ) -> None:
        """Prepare; nothing is touched yet.

        Args:
            folder: Where everything is kept; made with mode 0700.
            binaries: Folder of Postgres's programs; None: found by itself.
            account: Whom root runs Postgres as; None: a user namespace where allowed.
            start_timeout: Seconds it may take to accept connections, recovery after a crash included.
        """
        self.folder = folder.absolute()
        self.start_timeout = start_timeout
        self._chosen, self._account = binaries, account
        self._lock: TextIOWrapper | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log = ServerLog(self.folder / "postgres.log")
        self._socket_dir = files.socket_dir(self.folder, PORT)
        self._how: tuple[Binaries, Identity] | None = None

    @property
    def conninfo(self) -> str:
        """How to connect, from any process of this user; the same after every start."""
        return f"host={self._socket_dir} port={PORT} user={USER} dbname={DATABASE}"

    @property
    def pid(self) -> int | None:
        """Process id of the server; None when it does not run."""
        return self._process.pid if self._process and self.running() else None

    def running(self) -> bool:
        """Tell whether the server's process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> str:
        """Make the data folder if need be, start the server, wait for it; return how to connect.

        Works again after the server died. Does nothing but wait when it runs.

        Raises:
            PostgresNotFoundError: There are no programs to run.
            PostgresInUseError: Another process uses the folder.
            PostgresVersionError: The folder belongs to another major version.
            PostgresStartError: The server did not start, or not in time; the message holds the end of its log.
            InvalidSettingError: The account cannot be used.
        """
        deadline = time.monotonic() + self.start_timeout
        try:
            while True:
                found_running = self.running()
                try:
                    self.launch()
                    return self.wait_ready()
                except PostgresStartError:
                    if not found_running:  # one that was dying when we looked is started again
                        raise
                except PostgresInUseError:
                    # Held by us, the folder is in use only by a server that its coordinator's death is ending.
                    if self._lock is None or time.monotonic() > deadline:
                        raise
                time.sleep(_PAUSE)
        except BaseException:
            self.stop()
            raise

    def launch(self) -> None:
        """Do the first half of `start`: all but waiting for the server. Quick, unless the data folder is new."""
        if self.running():
            return
        self._take_lock()
        if self._how is None:
            self._how = self._prepare()
        self._spawn()

    def wait_ready(self) -> str:
        """Do the second half of `start`: wait until the server accepts connections, and make the database."""
        deadline = time.monotonic() + self.start_timeout
        while True:
            if not self.running():
                raise self._ended()
            try:
                with psycopg.connect(f"{self.conninfo} connect_timeout=5", dbname="postgres", autocommit=True) as link:
                    _make_database(link)
                    return self.conninfo
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise self._failed(
                        f"did not accept connections within {self.start_timeout:g} s: {error}"
                    ) from error
            time.sleep(_POLL)

    def stop(self, timeout: float = 30.0) -> None:
        """Shut the server down: fast, and after `timeout` seconds at once (it then recovers at the next start)."""
        if self._process is not None:
            files.end(self._process, timeout)
            self._process = None
        self._log.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        files.make_private(self.folder)
        lock = (self.folder / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise self._in_use("another coordinator") from error
        self._lock = lock

    def _prepare(self) -> tuple[Binaries, Identity]:
        binaries, identity = find_binaries(self._chosen), choose_identity(self._account)
        self._refuse_other_major(binaries.major)
        if identity.way == "user":
            files.give_to(self.folder, identity)
            binaries = files.readable(binaries, identity, self.folder)
        files.make_socket_dir(self._socket_dir, identity)
        if not (self.folder / "data").exists():
            self._initialize(binaries, identity)
        return binaries, identity

    def _refuse_other_major(self, major: int) -> None:
        marker, version = self.folder / "postgres.json", self.folder / "data" / "PG_VERSION"
        stored = None
        if marker.exists():
            stored = int(json.loads(marker.read_text("utf-8"))["major"])
        elif version.exists():
            stored = int(version.read_text("ascii"))
        if stored is not None and stored != major:
            raise PostgresVersionError(
                f"The data in {self.folder} belong to Postgres {stored}, and the programs found are of {major}."
                f" Use programs of {stored}, or dump the data with those and restore them into a new folder.",
                folder=str(self.folder),
                stored=stored,
                found=major,
            )

    def _initialize(self, binaries: Binaries, identity: Identity) -> None:
        """Make the data folder beside its place and move it there when it is whole and on the disk."""
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        arguments = files.initdb_arguments(fresh, binaries.major, USER)
        made = subprocess.run(
            identity.command(binaries.initdb, *arguments),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd="/",
            timeout=self.start_timeout,
        )
        if made.returncode:
            raise PostgresStartError(
                f"initdb failed in {self.folder}: {(made.stderr or made.stdout).strip()[-2000:]}",
                folder=str(self.folder),
            )
        files.flush(self.folder)
        marker = json.dumps({"major": binaries.major, "programs": str(binaries.folder)}) + "\n"
        (self.folder / "postgres.json").write_text(marker, "utf-8")
        fresh.rename(self.folder / "data")
        files.flush(self.folder)

    def _spawn(self) -> None:
        binaries, identity = self._how or self._prepare()
        files.drop_stale_pid(self.folder / "data" / "postmaster.pid")
        settings = SETTINGS | {"unix_socket_directories": f'"{self._socket_dir}"'}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            identity.command(binaries.postgres, "-D", str(self.folder / "data"), *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log.open(),
            cwd="/",
            start_new_session=True,
        )
        self._log.follow()

    def _ended(self) -> PostgresInUseError | PostgresStartError:
        if any(sign in self._log.tail() for sign in _STILL_THERE):
            return self._in_use("a Postgres that does not end")
        return self._failed("ended at once")

    def _failed(self, how: str) -> PostgresStartError:
        message = f"The embedded Postgres in {self.folder} {how}\n{self._log.tail()}".rstrip()
        return PostgresStartError(message, folder=str(self.folder), log=str(self._log.path))

    def _in_use(self, by: str) -> PostgresInUseError:
        return PostgresInUseError(
            f"{self.folder} is in use by {by}. Stop it, choose another data folder, or share its database with"
            f' --database-url "{self.conninfo}".',
            folder=str(self.folder),
        )


def _make_database(link: psycopg.Connection) -> None:
    if link.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
        with contextlib.suppress(psycopg.errors.DuplicateDatabase):
            link.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


__all__ = ["DATABASE", "USER", "EmbeddedPostgres"]

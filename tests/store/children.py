"""What tests run in processes of their own: `python -m tests.store.children WHAT DATABASE [ARGUMENTS]`."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from functools import partial
from pathlib import Path
from uuid import UUID

from podium_coordinator.store.batch import Batch
from podium_coordinator.store.embedded import EmbeddedPostgres
from podium_coordinator.store.journal import Journal, journal_connection
from podium_coordinator.store.launcher import CLONE_NEWUSER
from podium_coordinator.store.leadership import Leadership
from podium_coordinator.store.migrate import migrate
from tests.store.builders import born

COMMAND = [sys.executable, "-m", "tests.store.children"]
ROOT = Path(__file__).parents[2]


def say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def commit(database: str, run_id: str) -> None:
    """Commit one new attempt under epoch 0."""
    journal = Journal(partial(journal_connection, database, 0), 0)
    await journal.commit(0, Batch(attempts_born=[born(UUID(run_id))]))
    await journal.close()


async def acquire(database: str) -> None:
    """Take the shard over."""
    owner = Leadership(database, 0, "child", "child:1", 60.0)
    say(await owner.acquire())
    await owner.release()


async def hold(database: str, lease: str) -> None:
    """Own the shard, renewing for as long as that works; say the epoch, and in the end that it is lost."""
    owner = Leadership(database, 0, "child", "child:1", float(lease))
    say(await owner.acquire())
    while True:
        await asyncio.sleep(float(lease) / 10)
        if not await owner.renew():
            break
    say("lost")


def embed(folder: str) -> None:
    """Run an embedded Postgres until stdin ends; say how to connect, and its process id."""
    server = EmbeddedPostgres(Path(folder))
    say(server.start())
    say(server.pid)
    sys.stdin.read()
    server.stop()


def embed_confined(folder: str) -> None:
    """Embed as root of a user namespace in which no further one is allowed, once the parent has mapped its users."""
    if ctypes.CDLL(None).unshare(CLONE_NEWUSER):
        sys.exit("no user namespace")
    say("unmapped")
    sys.stdin.readline()
    Path("/proc/sys/user/max_user_namespaces").write_text("0", "ascii")
    os.execv(sys.executable, [*COMMAND, "embed", folder])  # noqa: S606 - a test's own command


def main(what: str, *arguments: str) -> None:
    match what:
        case "migrate":
            say(migrate(arguments[0]))
        case "embed":
            embed(*arguments)
        case "embed-confined":
            embed_confined(*arguments)
        case "commit":
            asyncio.run(commit(*arguments))
        case "acquire":
            asyncio.run(acquire(*arguments))
        case "hold":
            asyncio.run(hold(*arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])

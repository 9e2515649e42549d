"""`podium logs`."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click

from podium.cli.connection import ask
from podium.cli.globals import Globals, global_options, pass_globals
from podium.logformat import LogStream

if TYPE_CHECKING:
    from podium import AsyncClient
    from podium.resources import LogEntry

_TASK = re.compile(r"(?P<key>[^\[\]]+)(?:\[(?P<index>\d{1,9})\])?")


@click.command()
@click.argument("run_id", metavar="RUN")
@click.argument("task", metavar="TASK")
@click.option("--attempt", metavar="N", type=click.IntRange(1), help="The attempt; the newest when it is left out.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the attempt ends.")
@global_options
@pass_globals
def logs(settings: Globals, run_id: str, task: str, attempt: int | None, follow: bool) -> None:
    """Print what an attempt wrote: its stdout on stdout, its stderr and Podium's own words on stderr.

    An element of a mapped task is written as "TASK[3]".
    """
    key, index = _parse(task)

    async def copy(client: AsyncClient) -> None:
        read = client.tail_log if follow else client.read_log
        async for entry in read(run_id, key, attempt=attempt or 0, map_index=index):
            _write(entry)

    ask(settings, copy)


def _parse(task: str) -> tuple[str, int | None]:
    """Return the key and the map index of "load" or "load[3]"."""
    found = _TASK.fullmatch(task)
    if found is None:
        raise click.UsageError(f'TASK is "key" or "key[index]", and is {task!r}.')
    return found["key"], None if found["index"] is None else int(found["index"])


def _write(entry: LogEntry) -> None:
    stream = sys.stdout if entry.stream is LogStream.STDOUT else sys.stderr
    data = entry.data if entry.stream is not LogStream.PODIUM else _marked(entry.data)
    stream.buffer.write(data)
    stream.buffer.flush()


def _marked(data: bytes) -> bytes:
    return b"".join(b"podium: " + line + b"\n" for line in data.splitlines())

"""Where the words of the cluster's servers go: a bounded file and, in the foreground, stderr."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

import click

from podium.cli.local.children import Sink

_FILE_BYTES = 10 * 1024 * 1024
_OLD_FILES = 2


@contextmanager
def kept(path: Path, echo: bool) -> Iterator[Sink]:
    """Yield a sink that appends to a file, at most 30 MiB with its two predecessors; with `echo` also to stderr."""
    handler = RotatingFileHandler(path, maxBytes=_FILE_BYTES, backupCount=_OLD_FILES, encoding="utf-8")

    def sink(name: str, line: str) -> None:
        handler.emit(logging.makeLogRecord({"msg": f"{name} | {line}"}))
        if echo:
            click.echo(f"{click.style(f'{name} |', dim=True)} {line}", err=True)

    try:
        yield sink
    finally:
        handler.close()

"""Shows on stderr how far a run has come: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

import click

from podium.cli.globals import Globals
from podium.cli.show import runs

if TYPE_CHECKING:
    from podium.resources import RunInfo

Tell = Callable[["RunInfo"], None]

LINE_EVERY = 2.0
"""Seconds between two lines about a run whose state stays the same."""


def shown(settings: Globals) -> AbstractContextManager[Tell]:
    """Return a context that gives a function to call with each change of a run."""
    if settings.quiet:
        return nullcontext(lambda _: None)
    if sys.stderr.isatty():
        return bar(sys.stderr, settings.color)
    return nullcontext(Lines(time.monotonic))


class Lines:
    """Writes a line when a run's state changes, and otherwise at most one every two seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._state: str | None = None
        self._next = 0.0

    def __call__(self, run: RunInfo) -> None:
        """Tell a change."""
        now = self._clock()
        if run.state != self._state or now >= self._next:
            self._state, self._next = run.state, now + LINE_EVERY
            click.echo(runs.progress(run, datetime.now(UTC)), err=True)


@contextmanager
def bar(stream: TextIO, color: bool | None) -> Iterator[Tell]:
    """Keep a bar at the bottom of a terminal, and leave one line about the run when it is over."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}", markup=False),
        TextColumn("{task.fields[notable]}", markup=False),
        TimeElapsedColumn(),
    )
    console = Console(file=stream, force_terminal=True, no_color=color is False)
    with Progress(*columns, console=console, transient=True) as progress:
        line = progress.add_task("", total=1, notable="")
        last: list[RunInfo] = []

        def tell(run: RunInfo) -> None:
            last[:] = [run]
            progress.update(
                line,
                description=f"{run.workflow} {run.state}",
                total=run.task_count,
                completed=runs.done(run),
                notable=runs.notable(run),
            )

        yield tell
    for run in last:
        click.echo(runs.progress(run, datetime.now(UTC)), err=True)

"""What is told while a run goes on, and what a log looks like on both streams."""

from __future__ import annotations

import io
import re

import pytest

from podium.cli import progress
from podium.cli.commands.logs import _parse, _write
from podium.logformat import LogStream
from podium.model.states import RunState, TaskRunState
from podium.resources import LogEntry
from tests.unit.cli.builders import a_run, at

HALF = {TaskRunState.SUCCEEDED: 6, TaskRunState.RUNNING: 2, TaskRunState.PENDING: 4}
ALL = {TaskRunState.SUCCEEDED: 12}


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_is_written_for_each_state_and_otherwise_every_two_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    tell = progress.Lines(clock)
    tell(a_run(state=RunState.QUEUED, start_time=None))
    tell(a_run(counts=HALF))
    tell(a_run(counts=HALF))
    clock.now += progress.LINE_EVERY
    tell(a_run(counts=HALF))
    tell(a_run(counts=ALL, state=RunState.SUCCEEDED, end_time=at(3.7)))
    told = capsys.readouterr()
    assert told.out == ""
    assert [line.partition(",")[0] for line in told.err.splitlines()] == [
        "flights: queued",
        "flights: running",
        "flights: running",
        "flights: succeeded",
    ]
    assert told.err.splitlines()[-1] == "flights: succeeded, 12 of 12 tasks done, 3.2s"


def test_a_bar_shows_counts_and_leaves_one_line_behind(capsys: pytest.CaptureFixture[str]) -> None:
    screen = io.StringIO()
    with progress.bar(screen, color=False) as tell:
        tell(a_run(counts=HALF))
        tell(a_run(counts=ALL, state=RunState.SUCCEEDED, end_time=at(3.7)))
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "flights succeeded" in drawn
    assert "12/12" in drawn
    assert capsys.readouterr().err == "flights: succeeded, 12 of 12 tasks done, 3.2s\n"


def test_a_bar_that_was_told_nothing_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bar(io.StringIO(), color=None):
        pass
    assert capsys.readouterr().err == ""


def test_each_stream_of_a_log_goes_its_own_way_byte_for_byte(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for stream, data in (
        (LogStream.STDOUT, b"half \xff"),
        (LogStream.STDERR, b"oops\n"),
        (LogStream.PODIUM, b"1 MiB left out\nhere"),
        (LogStream.STDOUT, b"line\n"),
    ):
        _write(LogEntry(at(0), stream, data))
    told = capfdbinary.readouterr()
    assert told.out == b"half \xffline\n"
    assert told.err == b"oops\npodium: 1 MiB left out\npodium: here\n"


def test_a_task_may_name_an_element_of_a_mapped_task() -> None:
    assert _parse("load") == ("load", None)
    assert _parse("load[3]") == ("load", 3)

"""What the fault suite reports: of each test its bound, its figure, how often it was tried, its seed, the verdict.

A module declares its bounds as constants, before anything is measured; a test asks for `figures` and holds what it
measured against them. The table is printed at the end of a session that ran fault tests; with PODIUM_FAULT_REPORT set,
it is written to that file as JSON, too.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

REPORT = "PODIUM_FAULT_REPORT"
FOLDER = "tests/fault/"
_FIGURE, _SEED = "figure", "seed"


@dataclass(frozen=True, slots=True)
class Bound:
    """What is measured, the most it may be, and in what."""

    what: str
    most: float
    unit: str = "s"


@dataclass(slots=True)
class Entry:
    """One line of the table."""

    name: str
    what: str
    bound: float | None
    figure: float | None
    unit: str
    trials: int
    seed: int | None
    verdict: str
    seconds: float


class Figures:
    """Holds what one test measures against its bounds."""

    def __init__(self, record: Callable[[str, object], None]) -> None:
        self._record = record
        self._struck = time.monotonic()

    def strike(self) -> None:
        """Note that the fault happens now."""
        self._struck = time.monotonic()

    def since(self) -> float:
        """Return the seconds since the fault."""
        return time.monotonic() - self._struck

    def recovered(self, bound: Bound) -> None:
        """Hold the time since the fault against a bound in seconds."""
        self.within(bound, self.since())

    def within(self, bound: Bound, value: float, trials: int = 1) -> None:
        """Note a figure; fail when it is over its bound."""
        self._record(_FIGURE, (bound.what, bound.most, value, bound.unit, trials))
        assert value <= bound.most, f"{bound.what}: {value:.6g} {bound.unit}, over the bound of {bound.most:g}"

    def count_within(self, bound: Bound, found: Sequence[object], trials: int) -> None:
        """Note how many there are; fail, and show them, when they are too many."""
        self._record(_FIGURE, (bound.what, bound.most, len(found), bound.unit, trials))
        assert len(found) <= bound.most, "\n".join([bound.what, *map(str, found[:20])])

    def median_within(self, bound: Bound, values: Sequence[float]) -> None:
        """Note the median of many trials; fail when it is over its bound."""
        self.within(bound, statistics.median(values), len(values))


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Figures:
    """What a test measures."""
    return Figures(record_property)


@dataclass(slots=True, eq=False)  # pytest wants to hash its plugins
class Table:
    """The plugin: gathers what reports carry, prints it and writes it down."""

    entries: list[Entry] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the figures of a test that is over, or did not come to its end."""
        if report.nodeid.startswith(FOLDER) and (report.when == "call" or report.outcome != "passed"):
            self.entries += _entries(report)

    def pytest_sessionfinish(self) -> None:
        """Write the file that was asked for."""
        path = os.environ.get(REPORT)
        if path and self.entries:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(json.dumps([asdict(entry) for entry in self.entries], indent=1) + "\n")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        if self.entries:
            terminalreporter.section("faults")
            for entry in self.entries:
                terminalreporter.line(_line(entry))


def _entries(report: pytest.TestReport) -> list[Entry]:
    properties = report.user_properties
    measured: list[Any] = [value for key, value in properties if key == _FIGURE] or [("", None, None, "", 1)]
    seed: Any = next((value for key, value in properties if key == _SEED), None)
    name = report.nodeid.removeprefix(FOLDER)
    return [
        Entry(name, what, most, value, unit, trials, seed, _verdict(report, most, value), round(report.duration, 2))
        for what, most, value, unit, trials in measured
    ]


def _verdict(report: pytest.TestReport, most: float | None, value: float | None) -> str:
    if report.outcome == "failed" and most is not None and value is not None and value <= most:
        return "failed after it"
    return report.outcome


def _line(entry: Entry) -> str:
    figure = "" if entry.figure is None else f"{entry.figure:.4g} <= {entry.bound:g} {entry.unit}"
    seed = "" if entry.seed is None else f" seed {entry.seed}"
    times = f" x{entry.trials}" if entry.trials > 1 else ""
    return f"{entry.verdict:8} {entry.name}: {entry.what} {figure}{times}{seed} [{entry.seconds:.1f} s]"


__all__ = ["REPORT", "Bound", "Entry", "Figures", "Table", "figures"]

"""`make demo`, as a person runs it: real processes, the real data, and nothing left behind."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flights import sources
from tests.example.by_hand import figures

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(300)


def test_the_demo_prints_the_right_figures_and_leaves_nothing_running(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        told, _ = process.communicate()
    assert process.returncode == 0
    for carrier, origin, departed, mean in figures(sources.data_folder()).worst(3, least_departed=1000):
        assert f"({carrier}) from " in told
        assert f"({origin}): {mean:.2f} minutes over {departed:,} departures" in told
    assert f"Report: {tmp_path / 'report.html'}" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["delays.csv", "delays.png", "report.html"]
    assert_table_is_right(tmp_path / "delays.csv")
    assert running_below(tmp_path) == []


def test_ctrl_c_in_the_middle_of_the_run_leaves_nothing_running(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "tasks done" in line)
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []
    assert running_below(tmp_path) == []


def test_a_pipeline_that_cannot_be_deployed_fails_the_demo_and_leaves_nothing_running(tmp_path: Path) -> None:
    broken = "from examples import demo\ndemo.PROJECT = demo.ROOT / 'docs'\n"
    program = f"{broken}import sys\nsys.exit(demo.main())"
    with demo(tmp_path, "-c", program) as process:
        _, complaint = process.communicate()
    assert process.returncode not in {0, 130}
    [log] = tmp_path.glob("cluster-*/up.log")
    assert f"What the servers said: {log}" in complaint
    assert running_below(tmp_path) == []


@contextmanager
def demo(results: Path, *program: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, *(program or ("-m", "examples.demo")), "--results", str(results)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def assert_table_is_right(table: Path) -> None:
    by_hand = figures(sources.data_folder()).by_pair_and_hour
    with table.open(newline="") as file:
        rows = {(row["carrier"], row["origin"], int(row["hour"])): row for row in csv.DictReader(file)}
    assert {key: int(row["delay_minutes"]) for key, row in rows.items()} == {
        key: sums.delay_minutes for key, sums in by_hand.items()
    }


def running_below(folder: Path) -> list[str]:
    """Return the command lines of processes that name the folder: every part of a cluster does."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:  # it is gone by now
            continue
        if str(folder) in line:
            lines.append(line)
    return lines

"""The command line, with workloads that need no cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import cli
from benchmarks.lab import Lab, Workload
from benchmarks.results import Result
from benchmarks.spread import figure


async def found(lab: Lab) -> Result:
    return Result({"rate": figure("tasks/s", [float(lab.repeats)] * 3)})


async def broken(lab: Lab) -> Result:
    raise RuntimeError("the agent is gone")


@pytest.fixture(autouse=True)
def workloads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "ALL", (Workload("W1", "works", found), Workload("W2", "breaks", broken)))
    monkeypatch.setattr(cli, "NAMES", ["W1", "W2"])


def run(folder: Path, *words: str) -> tuple[int, str, dict[str, Any]]:
    target = folder / "out" / "bench.json"
    done = CliRunner().invoke(cli.main, ["--json", str(target), *words])
    return done.exit_code, done.output, json.loads(target.read_text())


def test_only_what_is_named_is_measured_and_written(tmp_path: Path) -> None:
    code, output, told = run(tmp_path, "--only", "w1", "--repeats", "7")
    assert code == 0
    assert "W1  works" in output
    assert list(told["workloads"]) == ["W1"]
    assert told["workloads"]["W1"]["figures"]["rate"]["median"] == 7
    assert told["conditions"] == {"quick": False, "repeats": 7, "warm_ups": 1, "traced": True}


def test_a_workload_that_breaks_takes_nothing_with_it_but_the_exit_status(tmp_path: Path) -> None:
    code, output, told = run(tmp_path)
    assert code == 1
    assert "the agent is gone" in told["workloads"]["W2"]["error"]
    assert "BROKE" in output
    assert told["workloads"]["W1"]["figures"]["rate"]["n"] == 3


def test_an_earlier_result_is_compared_with(tmp_path: Path) -> None:
    run(tmp_path, "--only", "W1", "--repeats", "2")
    earlier = (tmp_path / "out" / "bench.json").rename(tmp_path / "earlier.json")
    _, output, told = run(tmp_path, "--only", "W1", "--repeats", "3", "--compare", str(earlier))
    assert told["compared_with"]["ratios"] == {"W1": {"rate": 1.5}}
    assert "x earlier" in output

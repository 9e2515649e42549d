"""The parts that measure: shapes, processor time, the log's word on lag, statements, the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import machine
from benchmarks.cli import main
from benchmarks.costs import PARTS, Reading, cpu_ns, parents, per_task, tree
from benchmarks.lag_log import LagSeen, read
from benchmarks.shapes import chain, diamond, edges_of, fan_out, layered
from benchmarks.statements import but_the_lease
from podium.model.validation import validate
from podium_coordinator.app.lag import BOUNDS, INTERVAL


def test_shapes_are_sound_definitions_of_the_size_asked_for() -> None:
    for spec in (fan_out(20), chain(20), diamond(), layered(1000, 3000)):
        validate(spec)
    assert [len(spec.tasks) for spec in (fan_out(20), chain(20), diamond())] == [22, 20, 10]


def test_a_layered_dag_has_the_tasks_and_edges_asked_for_and_is_the_same_each_time() -> None:
    spec = layered(1000, 3000)
    assert (len(spec.tasks), edges_of(spec)) == (1000, 3000)
    assert spec == layered(1000, 3000)


def test_processor_time_is_that_of_the_process() -> None:
    before, mine = cpu_ns(os.getpid()), time.process_time_ns()
    while time.process_time_ns() - mine < 50_000_000:
        pass
    assert 50_000_000 <= cpu_ns(os.getpid()) - before < 1_000_000_000


def test_a_process_that_is_gone_has_used_nothing() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert cpu_ns(process.pid) == 0


def test_a_tree_has_the_children_of_children() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout is not None
        sleeping = int(shell.stdout.readline())
        assert list(tree(shell.pid, parents())) == [shell.pid, sleeping]
        assert {shell.pid, sleeping} <= set(tree(os.getpid(), parents()))
        os.kill(sleeping, signal.SIGKILL)


def a_reading(**fields: int) -> Reading:
    cpu = Counter(dict.fromkeys(PARTS, 0)) | Counter({"coordinator": fields.get("coordinator", 0)})
    return Reading(cpu, fields.get("wal", 0), fields.get("spans", 0), 0, 0, 0.0)


def test_costs_are_what_was_used_between_two_readings_per_task() -> None:
    spent = a_reading(coordinator=5_000_000, wal=700, spans=30) - a_reading(coordinator=1_000_000, wal=200)
    costs = per_task([spent], 10)
    assert costs["coordinator CPU"].median == 400.0
    assert costs["all CPU"].median == 400.0
    assert costs["WAL"].median == 50.0
    assert costs["spans"].median == 3.0
    assert "workers CPU" not in costs


def test_the_log_tells_the_lag_and_quiet_windows_count_as_kept() -> None:
    late = [0] * (len(BOUNDS) + 1)
    late[BOUNDS.index(0.2)] = 2
    line = (
        f"2026-01-01 12:00:00 [info     ] process.loop_lagged            late={late} most_ms=150.0 p99_ms=150.0 ticks=2"
    )
    seen = LagSeen()
    read(f"{line}\n2026-01-01 12:00:01 [info     ] rpc.serving\n", 100 * INTERVAL, seen)
    assert sum(seen.late) == 100
    assert seen.p99_ms == 150.0
    read("", 200 * INTERVAL, seen)
    assert (sum(seen.late), seen.p99_ms) == (200, 1000 * BOUNDS[0])


def test_the_lease_is_no_offence() -> None:
    found = Counter({("a", "UPDATE leadership SET x"): 3, ("b", "SELECT 1"): 1})
    assert but_the_lease(found) == Counter({("b", "SELECT 1"): 1})


def test_the_machine_s_facts_say_what_a_figure_depends_on(tmp_path: Path) -> None:
    facts = machine.facts(tmp_path)
    assert facts["cores"] == os.cpu_count()
    assert facts["fsync_ms"]["median"] > 0
    assert {"model", "kernel", "python", "podium", "load_before", "memory_bytes"} <= set(facts)


@pytest.mark.parametrize("given", ["W1,W11", "nothing"])
def test_a_workload_there_is_not_is_refused(given: str) -> None:
    done = CliRunner().invoke(main, ["--only", given])
    assert done.exit_code == 2
    assert "W10" in done.output

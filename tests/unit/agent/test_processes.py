from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from podium_agent.host import processes
from podium_agent.host.processes import Process
from podium_agent.host.trees import Tree, strays


def a_process(pid: int, parent: int) -> Process:
    return Process(pid, parent, started=pid * 10, zombie=False)


def test_descendants_are_found_through_all_generations_and_nobody_else() -> None:
    family = [a_process(2, 1), a_process(3, 2), a_process(4, 3), a_process(5, 1), a_process(6, 5)]
    assert {process.pid for process in processes.descendants([2], family)} == {3, 4}
    assert {process.pid for process in processes.descendants([2, 5], family)} == {3, 4, 6}


def test_strays_are_children_that_nobody_started_and_no_tree_owns() -> None:
    tree = Tree(pid=7, members={8: a_process(8, 1)})
    living = [a_process(7, 1), a_process(8, 1), a_process(9, 1), a_process(10, 9)]
    assert [process.pid for process in strays(1, {7}, living, [tree])] == [9]


def test_a_signal_reaches_only_the_process_it_is_meant_for() -> None:
    child = subprocess.Popen(["sleep", "1000"])
    real = processes.read(child.pid)
    assert real is not None
    processes.send(Process(real.pid, real.parent, real.started + 1, zombie=False), signal.SIGKILL)
    assert child.poll() is None
    processes.send(real, signal.SIGKILL)
    assert child.wait(5) == -signal.SIGKILL
    assert not processes.is_alive(real)
    processes.send(real, signal.SIGKILL)


def test_a_tree_is_gone_only_when_its_root_is_reaped_and_no_member_lives() -> None:
    child = subprocess.Popen(["sh", "-c", "sleep 1000 & sleep 1000"], process_group=0)
    tree = Tree(child.pid)
    deadline = time.monotonic() + 5
    while len(processes.descendants([child.pid], processes.living())) < 2:
        assert time.monotonic() < deadline
    tree.begin(time.monotonic(), grace=0.0)
    assert not tree.advance(time.monotonic(), processes.living(), [])
    tree.reaped(child.wait(5), time.monotonic())
    while not tree.advance(time.monotonic(), processes.living(), []):
        assert time.monotonic() < deadline


def test_a_second_order_to_end_can_only_hasten_it() -> None:
    child = subprocess.Popen(["sleep", "1000"])
    tree = Tree(child.pid)
    tree.begin(100.0, grace=10.0)
    tree.begin(101.0, grace=20.0)
    assert tree.deadline == 110.0
    tree.begin(102.0, grace=0.0)
    assert tree.deadline == 102.0
    assert child.wait(5) == -signal.SIGTERM


@pytest.mark.parametrize("how", ["orphan", "zombie", "none"])
def test_a_process_ends_all_its_descendants_and_reaps_them(how: str) -> None:
    code = f"""
import os, subprocess, sys
from podium_agent.host import prctl, processes
prctl.become_subreaper()
if {how!r} == "orphan":
    subprocess.run(["sh", "-c", "setsid sleep 1000 & setsid sleep 1000 &"])
elif {how!r} == "zombie":
    os.posix_spawn("/bin/true", ["true"], {{}})
assert processes.end_descendants(5.0)
assert not processes.reap_children()
print([p.pid for p in processes.descendants([os.getpid()], processes.living())])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_marked_processes_of_other_starts_are_ended_and_those_of_this_one_spared(tmp_path: Path) -> None:
    agent = f"test-{os.getpid()}"
    old, new = (
        subprocess.Popen(["sleep", "1000"], env={**os.environ, processes.MARK: f"{agent}:{start}"})
        for start in ("old", "new")
    )
    assert processes.end_marked(agent, spare="new") == 1
    assert old.wait(5) == -signal.SIGKILL
    assert new.poll() is None
    assert processes.end_marked(agent, start="new") == 1
    assert new.wait(5) == -signal.SIGKILL

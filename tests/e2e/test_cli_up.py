"""`podium up` and `podium down`: what starts, what is told, and that nothing stays behind, however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from examples.small_cluster import free_port
from podium.cli.exits import Exit

WITHIN = 60.0
"""Seconds that processes may take to be gone."""


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """A data folder that all tests use, one after the other: the database is made only once."""
    path = Path(tempfile.mkdtemp(prefix="pod-up-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


def podium(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "podium.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@contextmanager
def up(data: Path, port: int, agents: int = 1, words: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """A cluster in the foreground that is ready; what its servers say goes to `words`, or only to the log."""
    command = [sys.executable, "-m", "podium.cli", "up", "--data-dir", str(data), "--port", str(port)]
    command += ["--agents", str(agents), *(["--quiet"] if words is None else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().split(maxsplit=1)[-1].strip() for _ in range(3)]
        try:
            assert told == [f"127.0.0.1:{port}", ", ".join(f"agent-{n + 1}" for n in range(agents)), str(data)]
            yield process
        finally:
            process.kill()


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return all processes of a cluster that is up, the first one left out."""
    return psutil.Process(process.pid).children(recursive=True)


def server(process: subprocess.Popen[str], word: str) -> psutil.Process:
    """Return the child whose command line has a word, whole or as the last part of a path."""
    found = {one: one.cmdline() for one in psutil.Process(process.pid).children()}
    (server,) = [one for one, line in found.items() if any(part.split("/")[-1] == word for part in line)]
    return server


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, WITHIN)
    assert alive == []


def log_since(data: Path, offset: int) -> str:
    return (data / "up.log").read_text()[offset:]


def size_of_log(data: Path) -> int:
    log = data / "up.log"
    return len(log.read_text()) if log.exists() else 0


def test_a_detached_cluster_is_ready_alone_in_its_folder_and_stopped_by_down(data: Path, port: int) -> None:
    arguments = ("up", "--data-dir", str(data), "--port", str(port), "--detach")
    done = podium(*arguments)
    assert done.returncode == Exit.OK, done.stderr
    assert done.stdout.splitlines()[0] == f"coordinator  127.0.0.1:{port}"
    assert podium("agents", "list", "--address", f"127.0.0.1:{port}", "-o", "name").stdout == "agent-1\n"
    again = podium(*arguments)
    assert again.returncode == Exit.FAILURE
    assert f"A cluster is up in {data} already." in again.stderr
    stopped = podium("down", "--data-dir", str(data))
    assert (stopped.returncode, stopped.stderr) == (Exit.OK, f"The cluster in {data} is stopped.\n")
    assert podium("agents", "list", "--address", f"127.0.0.1:{port}").returncode == Exit.UNAVAILABLE
    once_more = podium("down", "--data-dir", str(data))
    assert (once_more.returncode, once_more.stderr) == (Exit.OK, f"No cluster is up in {data}.\n")


def test_ctrl_c_drains_everything_and_exits_with_0(data: Path, port: int) -> None:
    offset = size_of_log(data)
    with up(data, port, agents=2) as process:
        started = family(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(WITHIN) == Exit.OK
    assert_gone(started)
    drained = [line.split(" | ")[0] for line in log_since(data, offset).splitlines() if "drained" in line]
    assert sorted(drained) == ["agent-1", "agent-2"]


def test_servers_do_not_outlive_an_up_that_is_killed(data: Path, port: int) -> None:
    with up(data, port) as process:
        started = family(process)
        assert len(started) > 3
        process.kill()
    assert_gone(started)


def test_an_agent_that_is_killed_is_told_and_the_cluster_goes_on(data: Path, port: int) -> None:
    with up(data, port, agents=2, words=subprocess.PIPE) as process:
        assert process.stderr is not None
        server(process, "agent-2").kill()
        assert any("up | The agent-2 ended by signal 9; the others go on" in line for line in process.stderr)
        done = podium("agents", "show", "agent-1", "--address", f"127.0.0.1:{port}", "-o", "name")
        assert done.stdout == "agent-1\n"
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=WITHIN)
        assert process.returncode == Exit.OK


def test_a_coordinator_that_is_killed_ends_the_cluster_with_1(data: Path, port: int) -> None:
    with up(data, port) as process:
        started = family(process)
        server(process, "coordinator").kill()
        assert process.wait(WITHIN) == Exit.FAILURE
    assert_gone(started)


@pytest.mark.parametrize("how", ["--quiet", "--detach"])
def test_a_port_that_is_taken_is_told_and_nothing_is_started(tmp_path: Path, how: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = podium("up", "--data-dir", str(tmp_path), "--port", str(port), how)
    assert (done.returncode, done.stdout) == (Exit.FAILURE, "")
    error, advice = done.stderr.splitlines()
    assert error == f"error: The port 127.0.0.1:{port} cannot be had: Address already in use."
    assert advice == "next: podium up --port ANOTHER"
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize("how", ["--quiet", "--detach"])
def test_a_coordinator_that_cannot_start_is_told_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("PODIUM_COORDINATOR__LEASE", "-1")
    done = podium("up", "--data-dir", str(tmp_path), "--port", str(free_port()), how)
    assert (done.returncode, done.stdout) == (Exit.FAILURE, "")
    error, advice = done.stderr.splitlines()
    assert error.endswith(f"{tmp_path}/up.log tells why.")
    assert advice == f"next: tail {tmp_path}/up.log"
    assert "coordinator | error: " in (tmp_path / "up.log").read_text()
    assert "lease" in (tmp_path / "up.log").read_text()


def test_a_folder_that_cannot_be_made_is_named() -> None:
    done = podium("up", "--data-dir", f"{os.devnull}/data")
    assert done.returncode == Exit.FAILURE
    assert done.stderr.startswith(f"error: {os.devnull}/data: ")

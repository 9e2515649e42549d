"""The command line against a real cluster, each command a process of its own as in a shell."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.small_cluster import small_cluster
from podium.cli import scaffold
from podium.cli.exits import Exit

Done = subprocess.CompletedProcess[str]
Podium = Callable[..., Done]

CODE = """
import sys
from pathlib import Path

from podium import task, workflow


@task
def clean(rows: list) -> int:
    if not rows:
        raise ValueError("no rows")
    return len(rows)


@workflow
def check(rows: list = []):
    clean(rows)


@task
def write(text: str) -> dict:
    print("writing", text)
    print("a warning", file=sys.stderr)
    Path("page.txt").write_text(text)
    return {"page": Path("page.txt"), "length": len(text)}


@workflow
def pages(text: str = "hello"):
    write(text)
"""

GATE = """
workflow: gate
parameters:
  gate: {type: string}
tasks:
  wait:
    script: echo waiting; echo more >&2; until test -e "$GATE"; do sleep 0.1; done; echo through
    env: {GATE: {$param: gate}}
"""

BROKEN = """workflow: broken
tasks:
  first: {script: "true", retries: many}
  second: {script: "true", after: [third]}
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="pod-cli-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with small_cluster(folder / "data", agents=2) as address:
        yield address


@pytest.fixture(scope="module")
def podium(address: str, folder: Path) -> Podium:
    """Runs a command line in the module's folder and returns how it ended."""

    def run(*arguments: str) -> Done:
        return subprocess.run(
            command(*arguments), cwd=folder, env=surroundings(address), capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture(scope="module")
def deployed(podium: Podium, folder: Path) -> Done:
    """What `deploy` said about this module's workflows."""
    (folder / "flows").mkdir()
    (folder / "flows" / "flows.py").write_text(CODE)
    (folder / "gate.yaml").write_text(GATE)
    return podium("deploy", "flows", "gate.yaml")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "podium.cli", *arguments]


def surroundings(address: str) -> dict[str, str]:
    return {**os.environ, "PODIUM_ADDRESS": address, "TZ": "UTC", "TERM": "xterm", "COLUMNS": "120"}


def normal(text: str) -> str:
    """Return a text with ids, times and durations that are always the same."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "RUN", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)
    return re.sub(r"agent-\d", "AGENT", re.sub(r"\b\d+(\.\d+)?(ms|s)\b", "TOOK", text))


def run_id(done: Done) -> str:
    assert done.returncode == Exit.OK, done.stderr
    return done.stdout.strip()


def started(podium: Podium, workflow: str, *arguments: str) -> str:
    return run_id(podium("run", workflow, "--no-wait", *arguments))


def test_the_folder_that_init_writes_is_deployed_run_and_unchanged_the_second_time(
    podium: Podium, folder: Path
) -> None:
    assert podium("init", "hello").returncode == Exit.OK
    first, second = podium("deploy", "hello"), podium("deploy", "hello")
    assert first.stdout.splitlines()[1].split() == ["words", "1", "created", "3"]
    assert second.stdout.splitlines()[1].split() == ["words", "1", "unchanged", "3"]
    assert "next: podium run words" in first.stderr
    done = podium("run", "words", "-p", "first=5 6", "-p", "second=7")
    assert (done.returncode, done.stdout) == (Exit.OK, "total  3\n")


def test_the_test_that_init_writes_passes(tmp_path: Path) -> None:
    scaffold.write(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_deploy_tells_what_it_made_of_each_path(deployed: Done) -> None:
    assert deployed.returncode == Exit.OK, deployed.stderr
    rows = [line.split() for line in deployed.stdout.splitlines()]
    assert rows[0] == ["WORKFLOW", "VERSION", "DEPLOYED", "TASKS"]
    assert sorted(rows[1:]) == [
        ["check", "1", "created", "1"],
        ["gate", "1", "created", "1"],
        ["pages", "1", "created", "1"],
    ]


def test_a_broken_file_is_told_with_its_lines_and_nothing_is_registered(podium: Podium, folder: Path) -> None:
    (folder / "broken.yaml").write_text(BROKEN)
    done = podium("deploy", "broken.yaml")
    assert (done.returncode, done.stdout) == (Exit.FAILURE, "")
    assert done.stderr.startswith("error: ")
    assert re.search(r"broken\.yaml:3: .*retries", done.stderr)
    assert podium("workflows", "show", "broken").returncode == Exit.NOT_FOUND


def test_check_registers_nothing(podium: Podium, folder: Path) -> None:
    (folder / "checked.yaml").write_text(GATE.replace("workflow: gate", "workflow: checked"))
    assert podium("deploy", "--check", "checked.yaml").returncode == Exit.OK
    assert podium("workflows", "show", "checked").returncode == Exit.NOT_FOUND


@pytest.mark.usefixtures("deployed")
def test_a_run_tells_its_progress_on_stderr_and_its_outputs_on_stdout(podium: Podium) -> None:
    done = podium("run", "pages", "-p", "text=a page")
    assert (done.returncode, done.stdout) == (Exit.OK, 'write  {"page": "page.txt (6 B)", "length": 6}\n')
    told = normal(done.stderr).splitlines()
    assert told[0] == "run RUN of pages version 1"
    assert told[-1] == "pages: succeeded, 1 of 1 tasks done, TOOK"


@pytest.mark.usefixtures("deployed")
def test_a_run_as_json_has_its_outputs(podium: Podium) -> None:
    done = podium("run", "pages", "-o", "json", "-q")
    told: dict[str, Any] = json.loads(done.stdout)
    assert (told["workflow"], told["state"], told["params"], told["failed"]) == (
        "pages",
        "succeeded",
        {"text": "hello"},
        [],
    )
    assert told["outputs"]["write"]["length"] == 5
    assert told["outputs"]["write"]["page"]["$file"]["name"] == "page.txt"
    assert done.stderr == ""


@pytest.mark.usefixtures("deployed")
def test_a_failed_run_shows_the_remote_traceback_and_exits_with_3(podium: Podium) -> None:
    done = podium("run", "check")
    assert (done.returncode, done.stdout) == (Exit.RUN_FAILED, "")
    told = normal(done.stderr).splitlines()
    assert "clean failed on AGENT, attempt 1" in told
    assert any(line.startswith("  Traceback") for line in told)
    assert any("flows.py" in line for line in told)
    assert "  ValueError: no rows" in told
    assert "error: Run RUN of check failed." in told
    assert told[-2:] == ["next: podium logs RUN clean", "next: podium tasks RUN"]


@pytest.mark.usefixtures("deployed")
def test_parameters_come_from_a_file_and_from_the_command_line(podium: Podium, folder: Path) -> None:
    (folder / "rows.json").write_text('{"rows": [1, 2]}')
    assert podium("run", "check", "--params-file", "rows.json").stdout == "clean  2\n"
    assert podium("run", "check", "--params-file", "rows.json", "-p", "rows=[7]").stdout == "clean  1\n"


@pytest.mark.usefixtures("deployed")
def test_wrong_parameters_are_told_before_anything_is_started(podium: Podium) -> None:
    done = podium("run", "check", "-p", "rows=three", "-p", "row=1")
    assert done.returncode == Exit.USAGE
    assert re.search(r"^  params\.rows: .*array", done.stderr, re.MULTILINE)
    assert re.search(r"^  params\.row: ", done.stderr, re.MULTILINE)
    assert done.stderr.splitlines()[-1] == "next: podium workflows show check"


@pytest.mark.usefixtures("deployed")
def test_the_same_request_id_gives_the_same_run(podium: Podium) -> None:
    first = started(podium, "check", "-p", "rows=[1]", "--request-id", "once")
    assert started(podium, "check", "-p", "rows=[1]", "--request-id", "once") == first
    again = podium("run", "check", "-p", "rows=[2]", "--request-id", "once", "--no-wait")
    assert again.returncode == Exit.FAILURE
    assert "request" in again.stderr


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "nothing"),
        ("run", "check", "--version", "9"),
        ("runs", "show", "01980000-0000-7000-8000-000000000000"),
        ("agents", "show", "nobody"),
        ("workflows", "versions", "nothing"),
        ("tasks", "not-a-uuid"),
        ("logs", "01980000-0000-7000-8000-000000000000", "t"),
    ],
)
def test_what_does_not_exist_is_told_with_where_to_look(podium: Podium, arguments: tuple[str, ...]) -> None:
    done = podium(*arguments)
    assert (done.returncode, done.stdout) == (Exit.NOT_FOUND, "")
    error, advice = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert re.fullmatch(r"next: podium (workflows|runs|agents) list", advice)


@pytest.mark.usefixtures("deployed")
def test_files_in_outputs_are_downloaded(podium: Podium, folder: Path) -> None:
    run = json.loads(podium("run", "pages", "-p", "text=kept", "-o", "json").stdout)["run_id"]
    done = podium("runs", "outputs", run, "--download", "got")
    assert done.returncode == Exit.OK, done.stderr
    assert (folder / "got" / "write" / "page.txt").read_text() == "kept"
    assert done.stderr == "got/write/page.txt\n"


@pytest.mark.usefixtures("deployed")
def test_a_log_goes_to_both_streams(podium: Podium) -> None:
    run = json.loads(podium("run", "pages", "-p", "text=it", "-o", "json").stdout)["run_id"]
    done = podium("logs", run, "write")
    assert (done.stdout, done.stderr) == ("writing it\n", "a warning\n")


@pytest.mark.usefixtures("deployed")
def test_tasks_and_attempts_are_listed(podium: Podium) -> None:
    run = json.loads(podium("run", "check", "-o", "json").stdout)["run_id"]
    (row,) = podium("tasks", run).stdout.splitlines()[1:]
    assert normal(row).split()[:5] == ["clean", "failed", "1", "AGENT", "TOOK"]
    assert row.endswith("no rows")
    assert podium("tasks", run, "--state", "succeeded", "-o", "json").stdout == "[]\n"
    (attempt,) = json.loads(podium("tasks", run, "--attempts", "-o", "json").stdout)
    assert (attempt["task"], attempt["number"], attempt["state"]) == ("clean", 1, "failed")
    assert podium("tasks", run, "--attempts", "-o", "name").stdout == "clean 1\n"


@pytest.mark.usefixtures("deployed")
def test_a_run_under_way_is_followed_left_alone_and_cancelled(podium: Podium, folder: Path) -> None:
    run = started(podium, "gate", "-p", f"gate={folder / 'never'}")
    late = podium("runs", "watch", run, "--timeout", "0.5")
    assert late.returncode == Exit.TIMEOUT
    assert late.stderr.splitlines()[-1] == f"next: podium runs watch {run}"
    cancelled = podium("runs", "cancel", run, "--reason", "wrong gate", "-o", "json")
    assert json.loads(cancelled.stdout)["state"] in {"cancelling", "cancelled"}
    watched = podium("runs", "watch", run)
    assert watched.returncode == Exit.RUN_FAILED
    assert f"error: Run {run} of gate was cancelled: wrong gate." in watched.stderr
    again = podium("runs", "cancel", run)
    assert again.returncode == Exit.FAILURE
    assert again.stderr.splitlines()[-1] == f"next: podium runs show {run}"
    assert run in podium("runs", "list", "--workflow", "gate", "--state", "cancelled", "-o", "name").stdout.split()


@pytest.mark.usefixtures("deployed")
def test_a_log_is_followed_while_the_task_runs(podium: Podium, address: str, folder: Path) -> None:
    gate = folder / "follow"
    run = started(podium, "gate", "-p", f"gate={gate}")
    following = command("logs", run, "wait", "-f")
    with subprocess.Popen(following, env=surroundings(address), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        gate.touch()
        assert process.stdout.read() == "through\n"
    assert process.returncode == Exit.OK


@pytest.mark.usefixtures("deployed")
def test_ctrl_c_stops_watching_and_leaves_the_run_alone(podium: Podium, address: str, folder: Path) -> None:
    gate = folder / "interrupt"
    watching = command("run", "gate", "-p", f"gate={gate}")
    with subprocess.Popen(watching, env=surroundings(address), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        run = process.stderr.readline().split()[1]
        while "running" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        told = process.stderr.read().splitlines()
    assert process.returncode == Exit.INTERRUPTED
    assert told[-3:] == [
        f"The run {run} goes on.",
        f"next: podium runs watch {run}",
        f"next: podium runs cancel {run}",
    ]
    gate.touch()
    assert podium("runs", "watch", run).returncode == Exit.OK


@pytest.mark.usefixtures("deployed")
def test_a_terminal_sees_a_bar(address: str, folder: Path) -> None:
    (folder / "open").touch()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("run", "gate", "-p", f"gate={folder / 'open'}"), env=surroundings(address), stderr=theirs, text=True
    )
    os.close(theirs)
    drawn = read_all(ours)
    assert process.wait() == Exit.OK
    assert "\x1b[" in drawn
    assert re.search(r"\d/1", drawn)
    assert "gate: succeeded, 1 of 1 tasks done" in drawn.rstrip().splitlines()[-1]


def read_all(terminal: int) -> str:
    """Return what was written to a terminal until its other side was closed."""
    pieces = []
    try:
        while piece := os.read(terminal, 65536):
            pieces.append(piece)
    except OSError:  # how Linux tells that the other side is closed
        pass
    os.close(terminal)
    return b"".join(pieces).decode()


def test_agents_are_listed_and_shown(podium: Podium) -> None:
    assert podium("agents", "list", "-o", "name").stdout.split() == ["agent-1", "agent-2"]
    rows = podium("agents", "list").stdout.splitlines()
    assert [row.split()[:2] for row in rows[1:]] == [["agent-1", "connected"], ["agent-2", "connected"]]
    assert json.loads(podium("agents", "show", "agent-2", "-o", "json").stdout)["name"] == "agent-2"
    assert "agent       agent-1" in podium("agents", "show", "agent-1").stdout


@pytest.mark.usefixtures("deployed")
def test_workflows_and_their_versions_are_listed_and_shown(podium: Podium, folder: Path) -> None:
    (folder / "versions.yaml").write_text(GATE.replace("workflow: gate", "workflow: versions"))
    podium("deploy", "versions.yaml")
    (folder / "versions.yaml").write_text(GATE.replace("workflow: gate", "workflow: versions\ndescription: Newer."))
    assert podium("deploy", "versions.yaml").stdout.splitlines()[1].split() == ["versions", "2", "created", "1"]
    assert podium("workflows", "versions", "versions", "-o", "name").stdout.split() == ["2", "1"]
    assert "versions" in podium("workflows", "list", "-o", "name").stdout.split()
    newest = json.loads(podium("workflows", "show", "versions", "-o", "json").stdout)
    assert (newest["version"], newest["spec"]["description"]) == (2, "Newer.")
    assert (
        "description"
        not in json.loads(podium("workflows", "show", "versions", "--version", "1", "-o", "json").stdout)["spec"]
    )
    assert "gate       string  (required)" in podium("workflows", "show", "versions").stdout

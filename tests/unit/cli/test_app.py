"""The command line as a whole, in processes of its own: how quickly it starts, what it imports, how it ends."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from podium import errors
from podium.cli import app
from podium.cli.exits import Exit, exit_of
from podium.cli.globals import Globals
from podium.version import __version__

HEAVY = ("grpc", "google.protobuf", "psycopg", "pydantic", "rich", "asyncio", "podium_coordinator", "podium_agent")

Podium = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def process(tmp_path: Path) -> Podium:
    """Runs a command line in a process of its own, in an empty folder."""

    def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "podium.cli", *arguments]
        surroundings = {**os.environ, **(env or {})}
        return subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def podium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Podium:
    """Runs a command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        for name, value in (env or {}).items():
            monkeypatch.setenv(name, value)
        code = app.run(arguments)
        told = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, told.out, told.err)

    return run


def nobody() -> str:
    """An address where nothing answers."""
    return "127.0.0.1:1"


def test_help_imports_nothing_that_takes_long(record_property: Callable[[str, object], None]) -> None:
    program = (
        "import sys\n"
        "from podium.cli.app import run\n"
        "run(['--help'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    milliseconds = (time.perf_counter() - start) * 1000
    print(f"podium --help took {milliseconds:.0f} ms")  # noqa: T201 - for the reader of the test's report
    record_property("help_milliseconds", round(milliseconds))
    assert done.stderr == "[]\n"
    assert "deploy" in done.stdout


def test_version_is_printed(process: Podium) -> None:
    assert process("version").stdout == f"{__version__}\n"
    assert process("version", "-o", "json").stdout == f'{{\n  "version": "{__version__}"\n}}\n'


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        ("runs", "nothing"),
        ("run",),
        ("runs", "list", "--limit", "0"),
        ("runs", "list", "--state", "happy"),
        ("tasks", "r", "--attempts", "--state", "failed"),
        ("logs", "r", "t[x]"),
        ("-o", "xml", "version"),
    ],
)
def test_a_wrong_command_line_is_told_in_two_lines_and_exits_with_2(podium: Podium, arguments: tuple[str, ...]) -> None:
    done = podium(*arguments)
    assert done.returncode == Exit.USAGE
    assert done.stdout == ""
    error, advice = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert advice.startswith("next: podium")
    assert advice.endswith("--help")


def test_no_command_shows_the_help_on_stderr(podium: Podium) -> None:
    done = podium()
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert "Commands:" in done.stderr


def test_no_coordinator_is_told_with_the_command_that_starts_one(podium: Podium) -> None:
    done = podium("runs", "list", "--address", nobody())
    assert done.returncode == Exit.UNAVAILABLE
    assert done.stdout == ""
    assert f"No coordinator answers at {nobody()}" in done.stderr
    assert done.stderr.splitlines()[-1] == "next: podium up"


@pytest.mark.parametrize("place", ["before", "after", "environment"])
def test_the_address_is_taken_from_either_side_of_the_command_or_the_environment(podium: Podium, place: str) -> None:
    match place:
        case "before":
            done = podium("--address", nobody(), "agents", "list")
        case "after":
            done = podium("agents", "list", "--address", nobody(), env={"PODIUM_ADDRESS": "127.0.0.1:2"})
        case _:
            done = podium("agents", "list", env={"PODIUM_ADDRESS": nobody()})
    assert nobody() in done.stderr


def test_an_address_that_cannot_be_one_is_refused(podium: Podium) -> None:
    done = podium("runs", "list", "--address", "::")
    assert done.returncode == Exit.USAGE
    assert done.stderr.startswith("error: ")


def test_a_file_that_is_not_there_is_named(podium: Podium) -> None:
    done = podium("run", "flow", "--params-file", "none.json")
    assert done.returncode == Exit.USAGE
    assert "none.json" in done.stderr


def test_init_prints_paths_on_stdout_and_advice_on_stderr(podium: Podium, tmp_path: Path) -> None:
    done = podium("init", "hello")
    assert done.returncode == Exit.OK
    assert [Path(line).name for line in done.stdout.splitlines()] == ["pipeline.py", "test_pipeline.py", ".gitignore"]
    assert all((tmp_path / line).is_file() for line in done.stdout.splitlines())
    assert "next: podium deploy hello" in done.stderr.splitlines()


def test_quiet_keeps_advice_away_and_errors_not(podium: Podium) -> None:
    assert podium("init", "hello", "-q").stderr == ""
    assert podium("init", "hello", "-q").stderr.startswith("error: hello/pipeline.py is there already")


def test_nothing_is_coloured_where_nobody_looks(process: Podium) -> None:
    assert "\x1b" not in process("init", "hello").stderr


@pytest.mark.parametrize(
    ("arguments", "env", "coloured"),
    [((), {}, True), (("--no-color",), {}, False), ((), {"NO_COLOR": "1"}, False), ((), {"NO_COLOR": ""}, True)],
)
def test_a_terminal_sees_colours_unless_asked_not_to(
    tmp_path: Path, arguments: tuple[str, ...], env: dict[str, str], coloured: bool
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "podium.cli", "init", "hello", *arguments]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=theirs, check=True
    )
    told = os.read(ours, 4096)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == Exit.OK
    assert (b"\x1b[" in told) is coloured


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(process: Podium, shell: str) -> None:
    done = process("completion", shell)
    assert done.returncode == Exit.OK
    assert "_PODIUM_COMPLETE" in done.stdout


def test_a_shell_gets_completions(process: Podium) -> None:
    asked = {"_PODIUM_COMPLETE": "bash_complete", "COMP_WORDS": "podium runs w", "COMP_CWORD": "2"}
    assert process(env=asked).stdout.split() == ["plain,watch"]
    states = {"_PODIUM_COMPLETE": "bash_complete", "COMP_WORDS": "podium runs list --state s", "COMP_CWORD": "4"}
    assert process(env=states).stdout.split() == ["plain,succeeded"]


@pytest.mark.parametrize("server", ["coordinator", "agent"])
def test_a_missing_library_is_told_with_what_to_install(process: Podium, tmp_path: Path, server: str) -> None:
    (tmp_path / "pydantic").mkdir()
    (tmp_path / "pydantic" / "__init__.py").write_text("raise ModuleNotFoundError('no', name='pydantic')")
    done = process(server, "--help", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == Exit.FAILURE
    error, advice = done.stderr.splitlines()
    assert error == f"error: The {server} needs the library 'pydantic', which is not installed."
    assert advice == f'next: pip install "podium[{server}]"'


@pytest.mark.parametrize("server", ["coordinator", "agent"])
def test_every_setting_of_a_server_is_a_flag_with_its_meaning(podium: Podium, server: str) -> None:
    from podium_agent.settings import AgentSettings
    from podium_coordinator.settings import CoordinatorSettings

    fields = (CoordinatorSettings if server == "coordinator" else AgentSettings).model_fields
    shown = " ".join(podium(server, "--help").stdout.split())
    for name, field in fields.items():
        assert f"--{name.replace('_', '-')} " in shown, name
        assert field.description, name


@pytest.mark.parametrize(("server", "flag"), [("agent", "cpu"), ("coordinator", "lease")])
def test_a_setting_that_cannot_be_used_is_named(podium: Podium, server: str, flag: str) -> None:
    done = podium(server, f"--{flag}", "-1")
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert done.stderr.startswith("error: ")
    assert flag in done.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.RunNotFoundError("x"), Exit.NOT_FOUND),
        (errors.NoOwnerError("x"), Exit.UNAVAILABLE),
        (errors.InvalidParametersError("x"), Exit.USAGE),
        (errors.InvalidWorkflowError("x"), Exit.FAILURE),
        (errors.DeadlineError("x"), Exit.TIMEOUT),
        (errors.RunAlreadyFinishedError("x"), Exit.FAILURE),
        (errors.RunFailedError("x"), Exit.RUN_FAILED),
        (errors.RunCancelledError("x"), Exit.RUN_FAILED),
        (FileNotFoundError("x"), Exit.FAILURE),
    ],
)
def test_an_error_s_class_decides_the_exit_code(error: Exception, code: Exit) -> None:
    assert exit_of(error) is code


def test_advice_reaches_the_same_coordinator() -> None:
    assert Globals().as_typed("podium runs list") == "podium runs list"
    assert Globals(address="h:1").as_typed("podium runs list") == "podium --address h:1 runs list"
    assert Globals(address="h:1").as_typed("podium up") == "podium up"
    assert Globals(address="h:1").as_typed("pytest hello") == "pytest hello"

"""The README's sessions, verbatim: its quickstart, its Python, and its calls with the real grpcurl."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.small_cluster import small_cluster
from podium.cli import scaffold
from tests.e2e.console import agrees, perform, steps

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PORT = 7450

pytestmark = pytest.mark.timeout(300)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Keep a cluster up at the address the README names; yield what a reader's shell has set."""
    if not is_free(PORT):
        pytest.skip(f"NOT RUN: port {PORT}, which the README names, is taken on this machine")
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PODIUM_")}
    with small_cluster(tmp_path_factory.mktemp("cluster"), port=PORT):
        yield {**kept, "PATH": tools}


@pytest.fixture(scope="module")
def project(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Follow the quickstart in an empty folder; return the folder."""
    folder = tmp_path_factory.mktemp("reader")
    follow("## Quickstart", folder, environment)
    return folder


def follow(heading: str, folder: Path, environment: dict[str, str]) -> None:
    """Run a section's sessions and check that each command prints what the page says."""
    session = steps(README, heading)
    assert session
    printed = perform(session, folder=folder, environment=environment, seconds=120)
    differing = [
        f"$ {step.command}\n{actual}"
        for step, actual in zip(session, printed, strict=True)
        if not agrees(step.printed, actual)
    ]
    assert differing == []


def python_blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_quickstart_prints_what_the_readme_says(project: Path) -> None:
    assert (project / "hello" / "pipeline.py").is_file()


def test_the_pipeline_shown_is_the_one_that_init_writes() -> None:
    assert python_blocks()[0] == scaffold.FILES["pipeline.py"]


def test_the_python_client_gives_the_result(project: Path, environment: dict[str, str]) -> None:
    told = subprocess.run(
        [sys.executable, "-c", python_blocks()[1]], cwd=project, env=environment, check=True, capture_output=True
    )
    assert told.stdout == b"6\n"


@pytest.mark.skipif(
    shutil.which("grpcurl") is None,
    reason="NOT RUN: grpcurl is missing, so the README's session with it went unchecked (.ci/run builds it)",
)
def test_the_session_with_grpcurl_prints_what_the_readme_says(project: Path, environment: dict[str, str]) -> None:
    follow("## From any language, with grpcurl", project, environment)


def test_what_a_command_prints_is_really_compared() -> None:
    assert agrees("total ... 9\n", "total: 8 and\n  9\n")
    assert not agrees("total ... 9\n", "total: 8\n")
    assert not agrees("", "anything\n")
    assert not agrees("a.c\n", "abc\n")

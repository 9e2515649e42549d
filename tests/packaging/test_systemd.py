"""The systemd units say what systemd understands, and name settings that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from podium_agent.settings import AgentSettings
from podium_coordinator.settings import CoordinatorSettings
from tests.packaging.conftest import ROOT

UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="NOT RUN: systemd-analyze is missing, so the units went unchecked"
)


@pytest.fixture
def installed(tmp_path: Path) -> list[Path]:
    """Return the units with the program they start replaced by one that this machine has."""
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/podium/bin/podium", sys.executable))
    return sorted(tmp_path.glob("*.service"))


def section(unit: Path, name: str) -> list[tuple[str, str]]:
    """Return a section's lines as (key, value): keys may repeat."""
    text = unit.read_text().split(f"[{name}]\n", 1)[1].split("\n[", 1)[0]
    return [(key, value) for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)]


def test_there_is_a_unit_for_each_server() -> None:
    assert [unit.stem for unit in UNITS] == ["podium-agent", "podium-coordinator"]


@needs_systemd
def test_systemd_finds_nothing_wrong(installed: list[Path]) -> None:
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *installed], check=False, capture_output=True, text=True
    )
    assert (told.returncode, told.stdout + told.stderr) == (0, "")


@needs_systemd
def test_the_coordinator_is_shut_in_tightly(installed: list[Path]) -> None:
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", installed[1]],
        check=False,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stdout[-200:]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_stop_reaches_the_main_process_first_and_then_all(unit: Path) -> None:
    assert ("KillMode", "mixed") in section(unit, "Service")


@pytest.mark.parametrize(
    ("unit", "prefix", "settings"),
    [(UNITS[0], "PODIUM_AGENT__", AgentSettings), (UNITS[1], "PODIUM_COORDINATOR__", CoordinatorSettings)],
    ids=["agent", "coordinator"],
)
def test_settings_in_a_unit_exist(unit: Path, prefix: str, settings: type[BaseModel]) -> None:
    environment = [value for key, value in section(unit, "Service") if key == "Environment"]
    names = {value.split("=", 1)[0] for value in environment if value.startswith("PODIUM_")}
    assert names
    assert names <= {prefix + name.upper() for name in settings.model_fields}

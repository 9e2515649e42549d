"""What docs/sdk.md shows is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from podium.discovery import discover
from podium.options import TaskOptions
from tests.unit.sdk.documented import DOCUMENT, write_documented


def test_every_shown_file_is_known() -> None:
    text = DOCUMENT.read_text()
    assert text.count("\n```python\n") + text.count("\n```yaml\n") == text.count("<!-- file: ")


def test_the_shown_workflows_are_found(tmp_path: Path) -> None:
    names = write_documented(tmp_path)
    assert names == ["pipelines/sales.py", "pipelines/test_sales.py", "pipelines/cleanup.yaml", "run_sales.py"]
    found = discover(tmp_path / "pipelines").workflows
    assert [(item.spec.name, item.spec.description) for item in found] == [
        ("cleanup", "Sums up a day, then removes what is older than it."),
        ("daily_sales", "Sums up the sales of a day."),
    ]


def test_the_shown_test_passes(tmp_path: Path) -> None:
    write_documented(tmp_path)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-W",
            "error",
            "-p",
            "no:asyncio",
            "-p",
            "no:cacheprovider",
            "test_sales.py",
        ],
        cwd=tmp_path / "pipelines",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_shown_code_is_soundly_typed(tmp_path: Path) -> None:
    write_documented(tmp_path)
    files = ["pipelines/sales.py", "pipelines/test_sales.py", "run_sales.py"]
    root = DOCUMENT.parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(root / ".mypy_cache" / "documented"), *files],
        cwd=tmp_path,
        env={"MYPYPATH": f"{root / 'clients' / 'python'}:pipelines", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_option_is_in_the_table() -> None:
    table = re.findall(r"^\| (`[^|]+) \|", DOCUMENT.read_text(), re.MULTILINE)
    named = {name for row in table for name in re.findall(r"`(\w+)`", row)}
    assert named == set(TaskOptions.__annotations__) - {"key"}

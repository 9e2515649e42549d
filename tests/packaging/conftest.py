"""A clean copy of the sources, what is built from it, and a fresh environment with the base install."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what a clean checkout would hold, so that building disturbs nobody."""
    copy = tmp_path_factory.mktemp("sources")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="session")
def dist(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the source archive, and the wheel built from that archive."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, sources], check=True)
    return folder


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    [wheel] = dist.glob("podium-*.whl")
    return wheel


@pytest.fixture(scope="session")
def base_install(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs' folder of a fresh environment with `pip install podium` and no extra, at locked versions."""
    folder = tmp_path_factory.mktemp("base")
    constraints = folder / "constraints.txt"
    lock = (ROOT / "requirements-runtime.lock").read_text()
    constraints.write_text("\n".join(re.findall(r"^[a-z0-9._-]+==[^\\\n]+", lock, re.MULTILINE)) + "\n")
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / "bin"
    subprocess.run([programs / "pip", "--disable-pip-version-check", "install", "-c", constraints, wheel], check=True)
    return programs

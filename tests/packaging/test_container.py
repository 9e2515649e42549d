"""The container's build steps, run by hand in a folder of their own. The image itself is not built here."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT

pytestmark = pytest.mark.timeout(600)

CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text()


def steps(stage: str, instruction: str) -> list[str]:
    """Return what stands behind an instruction in one stage, each time it is used, on one line."""
    text = re.sub(r"\\\n\s*", "", stage)
    return re.findall(rf"^{instruction} (.*)$", text, re.MULTILINE)


def duplicate(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


@pytest.fixture(scope="module")
def stages() -> list[str]:
    return ["FROM " + stage for stage in re.split(r"^FROM ", CONTAINERFILE, flags=re.MULTILINE)[1:]]


@pytest.fixture(scope="module")
def image(stages: list[str], sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the build stage below a temporary folder; return what takes the place of /opt/podium."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "src").mkdir()
    for copy in steps(stages[0], "COPY"):
        *names, _ = shlex.split(copy)
        for name in names:
            duplicate(sources / name, folder / "src" / name)
    for command in steps(stages[0], "RUN"):
        here = command.replace("/opt/podium", str(folder / "podium"))
        subprocess.run(["/bin/sh", "-eu", "-c", here], check=True, cwd=folder / "src")
    return folder / "podium"


def test_the_build_steps_install_every_part(image: Path) -> None:
    for part in ("coordinator", "agent", "up"):
        told = subprocess.run([image / "bin" / "podium", part, "--help"], check=True, capture_output=True, text=True)
        assert "Usage: podium" in told.stdout


def test_the_image_takes_only_what_was_installed(stages: list[str]) -> None:
    assert steps(stages[1], "COPY") == ["--from=build /opt/podium /opt/podium"]


def test_the_image_does_not_run_as_root(stages: list[str]) -> None:
    assert steps(stages[1], "USER") == ["10001"]


def test_both_stages_have_the_same_python(stages: list[str]) -> None:
    [build], [final] = steps(stages[0], "FROM"), steps(stages[1], "FROM")
    assert build.removesuffix(" AS build") == final

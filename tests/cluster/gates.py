"""Gates hold tasks up until a test lets them through: the test has a file locked, and tasks wait for a shared lock."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import BinaryIO


class Gates:
    """The gates of a cluster, by name; one that was never shut is open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shut: dict[str, BinaryIO] = {}
        folder.mkdir(mode=0o755)

    @property
    def names(self) -> set[str]:
        """The gates that are shut."""
        return set(self._shut)

    def shut(self, name: str) -> None:
        """Hold up whoever comes to the gate from now on."""
        path = self.folder / name
        path.touch(mode=0o644)
        self._shut[name] = path.open("r+b")
        fcntl.flock(self._shut[name], fcntl.LOCK_EX)

    def open(self, name: str) -> None:
        """Let everybody through."""
        self._shut.pop(name).close()

    def open_all(self) -> None:
        """Let everybody through every gate."""
        for name in list(self._shut):
            self.open(name)

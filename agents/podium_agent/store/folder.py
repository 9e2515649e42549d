"""The agent's data folder: what is where, who may use it, and the agent's id.

Standard library only: the spawner uses it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from podium.errors import StateError

SOCKET_PATH_LIMIT = 100
LOCK_PATIENCE = 3.0


class DataFolderInUseError(StateError):
    """Another agent holds the data folder."""

    reason = "DATA_FOLDER_IN_USE"


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Paths within the data folder; all folders are for their owner only."""

    root: Path

    @property
    def journal(self) -> Path:
        """Finished results until they are acknowledged."""
        return self.root / "journal"

    @property
    def logs(self) -> Path:
        """Logs of attempts until the coordinator has them."""
        return self.root / "logs"

    @property
    def scratch(self) -> Path:
        """One folder per worker, emptied after each attempt."""
        return self.root / "scratch"

    @property
    def files(self) -> Path:
        """Files that attempts returned, until they are uploaded."""
        return self.root / "files"

    @property
    def blobs(self) -> Path:
        """The cache of blobs."""
        return self.root / "blobs"

    @property
    def bundles(self) -> Path:
        """Unpacked bundles."""
        return self.root / "bundles"

    @property
    def settings(self) -> Path:
        """The settings in force, for the agent's own processes."""
        return self.root / "settings.json"

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self.root, self.journal, self.logs, self.scratch, self.files, self.blobs, self.bundles):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)

    def lock(self, patience: float = LOCK_PATIENCE) -> int:
        """Take the folder for this process and those it execs; return the descriptor that holds it.

        Args:
            patience: Seconds to wait for an agent that is just ending.

        Raises:
            DataFolderInUseError: Another agent has it.
        """
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise DataFolderInUseError(
                    f"Another agent uses the data folder {self.root}; give each agent its own (--data-dir).",
                    data_dir=str(self.root),
                )
            time.sleep(0.05)
        return descriptor

    def agent_id(self) -> str:
        """Return the agent's UUID, made at its first start."""
        path = self.root / "agent_id"
        try:
            return str(uuid.UUID(path.read_text().strip()))
        except FileNotFoundError:
            made = str(uuid.uuid4())
            replace_file(path, made.encode())
            return made

    def socket_folder(self) -> Path:
        """Make and return a folder, for the owner only, whose path is short enough for a unix socket.

        Raises:
            PermissionError: A folder of that name exists and belongs to someone else.
        """
        folder = self.root / "run"
        if len(os.fsencode(folder)) > SOCKET_PATH_LIMIT - len("/session.sock"):
            name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
            folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"podium-{name}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise PermissionError(f"{folder} must belong to this user and be closed to others (mode 0700).")
        return folder


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, readable by its owner only."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
    part.replace(path)

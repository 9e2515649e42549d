"""Files among a run's outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podium.blob_transfer import AsyncBlobs
    from podium.client import Blobs


@dataclass(frozen=True, slots=True)
class AsyncFile:
    """A file that a task returned: its name, its size in bytes and the blob that holds it."""

    name: str
    size: int
    sha256: str
    _blobs: AsyncBlobs = field(repr=False, compare=False)

    async def download(self, path: str | PathLike[str] = ".") -> Path:
        """Write the file to `path`, or into it under its own name when it is a folder; return where it is now.

        Raises:
            BlobNotFoundError: The file is no longer kept.
            OSError: The file cannot be written.
        """
        target = _target(Path(path), self.name)
        await self._blobs.download(self.sha256, target)
        return target

    async def read_bytes(self) -> bytes:
        """Return the file's bytes. Raises BlobNotFoundError when it is no longer kept."""
        return await self._blobs.get(self.sha256)


@dataclass(frozen=True, slots=True)
class File:
    """A file that a task returned: its name, its size in bytes and the blob that holds it."""

    name: str
    size: int
    sha256: str
    _blobs: Blobs = field(repr=False, compare=False)

    def download(self, path: str | PathLike[str] = ".") -> Path:
        """Write the file to `path`, or into it under its own name when it is a folder; return where it is now.

        Raises:
            BlobNotFoundError: The file is no longer kept.
            OSError: The file cannot be written.
        """
        target = _target(Path(path), self.name)
        self._blobs.download(self.sha256, target)
        return target

    def read_bytes(self) -> bytes:
        """Return the file's bytes. Raises BlobNotFoundError when it is no longer kept."""
        return self._blobs.get(self.sha256)


def _target(path: Path, name: str) -> Path:
    return path / name if path.is_dir() else path

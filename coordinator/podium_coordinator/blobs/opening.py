"""Chooses where blobs are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from podium_coordinator.blobs.folder import FolderStore
from podium_coordinator.blobs.objects import ObjectStore

if TYPE_CHECKING:
    from podium_coordinator.blobs.contract import BlobStore

_FILE: Final = "file"


def open_store(url: str, folder: Path) -> BlobStore:
    """Return the store that `url` names; `folder` when it is empty. Blocking.

    Raises:
        InvalidSettingError: The URL or the folder cannot be used.
    """
    if not url:
        return FolderStore(folder)
    parts = urlsplit(url)
    if parts.scheme == _FILE:
        return FolderStore(Path(unquote(parts.path)))
    return ObjectStore.from_url(url)

"""Folders that only their owner may look into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podium.errors import FieldViolation, InvalidSettingError

if TYPE_CHECKING:
    from pathlib import Path


def make_private(folder: Path) -> None:
    """Make a folder, with mode 0700, or take that mode to the one there is. Blocking.

    Raises:
        InvalidSettingError: It cannot be made, or belongs to somebody else.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        description = f"the folder {folder} cannot be used: {error.strerror}"
        raise InvalidSettingError(
            f"data_dir: {description}.", (FieldViolation("data_dir", description),), setting="data_dir"
        ) from error

"""Fetches the files in a run's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podium.cli.show.outputs import files


async def download(outputs: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write each file to FOLDER/TASK/NAME and return the paths; files that are there are replaced.

    Files of one task that have the same name and other contents are told apart by the first digits of their SHA-256.

    Raises:
        PodiumError: A file is no longer kept, or no coordinator answers.
        OSError: The folder cannot be written.
    """
    written: dict[Path, str] = {}
    for task, value in outputs.items():
        (folder / task).mkdir(parents=True, exist_ok=True)
        for file in files(value):
            path = folder / task / file.name
            if written.get(path, file.sha256) != file.sha256:
                path = path.with_name(f"{file.sha256[:12]}-{file.name}")
            if path not in written:
                written[await file.download(path)] = file.sha256
    return list(written)

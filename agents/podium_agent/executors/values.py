"""What an action is given: an order's parameters and upstream outputs, and the files and blobs they refer to.

An output over the inline limit comes as {"$blob": ...} and stands for the JSON in that blob; {"$file": ...} anywhere in
an output stands for a file. Both are in the agent's cache when the attempt begins; a file is given as a `pathlib.Path`
under its own name in the attempt's scratch folder, read-only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.bindings import Inputs
from podium.errors import RejectedInputError
from podium.results import FileRef, blob_reference, decode_result
from podium_agent import frames

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING: dict[str, Any] = {"inputs": [], "blobs": {}}


class LocalFiles:
    """Gives files in outputs a place in the scratch folder.

    Args:
        folder: Where to put them; made when first needed.
        blobs: Where the blobs are that the order's outputs refer to, by SHA-256.
    """

    def __init__(self, folder: Path, blobs: Mapping[str, str]) -> None:
        self._folder = folder
        self._blobs = blobs
        self.given: dict[Path, FileRef] = {}

    def open(self, file: FileRef) -> Path:
        """Return the local path of a file; a hard link, so that it stays whatever becomes of the cache."""
        path = self._folder / file.sha256[:16] / file.name
        if path not in self.given:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.hardlink_to(self.blob(file.sha256))
            self.given[path] = file
        return path

    def blob(self, sha256: str) -> Path:
        """Return where a blob is.

        Raises:
            RejectedInputError: The agent has not fetched it.
        """
        if sha256 not in self._blobs:
            raise RejectedInputError(f"Blob {sha256} did not come with the order.", sha256=sha256)
        return Path(self._blobs[sha256])


def read_inputs(params: bytes, extra: bytes, folder: Path) -> tuple[Inputs, LocalFiles]:
    """Return what bindings draw from, and the files among it.

    Args:
        params: The run's parameters as JSON; empty when no binding asks for one.
        extra: As in `records.Task`.
        folder: Where to put files.

    Raises:
        ValueError: It is not JSON.
    """
    [(header, body)] = frames.FrameBuffer().feed(extra) if extra else [(NOTHING, b"")]
    files = LocalFiles(folder, header["blobs"])
    outputs, position = {}, 0
    for task, length in header["inputs"]:
        if length:
            outputs[task] = _whole(decode_result(body[position : position + length]), files)
        position += length
    return Inputs(json.loads(params) if params else {}, outputs, files.open), files


def _whole(value: Any, files: LocalFiles) -> Any:
    reference = blob_reference(value)
    return value if reference is None else json.loads(files.blob(reference.sha256).read_bytes())

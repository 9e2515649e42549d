"""What a python action returns: JSON, with files set aside for upload.

Files are linked (out of the scratch folder) or copied (from anywhere else) into the attempt's folder of the agent's
data, under the SHA-256 of their bytes, before the result is journaled: so a session that dies uploads them again. A
large output becomes such a file itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from podium.errors import InvalidResultError, ResultTooLargeError
from podium.results import BlobRef, blob_json, encode_result
from podium_agent.executors.outcome import Outcome, failed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from podium.results import FileRef, PathRef


class Products:
    """Delivers one attempt's result.

    Args:
        folder: Says where to set files aside; made when first needed.
        scratch: Files in here need no copy.
        given: Files that were inputs: they are stored already.
        limits: `inline_output` and `largest_output`, in bytes.
    """

    def __init__(
        self, folder: Callable[[], Path], scratch: Path, given: Mapping[Path, FileRef], limits: Mapping[str, Any]
    ) -> None:
        self._folder = folder
        self._scratch = scratch
        self._given = given
        self._limits = limits

    def deliver(self, result: object) -> Outcome:
        """Return the outcome that a result means: success, or the failure of a result that cannot be handed on."""
        if result is None:
            return Outcome("succeeded", b"null")
        try:
            output, files = encode_result(result, self._limits["largest_output"])
            blobs = [self._set_aside(file) for file in files]
            if len(output) > self._limits["inline_output"]:
                output, blob = self._as_blob(output)
                blobs.append(blob)
        except (InvalidResultError, ResultTooLargeError) as error:
            return failed("user_error", error.message)
        except (OSError, RecursionError) as error:
            return failed("user_error", f"The result cannot be handed on: {error}")
        return Outcome("succeeded", output, blobs=blobs)

    def _set_aside(self, found: PathRef) -> tuple[str, int, str]:
        file = found.file
        if self._given.get(found.path) != file:
            target = self._target(file.sha256)
            source = found.path.resolve()
            target.unlink(missing_ok=True)
            if source.is_relative_to(self._scratch):
                os.link(source, target)
            else:
                shutil.copyfile(source, target)
        return file.sha256, file.size, file.name

    def _as_blob(self, output: bytes) -> tuple[bytes, tuple[str, int, str]]:
        sha256 = hashlib.sha256(output).hexdigest()
        self._target(sha256).write_bytes(output)
        reference = json.dumps(blob_json(BlobRef(sha256, len(output)))).encode()
        return reference, (sha256, len(output), "")

    def _target(self, sha256: str) -> Path:
        folder = self._folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / sha256

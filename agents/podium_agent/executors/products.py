"""What a python action returns: JSON, with files set aside for upload.

Files are moved (out of the scratch folder) or copied (from anywhere else) into the attempt's folder of the agent's data,
under the SHA-256 of their bytes, before the result is journaled: so a session that dies uploads them again, and what
the task does to its files later changes nothing. A large output becomes such a file itself.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium_agent.executors.outcome import Outcome, failed

if TYPE_CHECKING:
    from collections.abc import Mapping


class ResultError(Exception):
    """A result cannot be handed on; the text says why."""


class Products:
    """Delivers one attempt's result.

    Args:
        folder: Where to set files aside; made when first needed.
        scratch: Files in here may be moved.
        given: Local paths that were inputs, with (sha256, size, name): handing one on copies nothing.
        limits: `inline_output` and `largest_output`, in bytes.
    """

    def __init__(
        self, folder: Path, scratch: Path, given: Mapping[Path, tuple[str, int, str]], limits: Mapping[str, Any]
    ) -> None:
        self._folder = folder
        self._scratch = scratch
        self._given = given
        self._limits = limits
        self._blobs: dict[tuple[str, str], tuple[str, int, str]] = {}

    def deliver(self, result: Any) -> Outcome:
        """Return the outcome that a result means: success, or the failure of a result that cannot be handed on."""
        try:
            _check_finished(result)
            output = json.dumps(self._lifted(result, "result"), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            encoded = self._within_limits(output.encode())
        except (ResultError, ValueError, RecursionError, OSError) as error:
            return failed("user_error", f"The task's result cannot be handed on: {error}")
        return Outcome("succeeded", encoded, blobs=list(self._blobs.values()))

    def _lifted(self, value: Any, where: str) -> Any:
        if value is None or isinstance(value, str | bool | int | float):
            return value
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise ResultError(f"{where} has the key {key!r}; JSON objects have only text as keys.")
            return {key: self._lifted(item, f"{where}[{key!r}]") for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._lifted(item, f"{where}[{index}]") for index, item in enumerate(value)]
        if isinstance(value, Path):
            return {"$file": self._file(value, where)}
        raise ResultError(f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which is not JSON.")

    def _file(self, path: Path, where: str) -> dict[str, Any]:
        absolute = self._scratch / path
        if absolute not in self._given:
            if not absolute.is_file():
                raise ResultError(f"{where} is the path {str(path)!r}, where there is no file.")
            sha256, size = self._set_aside(absolute)
            reference = sha256, size, path.name
        else:
            reference = self._given[absolute]
        sha256, size, name = reference
        self._blobs[sha256, name] = reference
        return {"sha256": sha256, "name": name, "size": size}

    def _set_aside(self, path: Path) -> tuple[str, int]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._folder / "part"
        part.unlink(missing_ok=True)
        real = path.resolve()
        if real.is_relative_to(self._scratch):
            try:
                os.link(real, part)
            except OSError:
                shutil.copyfile(real, part)
        else:
            shutil.copyfile(real, part)
        return self._named_by_content(part)

    def _named_by_content(self, part: Path) -> tuple[str, int]:
        with part.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
        part.replace(self._folder / sha256)
        return sha256, size

    def _within_limits(self, output: bytes) -> bytes:
        if len(output) <= self._limits["inline_output"]:
            return output
        largest = self._limits["largest_output"]
        if len(output) > largest:
            raise ResultError(
                f"it has {len(output)} bytes as JSON, over the limit of {largest}; return a file (pathlib.Path) instead."
            )
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._folder / "part"
        part.write_bytes(output)
        sha256, size = self._named_by_content(part)
        self._blobs[sha256, ""] = sha256, size, ""
        return json.dumps({"$blob": {"sha256": sha256, "size": size}}).encode()


def _check_finished(result: Any) -> None:
    if inspect.iscoroutine(result):
        result.close()
        raise ResultError("it is a coroutine; call it with asyncio.run within the task and return what it returns.")
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise ResultError("it is a generator; return a list.")
    if inspect.isawaitable(result):
        raise ResultError("it is awaitable; await it within the task and return what it gives.")

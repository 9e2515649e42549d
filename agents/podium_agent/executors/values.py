"""What an action is given: its bindings, with parameters and upstream outputs put in.

An output over the inline limit comes as {"$blob": ...} and stands for the JSON in that blob; {"$file": ...} anywhere in
an output stands for a file. Both are in the agent's cache when the attempt begins; a file is given as a `pathlib.Path`
under its own name in the attempt's scratch folder, read-only.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podium_agent.frames import Header

Binding = dict[str, Any]


class InputError(Exception):
    """A value the action refers to is not there; the text says which."""


@dataclass(slots=True)
class Given:
    """Parameters and upstream outputs as JSON bytes, read when first asked for.

    `blobs` says where the blobs are that outputs refer to; `files` gathers the local paths given to the action, with
    (sha256, size, name) of each.
    """

    params: bytes
    outputs: dict[str, bytes]
    blobs: Mapping[str, str]
    folder: Path
    files: dict[Path, tuple[str, int, str]] = field(default_factory=dict)
    _read: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, order: Header, body: bytes, scratch: Path) -> Given:
        """Take the order's body apart: the parameters, then the outputs in the order's order."""
        position = order["params"]
        outputs = {}
        for task, length in order["inputs"]:
            outputs[task] = body[position : position + length]
            position += length
        return cls(body[: order["params"]], outputs, order["blobs"], scratch / "inputs")

    def bind_list(self, bindings: list[Binding]) -> list[Any]:
        """Return the values of bindings, in order.

        Raises:
            InputError: A value is not there.
        """
        return [self.bind(binding) for binding in bindings]

    def bind_object(self, bindings: dict[str, Binding]) -> dict[str, Any]:
        """Return the values of bindings, by name.

        Raises:
            InputError: A value is not there.
        """
        return {name: self.bind(binding) for name, binding in bindings.items()}

    def bind(self, binding: Binding) -> Any:
        """Return a binding's value.

        Raises:
            InputError: It is not there.
        """
        match binding:
            case {"literal": value}:
                return value
            case {"parameter": name}:
                return self._parameter(name)
            case {"output": [task, *path]}:
                return self._output(task, path)
            case {"list": items}:
                return self.bind_list(items)
            case {"object": entries}:
                return self.bind_object(entries)
        raise InputError(f"The binding {binding!r} is of no known kind.")

    def _parameter(self, name: str) -> Any:
        params = self._read.get("") or json.loads(self.params or b"{}")
        self._read[""] = params
        if name not in params:
            raise InputError(f"The run has no parameter {name!r}.")
        return params[name]

    def _output(self, task: str, path: list[str]) -> Any:
        if task not in self.outputs:
            raise InputError(f"The output of task {task!r} did not come with the order.")
        key = f"output {task}"
        if key not in self._read:
            self._read[key] = self._open(self.outputs[task])
        value = self._read[key]
        for depth, step in enumerate(path):
            try:
                value = value[int(step)] if isinstance(value, list) else value[step]
            except (LookupError, TypeError, ValueError) as error:
                where = "".join(f"[{part!r}]" for part in path[: depth + 1])
                raise InputError(f"The output of task {task!r} has no {where}.") from error
        return self.localized(value)

    def _open(self, output: bytes) -> Any:
        value = json.loads(output) if output else None
        match value:
            case {"$blob": {"sha256": str(sha256)}}:
                return json.loads(Path(self._local(sha256)).read_bytes())
        return value

    def localized(self, value: Any) -> Any:
        """Return a copy of `value` with local paths where it refers to files."""
        if isinstance(value, list):
            return [self.localized(item) for item in value]
        if not isinstance(value, dict):
            return value
        match value:
            case {"$file": {"sha256": str(sha256), "size": int(size), "name": str(name)}} if len(value) == 1:
                return self._place(sha256, size, name)
        return {key: self.localized(item) for key, item in value.items()}

    def _place(self, sha256: str, size: int, name: str) -> Path:
        path = self.folder / sha256[:16] / (os.path.basename(name) or "file")  # noqa: PTH119 - text, not a path yet
        if path not in self.files:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.hardlink_to(self._local(sha256))
            self.files[path] = sha256, size, name
        return path

    def _local(self, sha256: str) -> str:
        if sha256 not in self.blobs:
            raise InputError(f"Blob {sha256} did not come with the order.")
        return self.blobs[sha256]

"""Outputs of runs as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from podium.cli.show.quantity import size
from podium.cli.show.table import card

if TYPE_CHECKING:
    from podium.files import AsyncFile

_LONGEST = 400
"""Characters of one task's output in a summary."""


def summary(outputs: Mapping[str, Any]) -> str:
    """Return one line per task: its output as JSON, files by name and size, shortened where it is long."""
    return card([(task, _shortened(_walked(value, _told))) for task, value in outputs.items()])


def as_json(value: Any) -> Any:
    """Return outputs as the API writes them: files as {"$file": {"sha256", "name", "size"}}."""
    return _walked(value, lambda file: {"$file": {"sha256": file.sha256, "name": file.name, "size": file.size}})


def files(value: Any) -> Iterator[AsyncFile]:
    """Yield the files in an output, in order."""
    if _is_file(value):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from files(item)


def _is_file(value: Any) -> bool:
    from podium.files import AsyncFile

    return isinstance(value, AsyncFile)


def _walked(value: Any, told: Any) -> Any:
    if _is_file(value):
        return told(value)
    if isinstance(value, dict):
        return {key: _walked(item, told) for key, item in value.items()}
    if isinstance(value, list):
        return [_walked(item, told) for item in value]
    return value


def _told(file: AsyncFile) -> str:
    return f"{file.name} ({size(file.size)})"


def _shortened(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"

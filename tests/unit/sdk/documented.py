"""The files that docs/sdk.md shows."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[3] / "docs" / "sdk.md"
_SHOWN = re.compile(r"<!-- file: (?P<name>\S+) -->\n```\w+\n(?P<text>.*?)```\n", re.DOTALL)


def write_documented(folder: Path) -> list[str]:
    """Write the files into a folder; return their names."""
    found = list(_SHOWN.finditer(DOCUMENT.read_text()))
    for match in found:
        path = folder / match["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(match["text"])
    return [match["name"] for match in found]

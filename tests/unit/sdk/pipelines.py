"""Tasks and workflows at the top of a module, where agents can import them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from podium import shell, task, workflow


@task
def extract(year: int) -> dict[str, Any]:
    """Return a file and some rows."""
    path = Path("rows.txt")
    path.write_text(f"{year}\n")
    return {"rows": [1, 2, year], "file": path}


@task(retries=2, delay="5s", cpu=0.5, memory="512MiB", labels={"zone": "b"})
def total(rows: list[int], scale: float = 1) -> float:
    return sum(rows) * scale


@task
def notify() -> None:
    """Do nothing."""


@workflow(timeout="1h")
def daily(year: int = 2013, note: str = "none") -> None:
    """Sums up a year.

    And more.
    """
    extracted = extract(year)
    summed = total(extracted["rows"], scale=2)
    read = shell('cat "$FILE"', env={"FILE": extracted["file"], "NOTE": note, "MODE": "fast"}, key="read")
    [summed, read] >> notify()

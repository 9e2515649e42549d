"""The API's two ways to the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podium_coordinator.store.pools import Pool


@dataclass(frozen=True, slots=True)
class Database:
    """`read` gives connections that cannot write, `write` those for the rows the API makes. Both are open."""

    read: Pool
    write: Pool

"""What the API asks of a shard's owner in this process. All of it is a cache or a hint: the rows are the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from podium_coordinator.domain.fleet import Agent
    from podium_coordinator.domain.records import RunRecord, RunUpdate


class RunNews(Protocol):
    """One watcher's place: a snapshot, then changes. Ends after the run's end was told, or when the shard is lost."""

    def __aiter__(self) -> AsyncIterator[RunUpdate]:
        """Begin to follow."""

    def close(self) -> None:
        """Stop watching."""


class ShardView(Protocol):
    """The shard as far as this process owns it. While it does not, there is nothing here and hints go nowhere."""

    @property
    def owned(self) -> bool:
        """Whether this process owns the shard now."""

    def submit(self, record: RunRecord) -> None:
        """Hint that a run was committed."""

    def wake(self) -> None:
        """Hint that commands were committed."""

    async def subscribe(self, run_id: UUID, run_only: bool) -> RunNews | None:
        """Watch a run that is under way here; None when it is not."""

    def ready(self, run_id: UUID) -> frozenset[int]:
        """Return the tasks of a run under way here that wait for capacity."""

    def agents(self) -> list[Agent]:
        """Return the agents as the owner sees them."""

    async def agents_changed(self, version: int) -> int:
        """Wait until agents have changed since `version`; return the version now."""

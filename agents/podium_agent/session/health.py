"""Whether the agent can keep results: when its disk is full it takes no new work, until there is space again."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = structlog.get_logger(__name__)

PROBE_BYTES = 1 << 20
PROBE_PAUSE = 2.0


class DiskHealth:
    """Healthy until someone reports a write that failed; probes the disk from then on.

    Args:
        folder: Where to probe.
        changed: Told of each change: True for healthy.
    """

    def __init__(self, folder: Path, changed: Callable[[bool], None]) -> None:
        self._folder = folder
        self._changed = changed
        self._probing: asyncio.TimerHandle | None = None

    @property
    def healthy(self) -> bool:
        """Whether results can be kept."""
        return self._probing is None

    def write_failed(self, reason: str) -> None:
        """Note that a result, or the beginning of an attempt, could not be written down."""
        if self._probing is not None:
            return
        log.error("journal_cannot_be_written", reason=reason, consequence="no new work until it can")
        self._probe_later()
        self._changed(False)

    def _probe_later(self) -> None:
        self._probing = asyncio.get_running_loop().call_later(PROBE_PAUSE, self._probe)

    def _probe(self) -> None:
        if not self._can_write():
            self._probe_later()
            return
        self._probing = None
        log.info("journal_can_be_written_again")
        self._changed(True)

    def _can_write(self) -> bool:
        path = self._folder / "probe"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, PROBE_BYTES)
            finally:
                os.close(descriptor)
                path.unlink()
        except OSError:
            return False
        return True

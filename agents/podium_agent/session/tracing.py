"""Forwards the spans of attempts over OTLP, as the standard variables say. Losing them slows and fails nothing."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import structlog

from podium.telemetry import export_configured

if TYPE_CHECKING:
    from podium_agent.session.forwarding import Forwarder

log = structlog.get_logger(__name__)

MOST_WAITING = 4096
"""Attempts whose spans wait to be sent; when there are more, the spans of new ones are dropped."""
GATHER = 0.2
"""Seconds in which spans gather, to be sent with one call."""
MOST_BYTES = 1 << 20
"""Bytes from which on no more spans go with a call."""
FLUSH_LIMIT = 3.0
"""Seconds that sending the last batches may delay the session's end."""


class SpanForwarder:
    """Takes encoded spans at once, sends them when it can."""

    def __init__(self) -> None:
        self._exporter = _forwarder() if export_configured(os.environ) else None
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(MOST_WAITING)
        self._dropped = 0

    def forward(self, spans: bytes) -> None:
        """Send an encoded ExportTraceServiceRequest some time soon."""
        try:
            self._waiting.put_nowait(spans)
        except asyncio.QueueFull:
            self._dropped += 1

    async def run(self) -> None:
        """Send what comes, until cancelled; nothing comes where nothing is exported."""
        while True:
            gathered = [await self._waiting.get()]
            await asyncio.sleep(GATHER)
            if self._exporter is None:
                continue
            while not self._waiting.empty() and sum(map(len, gathered)) < MOST_BYTES:
                gathered.append(self._waiting.get_nowait())
            # Messages of one type, one behind the other, are one message with the entries of all.
            await asyncio.to_thread(self._exporter.send, b"".join(gathered))
            for _ in gathered:
                self._waiting.task_done()
            if self._dropped:
                log.warning("spans_dropped", attempts=self._dropped)
                self._dropped = 0

    async def close(self) -> None:
        """Wait for what is left to be sent, within `FLUSH_LIMIT`."""
        if self._exporter is None:
            return
        try:
            await asyncio.wait_for(self._waiting.join(), FLUSH_LIMIT)
        except TimeoutError:
            log.warning("spans_dropped", attempts=self._waiting.qsize())


def _forwarder() -> Forwarder:
    """Load OpenTelemetry's exporter, which takes a while and is not wanted by all."""
    from podium_agent.session.forwarding import Forwarder

    return Forwarder()

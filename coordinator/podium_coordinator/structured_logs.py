"""The coordinator's own log: one line per event, JSON or for the eye, with the ids bound to the current task.

Every event is declared in `Event`, so that the words operators search for are found in one place.
"""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, TextIO

import structlog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.typing import Processor

LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Event(StrEnum):
    """What the coordinator has to say."""

    CALL_ENDED = "rpc.call_ended"
    CALL_BROKE = "rpc.call_broke"
    LISTENING = "rpc.listening"
    LISTENING_OPENLY = "rpc.listening_without_authentication"
    SERVING = "rpc.serving"
    DRAINING = "rpc.draining"
    STOPPED = "rpc.stopped"
    HANDLERS_LEFT = "rpc.handlers_still_running_at_stop"
    BLOB_STORE_FAILED = "blobs.store_failed"
    BLOBS_COLLECTED = "blobs.collected"
    BLOB_LEFT_BEHIND = "blobs.content_not_deleted"
    LOG_STORE_FAILED = "logs.store_failed"
    LOG_REFUSED = "logs.piece_refused"
    LOG_CUT = "logs.cut_at_quota"
    LOG_STORED = "logs.stored_as_blob"
    LOG_NOT_STORED = "logs.could_not_be_stored"
    LOGS_SWEPT = "logs.leftovers_swept"
    JOB_BROKE = "housekeeping.job_broke"
    SHARD_ACQUIRED = "shard.acquired"
    OWNERSHIP_ENDED = "shard.ownership_ended"
    OWNERSHIP_BROKE = "shard.ownership_broke"
    LEASE_NOT_RENEWED = "shard.lease_not_renewed"
    HINTS_BROKE = "shard.hints_broke"
    SWEEP_FAILED = "shard.sweep_failed"
    LATE_REPORT = "shard.late_report"
    LOSSES_NOT_DECLARED = "shard.agent_losses_not_declared"
    SESSION_OUTLIVED_SHARD = "session.ended_after_its_shard"
    BACKGROUND_TASK_BROKE = "process.background_task_broke"
    STARTING = "process.starting"
    STOPPING = "process.stopping"
    LOOP_LAGGED = "process.loop_lagged"
    POSTGRES_RESTARTED = "process.postgres_restarted"


_SHARED: Final[Sequence[Processor]] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
)


def configure(form: LogFormat = "console", level: LogLevel = "info", stream: TextIO | None = None) -> None:
    """Send everything logged in this process, by us or by libraries, to `stream` (stderr) in one form.

    Call once, first of all; a second call replaces the first.
    """
    target = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(form, target)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _renderers(form: LogFormat, stream: TextIO) -> list[Processor]:
    if form == "json":
        return [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer(default=str)]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)]

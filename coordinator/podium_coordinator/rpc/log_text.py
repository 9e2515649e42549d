"""Logs as messages: bytes in the log format become entries, in messages of bounded size."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from google.protobuf.timestamp_pb2 import Timestamp

from podium.logformat import LogFormatError, LogStream, Record, decode
from podium.v1 import log_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterator

MESSAGE_BYTES: Final = 1 << 20
"""The most bytes of log in one message."""

_DAMAGED: Final = b"The log is damaged here; what follows cannot be read.\n"


async def entries(pieces: AsyncIterable[bytes]) -> AsyncIterator[list[log_pb2.LogEntry]]:
    """Yield the entries of a log that comes in pieces, cut anywhere; at most `MESSAGE_BYTES` of data at once."""
    rest = b""
    async for piece in pieces:
        try:
            records, rest = decode(rest + piece)
        except LogFormatError:
            yield [_entry(Record(time.time(), LogStream.PODIUM, _DAMAGED))]
            return
        for some in _portions(records):
            yield [_entry(record) for record in some]


def _portions(records: list[Record]) -> Iterator[list[Record]]:
    some: list[Record] = []
    size = 0
    for record in records:
        if some and size + len(record.data) > MESSAGE_BYTES:
            yield some
            some, size = [], 0
        some.append(record)
        size += len(record.data)
    if some:
        yield some


def _entry(record: Record) -> log_pb2.LogEntry:
    moment = Timestamp()
    moment.FromNanoseconds(int(record.time * 1_000_000) * 1000)
    return log_pb2.LogEntry(time=moment, stream=_STREAMS[record.stream], data=record.data)


_STREAMS: Final = {
    LogStream.STDOUT: log_pb2.LOG_STREAM_STDOUT,
    LogStream.STDERR: log_pb2.LOG_STREAM_STDERR,
    LogStream.PODIUM: log_pb2.LOG_STREAM_PODIUM,
}

"""The log format: what an attempt wrote, as a sequence of records, the same on disk, on the wire and in the database.

A record is a header of 13 bytes, `>dBI` (seconds since the Unix epoch, the stream, the number of bytes), and the bytes.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

MAX_RECORD_BYTES = 64 * 1024
"""The most bytes one record holds; `encode` makes several records of more."""

_HEADER = struct.Struct(">dBI")
HEADER_BYTES = _HEADER.size


class LogStream(IntEnum):
    """Where a piece of a log came from."""

    STDOUT = 1
    STDERR = 2
    PODIUM = 3


class Record(NamedTuple):
    """A piece of a log. `time` is in seconds since the Unix epoch; `data` may begin or end within a line."""

    time: float
    stream: LogStream
    data: bytes


class LogFormatError(ValueError):
    """The bytes are not in the log format."""


def encode(time: float, stream: int, data: bytes) -> bytes:
    """Return `data` as records of at most `MAX_RECORD_BYTES` each; no bytes make no record.

    Raises:
        ValueError: `stream` is none of `LogStream`.
    """
    code = LogStream(stream)
    pieces = [data[start : start + MAX_RECORD_BYTES] for start in range(0, len(data), MAX_RECORD_BYTES)]
    return b"".join(_HEADER.pack(time, code, len(piece)) + piece for piece in pieces)


def decode(data: bytes) -> tuple[list[Record], bytes]:
    """Return the whole records at the front of `data`, and the bytes of a last, incomplete one.

    Raises:
        LogFormatError: A header names an unknown stream, or more bytes than a record may hold.
    """
    records = []
    position = 0
    while len(data) - position >= HEADER_BYTES:
        time, stream, length = _HEADER.unpack_from(data, position)
        _check_header(stream, length, position)
        begin = position + HEADER_BYTES
        if len(data) - begin < length:
            break
        records.append(Record(time, LogStream(stream), data[begin : begin + length]))
        position = begin + length
    return records, data[position:]


def _check_header(stream: int, length: int, position: int) -> None:
    if not LogStream.STDOUT <= stream <= LogStream.PODIUM:
        raise LogFormatError(f"The record at byte {position} has the unknown stream {stream}.")
    if length > MAX_RECORD_BYTES:
        raise LogFormatError(
            f"The record at byte {position} claims {length} bytes; a record holds at most {MAX_RECORD_BYTES}."
        )

"""Frames on the sockets between the agent's processes: a JSON header and a body of raw bytes.

A frame is two big-endian u32 (the lengths of header and body), the header, the body. Values that are JSON already
travel in the body, so that they are never encoded a second time. A frame without a header carries packed records (see
podium_agent.records), as many as there were.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

LENGTHS = struct.Struct(">II")
MAX_HEADER = 16 * 1024 * 1024
MAX_BODY = 256 * 1024 * 1024

Header = dict[str, Any]


class FrameError(Exception):
    """The peer's bytes are no frame, or one over the limits."""


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)


def encode_header(header: Header) -> bytes:
    """Return the header as JSON."""
    return _ENCODER.encode(header).encode()


def pack(header: Header, body: bytes = b"", encode: Callable[[Header], bytes] = encode_header) -> bytes:
    """Return the frame as bytes.

    Raises:
        FrameError: The header or the body is over its limit.
    """
    encoded = encode(header) if header else b""
    check_lengths(len(encoded), len(body))
    return b"".join((LENGTHS.pack(len(encoded), len(body)), encoded, body))


def check_lengths(header: int, body: int) -> None:
    """Raise FrameError when one of the lengths, in bytes, is over its limit."""
    if header > MAX_HEADER or body > MAX_BODY:
        raise FrameError(f"A frame of {header} + {body} bytes is over the limits of {MAX_HEADER} and {MAX_BODY}.")


class FrameBuffer:
    """Turns a stream of bytes, in whatever pieces it comes, into frames; `decode` reads a header's JSON."""

    def __init__(self, decode: Callable[[bytes], Any] = json.loads) -> None:
        self._bytes = bytearray()
        self._decode = decode

    def feed(self, data: bytes) -> Iterator[tuple[Header, bytes]]:
        """Add `data` and yield each frame that is whole now.

        Raises:
            FrameError: The bytes are no frame.
        """
        self._bytes += data
        while (frame := self._take()) is not None:
            yield frame

    def _take(self) -> tuple[Header, bytes] | None:
        if len(self._bytes) < LENGTHS.size:
            return None
        header_length, body_length = LENGTHS.unpack_from(self._bytes)
        check_lengths(header_length, body_length)
        middle = LENGTHS.size + header_length
        end = middle + body_length
        if len(self._bytes) < end:
            return None
        header = parse_header(bytes(self._bytes[LENGTHS.size : middle]), self._decode)
        body = bytes(self._bytes[middle:end])
        del self._bytes[:end]
        return header, body


def parse_header(encoded: bytes, decode: Callable[[bytes], Any] = json.loads) -> Header:
    """Return the header's values; none when it is empty.

    Raises:
        FrameError: It is not a JSON object.
    """
    if not encoded:
        return {}
    try:
        header = decode(encoded)
    except ValueError as error:
        raise FrameError("A frame's header is not JSON.") from error
    if not isinstance(header, dict):
        raise FrameError("A frame's header is not a JSON object.")
    return header


def receive(connection: socket.socket) -> tuple[Header, bytes] | None:
    """Wait for one frame on a blocking socket; None when the peer has closed, even within a frame.

    Raises:
        FrameError: The bytes are no frame.
        OSError: The connection broke.
    """
    lengths = _receive_exactly(connection, LENGTHS.size)
    if lengths is None:
        return None
    header_length, body_length = LENGTHS.unpack(lengths)
    check_lengths(header_length, body_length)
    rest = _receive_exactly(connection, header_length + body_length)
    if rest is None:
        return None
    return parse_header(rest[:header_length]), rest[header_length:]


def _receive_exactly(connection: socket.socket, size: int) -> bytes | None:
    data = connection.recv(size)
    if len(data) == size:
        return data
    pieces = [data]
    missing = size - len(data)
    while missing:
        if not pieces[-1]:
            return None
        pieces.append(connection.recv(min(missing, 1 << 20)))
        missing -= len(pieces[-1])
    return b"".join(pieces)

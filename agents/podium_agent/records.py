"""Packed records: the orders a session sends its workers, and what workers keep in their journals and tell of attempts.

A worker's journal and what it tells the session are the same bytes. All numbers are big-endian; times are microseconds,
instants since the Unix epoch. What the attempts of a run have in common, the *order*, has a number, is told once (to a
worker, in a frame with a header; in a journal's file, as a record) and is referred to by that number from then on.

A record is the length and the CRC-32 of its payload, u32 each, and the payload: one byte for its kind, and the content.

Standard library only: workers use it.
"""

from __future__ import annotations

import json
import struct
import zlib
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD = struct.Struct(">II")
TICKET = struct.Struct(">I")
EXIT = 0
"""The ticket that asks a worker to end; those of attempts begin with 1."""

PLACE = struct.Struct(">II")
"""In front of the ends a worker tells: the number of its journal's file, and where in it the last of them ends."""

_NUMBER = struct.Struct(">BI")
_NAME = struct.Struct(">B16sIiiIq")
_SUCCESS = struct.Struct(">B16sIiiIqqqqqI")
_ORDER = struct.Struct(">I16sIiiIIHII")

FACTS = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


class Kind(IntEnum):
    """What a record says."""

    ORDER = 1
    START = 2
    SUCCESS = 3
    END = 4


class Name(NamedTuple):
    """An attempt of the order with number `order`."""

    token: bytes
    order: int
    task: int
    map_index: int
    number: int


class Start(NamedTuple):
    """An attempt began to execute."""

    token: bytes
    order: int
    task: int
    map_index: int
    number: int
    started: int
    key: str


class Success(NamedTuple):
    """An attempt succeeded, and there is nothing to tell but this; `peak` and `log_bytes` in bytes."""

    token: bytes
    order: int
    task: int
    map_index: int
    number: int
    started: int
    duration: int
    cpu: int
    peak: int
    log_bytes: int
    output: bytes
    log: bytes


class End(NamedTuple):
    """An attempt ended in any other way; `started` is 0 if it never began. `facts` are those of `outcome.Outcome`."""

    token: bytes
    order: int
    task: int
    map_index: int
    number: int
    started: int
    facts: dict[str, Any]
    output: bytes
    log: bytes


class Order(NamedTuple):
    """What attempts have in common, as far as a successor of this session must know."""

    order: int
    facts: dict[str, Any]


Record = Order | Start | Success | End


def pack(payload: bytes) -> bytes:
    """Return a payload as a record."""
    return RECORD.pack(len(payload), zlib.crc32(payload)) + payload


def pack_order(number: int, facts: bytes) -> bytes:
    """Return an order, whose facts are JSON, as a record."""
    return pack(_NUMBER.pack(Kind.ORDER, number) + facts)


def pack_start(name: tuple[bytes, int, int, int, int], started: int, key: bytes) -> bytes:
    """Return an attempt's start as a record."""
    return pack(_NAME.pack(Kind.START, *name, started) + key)


def pack_success(
    name: tuple[bytes, int, int, int, int], figures: tuple[int, int, int, int, int], output: bytes, log: bytes
) -> bytes:
    """Return a success as a record; `figures` as in `Success`."""
    return pack(_SUCCESS.pack(Kind.SUCCESS, *name, *figures, len(output)) + output + log)


def pack_end(
    name: tuple[bytes, int, int, int, int], started: int, facts: dict[str, Any], output: bytes, log: bytes
) -> bytes:
    """Return any other end as a record."""
    told = FACTS({**facts, "output": len(output)}).encode()
    return pack(_NAME.pack(Kind.END, *name, started) + TICKET.pack(len(told)) + told + output + log)


def unpack(data: bytes, position: int = 0) -> Iterator[tuple[Record, int]]:
    """Yield each record from `position` on and where it ends, up to the first that is torn or damaged."""
    while len(data) - position > RECORD.size:
        length, checksum = RECORD.unpack_from(data, position)
        position += RECORD.size
        payload = data[position : position + length]
        if len(payload) < length or zlib.crc32(payload) != checksum:
            return
        position += length
        yield read(payload), position


def read(payload: bytes) -> Record:
    """Return what a record's payload says."""
    kind = payload[0]
    if kind == Kind.SUCCESS:
        _, token, order, task, map_index, number, *figures, size = _SUCCESS.unpack_from(payload)
        middle = _SUCCESS.size + size
        output, log = payload[_SUCCESS.size : middle], payload[middle:]
        return Success._make((token, order, task, map_index, number, *figures, output, log))
    if kind == Kind.ORDER:
        return Order(_NUMBER.unpack_from(payload)[1], json.loads(payload[_NUMBER.size :]))
    _, token, order, task, map_index, number, started = _NAME.unpack_from(payload)
    rest = payload[_NAME.size :]
    if kind == Kind.START:
        return Start(token, order, task, map_index, number, started, rest.decode())
    middle = TICKET.size + TICKET.unpack_from(rest)[0]
    facts = json.loads(rest[TICKET.size : middle])
    end = middle + facts.pop("output")
    return End(token, order, task, map_index, number, started, facts, rest[middle:end], rest[end:])


class Task(NamedTuple):
    """An attempt for a worker to execute: its name, and what is its own.

    `usual` is how long such attempts take, in microseconds, 0 for unknown; `key` and `arguments` are UTF-8. `extra` is
    empty or a frame: its header has `inputs` [(task, length), ...] and `blobs` {sha256: path}, its body the inputs.
    """

    name: tuple[bytes, int, int, int, int]
    usual: int
    key: bytes
    arguments: bytes
    extra: bytes


def pack_task(ticket: int, name: Name, usual: int, key: bytes, arguments: bytes, extra: bytes) -> bytes:
    """Return a task under its ticket, to be put behind others in one frame."""
    head = _ORDER.pack(ticket, *name, usual, len(key), len(arguments), len(extra))
    return b"".join((head, key, arguments, extra))


def unpack_tasks(data: bytes) -> dict[int, Task]:
    """Return the tasks in a frame, by ticket."""
    tasks: dict[int, Task] = {}
    position = 0
    while position < len(data):
        ticket, token, order, task, map_index, number, usual, *lengths = _ORDER.unpack_from(data, position)
        key = position + _ORDER.size
        arguments = key + lengths[0]
        extra = arguments + lengths[1]
        position = extra + lengths[2]
        name = token, order, task, map_index, number
        tasks[ticket] = Task(name, usual, data[key:arguments], data[arguments:extra], data[extra:position])
    return tasks

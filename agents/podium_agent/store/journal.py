"""The agent's journal: finished results, until the coordinator has acknowledged them.

Theory of operation
-------------------
Each worker appends to files of its own, `<writer>.<n>.journal`: a START record before an attempt executes and a FINISH
record before its result is told to anyone. The session has such files too, for ends it declares itself (a worker that
died, a timeout), and notes acknowledgements in `<writer>.<n>.acks`, beside the journal they belong to. From the files
alone a new session knows what still executes (a START without FINISH, in a worker that lives) and what must be reported
(a FINISH without acknowledgement). A file is removed, with its acknowledgements, when its writer will add nothing more
to it and all its results are acknowledged; writers begin a new file every `ROTATE_BYTES`.

A record is two big-endian u32 (length and CRC-32 of the payload) and the payload: one byte for its kind, and a frame as
on the agent's sockets. A torn or damaged record ends the reading of its file: nothing after it was ever told to anyone,
since each record is written before it is spoken of. Nothing is synced: the journal survives the death of processes;
power loss is covered by retry. The writes are small appends to the page cache, short enough for an event loop.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from podium_agent import frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from podium_agent.frames import Header

RECORD = struct.Struct(">II")
ROTATE_BYTES = 1 << 20
TOKEN_BYTES = 16


class Kind(IntEnum):
    """What a record says."""

    START = 1
    FINISH = 2


@dataclass(frozen=True, slots=True)
class Record:
    """One record; every header has the attempt's `token`, in hexadecimal."""

    kind: Kind
    header: Header
    body: bytes


class JournalWriter:
    """Appends to one writer's files. A record is there whole or not at all."""

    def __init__(self, folder: Path, writer: str) -> None:
        self._folder = folder
        self._writer = writer
        self._number = _next_number(folder, writer)
        self._descriptor = -1
        self._size = 0

    @property
    def file(self) -> str:
        """The name of the file written last, without suffix."""
        return f"{self._writer}.{self._number}"

    def start(self, header: Header) -> None:
        """Note that an attempt begins.

        Raises:
            OSError: It could not be noted; the attempt must not begin.
        """
        if self._size >= ROTATE_BYTES:
            self._rotate()
        self._append(Kind.START, frames.pack(header))

    def finish(self, frame: bytes) -> None:
        """Keep an attempt's result: a packed frame.

        Raises:
            OSError: It could not be kept; it must be told all the same.
        """
        self._append(Kind.FINISH, frame)

    def rotate_if_full(self) -> None:
        """Begin a new file when this one is large: for a writer that has no START to do it at."""
        if self._size >= ROTATE_BYTES:
            self._rotate()

    def _rotate(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1
        self._number += 1
        self._size = 0

    def _append(self, kind: Kind, frame: bytes) -> None:
        if self._descriptor < 0:
            path = self._folder / f"{self.file}.journal"
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        payload = kind.to_bytes() + frame
        record = RECORD.pack(len(payload), zlib.crc32(payload)) + payload
        append_whole(self._descriptor, record, self._size)
        self._size += len(record)


def append_whole(descriptor: int, data: bytes, size: int) -> None:
    """Append `data` to a file of `size` bytes, or leave the file as it was.

    Raises:
        OSError: The disk is full or broken.
    """
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _next_number(folder: Path, writer: str) -> int:
    numbers = [int(path.name.split(".")[-2]) for path in folder.glob(f"{writer}.*.journal")]
    return max(numbers, default=0) + 1


def read(path: Path) -> Iterator[Record]:
    """Yield the records of a file up to its end or the first that is torn or damaged."""
    data = path.read_bytes()
    position = 0
    while len(data) - position > RECORD.size:
        length, checksum = RECORD.unpack_from(data, position)
        payload = data[position + RECORD.size : position + RECORD.size + length]
        if len(payload) < length or zlib.crc32(payload) != checksum:
            return
        for header, body in frames.FrameBuffer().feed(payload[1:]):
            yield Record(Kind(payload[0]), header, body)
        position += RECORD.size + length


@dataclass(slots=True)
class _File:
    """What the session knows of one journal file; tokens in hexadecimal."""

    owing: set[str] = field(default_factory=set)
    closed: bool = False
    acks: int = -1


@dataclass(slots=True)
class Recovered:
    """What the files of earlier sessions say: results not acknowledged, and by worker the attempt it is busy with."""

    finished: list[tuple[str, Record]] = field(default_factory=list)
    started: dict[str, Header] = field(default_factory=dict)


class Journal:
    """The session's view of all journal files: what is owed, and what may be removed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, _File] = {}
        self._by_token: dict[str, str] = {}

    def recover(self) -> Recovered:
        """Read all files; results that are not acknowledged are owed from now on."""
        recovered = Recovered()
        for path in sorted(self._folder.glob("*.journal"), key=_age):
            self._recover_file(path, recovered)
        return recovered

    def _recover_file(self, path: Path, recovered: Recovered) -> None:
        name = path.name.removesuffix(".journal")
        writer = name.rpartition(".")[0]
        acknowledged = self._acknowledged(name)
        self._files[name] = _File()
        for record in read(path):
            token = record.header["token"]
            if record.kind is Kind.START:
                recovered.started[writer] = record.header
                continue
            if recovered.started.get(writer, {}).get("token") == token:
                del recovered.started[writer]
            if token not in acknowledged:
                recovered.finished.append((name, record))
                self.owe(name, token)

    def _acknowledged(self, name: str) -> set[str]:
        try:
            data = (self._folder / f"{name}.acks").read_bytes()
        except FileNotFoundError:
            return set()
        return {data[at : at + TOKEN_BYTES].hex() for at in range(0, len(data), TOKEN_BYTES)}

    def owe(self, name: str, token: str) -> None:
        """Note that file `name` holds a result that is not acknowledged."""
        self._files.setdefault(name, _File()).owing.add(token)
        self._by_token[token] = name
        self._close_older(name)

    def acknowledge(self, tokens: Iterable[str]) -> None:
        """Note acknowledgements.

        Raises:
            OSError: They could not be noted; after a restart the results will be reported again, which is harmless.
        """
        by_file: dict[str, list[str]] = {}
        for token in tokens:
            name = self._by_token.pop(token, None)
            if name is not None:
                by_file.setdefault(name, []).append(token)
        for name, group in by_file.items():
            self._files[name].owing.difference_update(group)
            if not self._remove_if_done(name):
                self._note(name, group)

    def writer_gone(self, writer: str) -> None:
        """Note that a writer adds nothing more to any file."""
        for name in [name for name in self._files if name.rpartition(".")[0] == writer]:
            self._files[name].closed = True
            self._remove_if_done(name)

    def saw(self, name: str) -> None:
        """Note that a file exists."""
        if name not in self._files:
            self._files[name] = _File()
            self._close_older(name)

    def writers(self) -> set[str]:
        """Return whose files there are."""
        return {name.rpartition(".")[0] for name in self._files}

    def _close_older(self, name: str) -> None:
        writer, _, number = name.rpartition(".")
        older = f"{writer}.{int(number) - 1}"
        if older in self._files and not self._files[older].closed:
            self._files[older].closed = True
            self._remove_if_done(older)

    def _note(self, name: str, tokens: list[str]) -> None:
        file = self._files[name]
        if file.acks < 0:
            path = self._folder / f"{name}.acks"
            file.acks = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        append_whole(file.acks, bytes.fromhex("".join(tokens)), os.fstat(file.acks).st_size)

    def _remove_if_done(self, name: str) -> bool:
        file = self._files[name]
        if file.owing or not file.closed:
            return False
        if file.acks >= 0:
            os.close(file.acks)
        del self._files[name]
        (self._folder / f"{name}.journal").unlink(missing_ok=True)
        (self._folder / f"{name}.acks").unlink(missing_ok=True)
        return True


def _age(path: Path) -> tuple[str, int]:
    writer, _, number = path.name.removesuffix(".journal").rpartition(".")
    return writer, int(number)

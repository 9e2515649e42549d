"""The agent's journal: the ends of attempts, until the coordinator has committed them.

Theory of operation
-------------------
Each worker appends to files of its own, `<writer>.<n>.journal`: a START record before an attempt executes and its end
before that is told to anyone; one write may do for the end of an attempt and the start of the next. The session has
such files too, for ends it declares itself (a worker that died, a timeout), and notes acknowledgements in
`<writer>.<n>.acks`, beside the journal they belong to. From the files alone a session knows, of a worker that is dead,
silent or of an earlier session's, what it has finished and what it executes (a START without an end). A file goes,
with its acknowledgements, when its writer will add nothing more to it and all its ends are acknowledged; writers begin
a new file every `ROTATE_BYTES`.

The records are those of `podium_agent.records`. A torn or damaged record ends the reading of its file: nothing after it
was ever told to anyone, since each record is written before it is spoken of. Nothing is synced: the journal survives
the death of processes; power loss is covered by retry. The writes are small appends to the page cache, short enough for
an event loop.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from podium_agent import records
from podium_agent.records import End, Order, Start, Success

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

ROTATE_BYTES = 1 << 20
TOKEN_BYTES = 16

Place = tuple[int, int]
"""The number of a writer's file, and a position in it."""


class JournalWriter:
    """Appends to one writer's files. What is written at once is there whole or not at all."""

    def __init__(self, folder: Path, writer: str) -> None:
        self._folder = folder
        self._writer = writer
        self._number = _next_number(folder, writer)
        self._descriptor = -1
        self._size = 0
        self._orders: set[int] = set()

    @property
    def file(self) -> str:
        """The name of the file written last, without suffix."""
        return f"{self._writer}.{self._number}"

    @property
    def place(self) -> Place:
        """Where the next record will be."""
        return self._number, self._size

    @property
    def full(self) -> bool:
        """Whether the next START should go to a new file."""
        return self._size >= ROTATE_BYTES

    def knows(self, order: int) -> bool:
        """Whether the order is in the present file."""
        return order in self._orders

    def forget_orders(self) -> None:
        """Take orders' numbers to mean others from now on: those of a new session."""
        self._orders.clear()

    def append(self, written: bytes, order: int = -1) -> None:
        """Append whole records; `order` is the number of the order among them, if there is one.

        Raises:
            OSError: The disk is full or broken; the file is as it was.
        """
        if self._descriptor < 0:
            path = self._folder / f"{self.file}.journal"
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        append_whole(self._descriptor, written, self._size)
        self._size += len(written)
        if order >= 0:
            self._orders.add(order)

    def rotate(self) -> None:
        """Begin a new file."""
        os.close(self._descriptor)
        self._descriptor = -1
        self._number += 1
        self._size = 0
        self._orders.clear()


def append_whole(descriptor: int, data: bytes, size: int) -> None:
    """Append `data` to a file of `size` bytes, or leave the file as it was.

    Raises:
        OSError: The disk is full or broken.
    """
    try:
        written = os.write(descriptor, data)
        while written < len(data):
            written += os.write(descriptor, memoryview(data)[written:])
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _next_number(folder: Path, writer: str) -> int:
    numbers = [int(path.name.split(".")[-2]) for path in folder.glob(f"{writer}.*.journal")]
    return max(numbers, default=0) + 1


def read(path: Path, position: int = 0) -> Iterator[tuple[records.Record, int]]:
    """Yield the records of a file from a position on, and where each ends, up to the first torn or damaged one."""
    with path.open("rb") as file:
        file.seek(position)
        for record, end in records.unpack(file.read()):
            yield record, position + end


@dataclass(slots=True)
class _File:
    """What the session knows of one journal file."""

    owing: set[bytes] = field(default_factory=set)
    closed: bool = False
    acks: int = -1
    acks_size: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A record of an attempt in the file `name`, with the facts of its order."""

    name: str
    record: Start | Success | End
    order: dict[str, Any]


@dataclass(slots=True)
class Recovered:
    """What the files of earlier sessions say: ends not acknowledged, and by worker the attempt it is busy with."""

    finished: list[Found] = field(default_factory=list)
    started: dict[str, Found] = field(default_factory=dict)


class Journal:
    """The session's view of all journal files: what is in them, what is owed, and what may be removed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, _File] = {}
        self._by_token: dict[bytes, str] = {}
        self._read_to: dict[str, Place] = {}
        self._orders: dict[str, dict[int, dict[str, Any]]] = {}

    # Reading

    def recover(self) -> Recovered:
        """Read all files; ends that are not acknowledged are owed from now on."""
        recovered = Recovered()
        for path in sorted(self._folder.glob("*.journal"), key=_age):
            name = path.name.removesuffix(".journal")
            self._files[name] = _File()
            acknowledged = self._acknowledged(name)
            for found in self._read(name):
                self._recover(found, acknowledged, recovered)
        return recovered

    def _recover(self, found: Found, acknowledged: set[bytes], recovered: Recovered) -> None:
        writer, token = writer_of(found.name), found.record.token
        if isinstance(found.record, Start):
            recovered.started[writer] = found
            return
        if writer in recovered.started and recovered.started[writer].record.token == token:
            del recovered.started[writer]
        if token not in acknowledged:
            recovered.finished.append(found)
            self.owe(found.name, [token])

    def _acknowledged(self, name: str) -> set[bytes]:
        try:
            data = (self._folder / f"{name}.acks").read_bytes()
        except FileNotFoundError:
            return set()
        return {data[at : at + TOKEN_BYTES] for at in range(0, len(data), TOKEN_BYTES)}

    def passed(self, writer: str, place: Place) -> None:
        """Note that all a writer has written before `place` has been heard from itself."""
        if place > self._read_to.get(writer, (0, 0)):
            self._read_to[writer] = place

    def news(self, writer: str) -> list[Found]:
        """Return what a writer has written since it was last heard or read."""
        found: list[Found] = []
        number, _ = self._read_to.get(writer, (1, 0))
        names = [f"{writer}.{number}", f"{writer}.{number + 1}"]
        while names and any((self._folder / f"{name}.journal").exists() for name in names):
            name = names.pop(0)
            if (self._folder / f"{name}.journal").exists():
                found.extend(self._read(name))
            number += 1
            names.append(f"{writer}.{number + 1}")
        return found

    def _read(self, name: str) -> Iterator[Found]:
        """Read on in a file, from where its writer was heard or read last."""
        writer, _, number = name.rpartition(".")
        known = self._read_to.get(writer, (0, 0))
        position = known[1] if known[0] == int(number) else 0
        orders = self._orders.setdefault(writer, {})
        for record, end in read(self._folder / f"{name}.journal", position):
            self._read_to[writer] = int(number), end
            if isinstance(record, Order):
                orders[record.order] = record.facts
            else:
                yield Found(name, record, orders.get(record.order, {}))

    # What is owed

    def owe(self, name: str, tokens: Collection[bytes]) -> None:
        """Note that file `name` holds ends that are not acknowledged."""
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = _File()
            self._close_older(name)
        file.owing.update(tokens)
        self._by_token.update(dict.fromkeys(tokens, name))

    def acknowledge(self, tokens: Iterable[bytes]) -> None:
        """Note acknowledgements.

        Raises:
            OSError: They could not be noted; after a restart the ends will be reported again, which is harmless.
        """
        by_file: dict[str, list[bytes]] = {}
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
        self._read_to.pop(writer, None)
        self._orders.pop(writer, None)
        for name in [name for name in self._files if writer_of(name) == writer]:
            self._files[name].closed = True
            self._remove_if_done(name)
        self._remove_unheard_of(writer)

    def _remove_unheard_of(self, writer: str) -> None:
        """Remove files with nothing but starts, which no end has ever named."""
        for path in self._folder.glob(f"{writer}.*.journal"):
            if path.name.removesuffix(".journal") not in self._files:
                path.unlink(missing_ok=True)

    def writers(self) -> set[str]:
        """Return whose files there are."""
        return {writer_of(name) for name in self._files}

    def _close_older(self, name: str) -> None:
        writer, _, number = name.rpartition(".")
        older = f"{writer}.{int(number) - 1}"
        if older in self._files and not self._files[older].closed:
            self._files[older].closed = True
            self._remove_if_done(older)

    def _note(self, name: str, tokens: list[bytes]) -> None:
        file = self._files[name]
        if file.acks < 0:
            path = self._folder / f"{name}.acks"
            file.acks = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            file.acks_size = os.fstat(file.acks).st_size
        noted = b"".join(tokens)
        append_whole(file.acks, noted, file.acks_size)
        file.acks_size += len(noted)

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


def writer_of(name: str) -> str:
    """Return who writes the file `name`."""
    return name.rpartition(".")[0]


def _age(path: Path) -> tuple[str, int]:
    writer, _, number = path.name.removesuffix(".journal").rpartition(".")
    return writer, int(number)

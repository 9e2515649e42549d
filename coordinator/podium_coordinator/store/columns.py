"""Columns of values as Postgres arrays, in its binary format.

A batch goes to the database as one array per column. Packing them here takes a fifth of the time psycopg's general
list adapter takes, and the type is always the column's: not one that depends on the largest number or on whether all
values are missing, each of which would be another statement to prepare.
"""

from __future__ import annotations

import struct
from array import array
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NULL: Final = struct.pack(">i", -1)
_UUID_LENGTH: Final = struct.pack(">i", 16)
_LENGTH: Final = struct.Struct(">i")
_LONG: Final = struct.Struct(">iq")
_INT: Final = struct.Struct(">ii")
_SWAP: Final = array("i", [1]).tobytes()[0] == 1


T = TypeVar("T")


class Column(bytes):
    """An array as Postgres wants it."""

    __slots__ = ()
    element: ClassVar[int]
    oid: ClassVar[int]

    @classmethod
    def _pack(cls, count: int, body: bytes, *, nulls: bool = False) -> Column:
        if not count:
            return cls(struct.pack(">iii", 0, 0, cls.element))
        return cls(struct.pack(">iiiii", 1, nulls, cls.element, count, 1) + body)

    @classmethod
    def _of(cls, values: Sequence[T], packed: Callable[[T], bytes]) -> Column:
        """Pack each value by itself, or one for all when they are equal."""
        if _alike(values):
            piece = packed(values[0])
            return cls._pack(len(values), piece * len(values), nulls=piece is _NULL)
        parts = [packed(value) for value in values]
        return cls._pack(len(parts), b"".join(parts), nulls=_NULL in parts)


class Uuids(Column):
    """uuid[]."""

    element, oid = 2950, 2951

    @classmethod
    def of(cls, values: Sequence[UUID]) -> Column:
        """Pack the values."""
        if _alike(values):
            return cls._pack(len(values), (_UUID_LENGTH + values[0].bytes) * len(values))
        return cls.of_bytes([value.bytes for value in values])

    @classmethod
    def of_bytes(cls, values: Sequence[bytes]) -> Column:
        """Pack values of 16 bytes each."""
        body = _UUID_LENGTH + _UUID_LENGTH.join(values) if values else b""
        return cls._pack(len(values), body)


class Ints(Column):
    """int[]."""

    element, oid = 23, 1007

    @classmethod
    def of(cls, values: Sequence[int]) -> Column:
        """Pack the values."""
        if _alike(values):
            return cls._pack(len(values), _INT.pack(4, values[0]) * len(values))
        words = array("i", bytes(8 * len(values)))
        words[0::2] = array("i", [4]) * len(values)
        words[1::2] = array("i", values)
        if _SWAP:
            words.byteswap()
        return cls._pack(len(values), words.tobytes())


class Bigints(Column):
    """bigint[]."""

    element, oid = 20, 1016

    @classmethod
    def of(cls, values: Sequence[int]) -> Column:
        """Pack the values."""
        return cls._of(values, _packed_long)


class Times(Column):
    """timestamptz[]."""

    element, oid = 1184, 1185

    @classmethod
    def of(cls, values: Sequence[datetime | None]) -> Column:
        """Pack the values, which must be aware."""
        return cls._of(values, _packed_time)


class Flags(Column):
    """boolean[]."""

    element, oid = 16, 1000

    @classmethod
    def of(cls, values: Sequence[bool]) -> Column:
        """Pack the values."""
        return cls._of(values, _packed_flag)


class Blobs(Column):
    """bytea[]."""

    element, oid = 17, 1001

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Column:
        """Pack the values."""
        return cls._of(values, _packed_bytes)


class Texts(Column):
    """text[]."""

    element, oid = 25, 1009

    @classmethod
    def of(cls, values: Sequence[str | None]) -> Column:
        """Pack the values, which must have neither NUL nor halves of surrogate pairs (`values.text`)."""
        return cls._of(values, _packed_text)


class Int(Column):
    """One int."""

    oid = 23

    @classmethod
    def of(cls, value: int) -> Column:
        """Pack the value."""
        return cls(_LENGTH.pack(value))


class Bigint(Column):
    """One bigint."""

    oid = 20

    @classmethod
    def of(cls, value: int) -> Column:
        """Pack the value."""
        return cls(struct.pack(">q", value))


def _alike(values: Sequence[object]) -> bool:
    """Whether there are values and all are equal: the frequent case in a batch, and far cheaper to pack."""
    return bool(values) and values[0] == values[-1] and values.count(values[0]) == len(values)


def _packed_flag(value: bool) -> bytes:
    return b"\0\0\0\1\1" if value else b"\0\0\0\1\0"


def _packed_long(value: int) -> bytes:
    return _LONG.pack(8, value)


def _packed_time(value: datetime | None) -> bytes:
    return _NULL if value is None else _LONG.pack(8, (value - _EPOCH) // _MICROSECOND)


def _packed_bytes(value: bytes | None) -> bytes:
    return _NULL if value is None else _LENGTH.pack(len(value)) + value


def _packed_text(value: str | None) -> bytes:
    return _packed_bytes(None if value is None else value.encode())

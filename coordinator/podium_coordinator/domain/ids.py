"""Identifiers, made from draws and instants that the caller passes in."""

from __future__ import annotations

import hashlib
from uuid import UUID

RANDOM_BITS = 74


def uuid7(unix_ms: int, random: int) -> UUID:
    """Return a UUID of version 7 (RFC 9562, 5.7): ordered by time, then random.

    Args:
        unix_ms: Milliseconds since 1970, below 2^48.
        random: A draw of `RANDOM_BITS` bits.
    """
    high, low = random >> 62, random & ((1 << 62) - 1)
    return UUID(int=unix_ms << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low)


def fraction(*parts: bytes) -> float:
    """Return a number in [0, 1) that depends on the parts alone: repeatable randomness for jitter."""
    digest = hashlib.blake2b(b"\0".join(parts), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53

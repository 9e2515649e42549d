"""Durations and instants. Seconds are floats; instants are aware datetimes in UTC, to the microsecond."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from google.protobuf import duration_pb2, timestamp_pb2

_NANOS = 1_000_000_000


def seconds_to_duration(seconds: float) -> duration_pb2.Duration:
    """Return a length of time, rounded to the nanosecond."""
    part, whole = math.modf(seconds)
    carry, nanos = divmod(round(part * _NANOS), _NANOS)
    return duration_pb2.Duration(seconds=int(whole) + carry, nanos=nanos)


def duration_to_seconds(message: duration_pb2.Duration) -> float:
    """Return a length of time in seconds."""
    return message.seconds + message.nanos / _NANOS


def time_to_proto(instant: datetime) -> timestamp_pb2.Timestamp:
    """Return an aware instant as a Timestamp."""
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(instant.astimezone(UTC))
    return message


def time_from_proto(message: timestamp_pb2.Timestamp) -> datetime:
    """Return a Timestamp as an aware instant."""
    return message.ToDatetime(tzinfo=UTC)

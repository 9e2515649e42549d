"""Durations and instants. Seconds are floats; instants are aware datetimes in UTC, to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf import duration_pb2, timestamp_pb2

_NANOS = 1_000_000_000


def seconds_to_duration(seconds: float) -> duration_pb2.Duration:
    """Return a length of time, rounded to the nanosecond."""
    whole, nanos = divmod(round(seconds * _NANOS), _NANOS)
    return duration_pb2.Duration(seconds=whole, nanos=nanos)


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

"""Outputs as messages: the exact bytes, and the value where protobuf holds it exactly."""

from __future__ import annotations

from typing import Final

import msgspec
from google.protobuf.struct_pb2 import Value

from podium.errors import InvalidParametersError
from podium.v1 import run_pb2
from podium.wire import json_to_value

LARGEST_WITH_VALUES: Final = 2 << 20
"""Bytes of JSON in an answer up to which values are sent too: they take several times the room of their text."""


def output(key: str, map_index: int, json: bytes, answer_bytes: int) -> run_pb2.Output:
    """Return an output of the task `key`, in an answer with `answer_bytes` of JSON in all. Slow for large ones."""
    value = _value(json) if answer_bytes <= LARGEST_WITH_VALUES else None
    return run_pb2.Output(task=key, map_index=map_index, json=json, value=value)


def _value(json: bytes) -> Value | None:
    try:
        return json_to_value(msgspec.json.decode(json))
    except (InvalidParametersError, msgspec.DecodeError):
        return None

"""JSON values as `google.protobuf.Value` and `Struct`: exact both ways, or refused with the place of the trouble."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from google.protobuf import struct_pb2

from podium.errors import InvalidParametersError
from podium.model.exactness import MAX_INTEGER, Report, check_exact
from podium.model.problems import Problems
from podium.model.spec import JsonValue


def json_to_value(value: object, field: str = "value") -> struct_pb2.Value:
    """Return `value` as a protobuf Value; tuples count as arrays.

    Raises:
        InvalidParametersError: A part of it is no JSON, nests deeper than 24 levels, or is a number that a double does
            not tell from its neighbours (2^53 and beyond); one violation per part, its path beginning with `field`.
    """
    _require(field, lambda report: check_exact(value, field, report))
    message = struct_pb2.Value()
    fill_value(message, value)
    return message


def json_to_struct(values: Mapping[str, object], field: str = "params") -> struct_pb2.Struct:
    """Return an object as a protobuf Struct.

    Raises:
        InvalidParametersError: As for `json_to_value`.
    """
    _require(field, lambda report: check_exact(dict(values), field, report))
    message = struct_pb2.Struct()
    for key, item in values.items():
        fill_value(message.fields[key], item)
    return message


def value_to_json(message: struct_pb2.Value, field: str = "value") -> JsonValue:
    """Return a protobuf Value as JSON, whole numbers as integers and objects ordered by key.

    Raises:
        InvalidParametersError: A part is no number, is beyond 2^53 - 1 (an integer there may have been rounded on its
            way), or is not set; one violation per part.
    """
    found: list[JsonValue] = []
    _require(field, lambda report: found.append(read_value(message, field, report)))
    return found[0]


def struct_to_json(message: struct_pb2.Struct, field: str = "params") -> dict[str, JsonValue]:
    """Return a protobuf Struct as an object ordered by key.

    Raises:
        InvalidParametersError: As for `value_to_json`.
    """
    found: list[dict[str, JsonValue]] = []
    _require(field, lambda report: found.append(_read_struct(message, field, report)))
    return found[0]


def fill_value(message: struct_pb2.Value, value: object) -> None:
    """Write a checked value into an empty protobuf Value."""
    if value is None:
        message.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, int | float):
        message.number_value = value
    elif isinstance(value, Mapping):
        _fill_struct(message.struct_value, value)
    elif isinstance(value, Sequence):
        _fill_list(message.list_value, value)


def read_value(message: struct_pb2.Value, path: str, report: Report) -> JsonValue:
    """Return a protobuf Value as JSON; what is not exact is reported and reads as null."""
    kind = message.WhichOneof("kind")
    if kind is None:
        report(path, "The value is not set; null is written as null_value.")
        return None
    return _READERS[kind](message, path, report)


def _fill_struct(message: struct_pb2.Struct, value: Mapping[str, object]) -> None:
    message.SetInParent()
    for key, item in value.items():
        fill_value(message.fields[key], item)


def _fill_list(message: struct_pb2.ListValue, value: Sequence[object]) -> None:
    message.SetInParent()
    for item in value:
        fill_value(message.values.add(), item)


def _read_struct(message: struct_pb2.Struct, path: str, report: Report) -> dict[str, JsonValue]:
    return {key: read_value(message.fields[key], f"{path}.{key}", report) for key in sorted(message.fields)}


def _read_list(message: struct_pb2.ListValue, path: str, report: Report) -> JsonValue:
    return [read_value(item, f"{path}[{index}]", report) for index, item in enumerate(message.values)]


def _read_number(number: float, path: str, report: Report) -> JsonValue:
    if not math.isfinite(number):
        report(path, f"{number} is no JSON number; use null or a string.")
        return None
    if abs(number) > MAX_INTEGER:
        report(
            path,
            f"{number:.17g} is beyond 2^53 - 1 ({MAX_INTEGER}), up to which numbers travel exactly; "
            "pass it as a string.",
        )
        return None
    return int(number) if number.is_integer() else number


_READERS: dict[str, Callable[[struct_pb2.Value, str, Report], JsonValue]] = {
    "null_value": lambda _message, _path, _report: None,
    "bool_value": lambda message, _path, _report: message.bool_value,
    "string_value": lambda message, _path, _report: message.string_value,
    "number_value": lambda message, path, report: _read_number(message.number_value, path, report),
    "struct_value": lambda message, path, report: _read_struct(message.struct_value, path, report),
    "list_value": lambda message, path, report: _read_list(message.list_value, path, report),
}


def _require(field: str, find: Callable[[Report], object]) -> None:
    problems = Problems()
    find(problems.add)
    if problems.count:
        raise InvalidParametersError(
            f"{field} does not travel exactly: {problems.summary()}.", tuple(problems.found), field=field
        )

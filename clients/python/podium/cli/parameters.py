"""Reads a run's parameters from the command line, by the types the workflow declares."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from podium.errors import FieldViolation, InvalidParametersError
from podium.model.spec import JsonValue, ParameterSpec, ParameterType

_EXAMPLES = {
    ParameterType.INTEGER: "a whole number",
    ParameterType.NUMBER: "a number",
    ParameterType.BOOLEAN: "true or false",
    ParameterType.ARRAY: 'a JSON array, such as \'["a", "b"]\'',
    ParameterType.OBJECT: "a JSON object, such as '{\"a\": 1}'",
}


def read_file(path: Path) -> dict[str, JsonValue]:
    """Return the JSON object in a file.

    Raises:
        InvalidParametersError: The file holds no JSON object; says the line.
        OSError: The file cannot be read.
    """
    try:
        value: Any = json.loads(path.read_bytes())
    except ValueError as error:
        line = getattr(error, "lineno", 0)
        violation = FieldViolation("params", f"not JSON: {error}", line)
        message = f"{path} does not hold a JSON object of parameters."
        raise InvalidParametersError(message, (violation,), file=str(path)) from None
    if not isinstance(value, dict):
        message = f"{path} must hold a JSON object of parameters, and holds {type(value).__name__}."
        raise InvalidParametersError(message, file=str(path))
    return value


def read_pairs(declared: Sequence[ParameterSpec], pairs: Sequence[str]) -> dict[str, JsonValue]:
    """Return the values of "name=value" pairs: text as it is where the parameter is a string, JSON elsewhere.

    A parameter of any type takes JSON when the text is JSON, else the text.

    Raises:
        InvalidParametersError: One violation per pair that is malformed, unknown, repeated or of another type.
    """
    types = {parameter.name: parameter.type for parameter in declared}
    values: dict[str, JsonValue] = {}
    violations: list[FieldViolation] = []
    for pair in pairs:
        name, equals, text = pair.partition("=")
        problem = _problem(name, equals, types, values)
        if not problem:
            try:
                values[name] = _value(types[name], text)
            except ValueError:
                problem = f"must be {_EXAMPLES[types[name]]}, and is {text!r}"
        if problem:
            violations.append(FieldViolation(f"params.{name}", problem))
    if violations:
        raise InvalidParametersError("The parameters do not fit the workflow.", tuple(violations))
    return values


def _problem(name: str, equals: str, types: dict[str, ParameterType], values: dict[str, JsonValue]) -> str:
    if not equals:
        return "needs a value: write it as name=value"
    if name in values:
        return "is given more than once"
    if name not in types:
        known = ", ".join(types) or "none"
        return f"is not a parameter of this workflow; it has {known}"
    return ""


def _value(kind: ParameterType, text: str) -> JsonValue:
    if kind is ParameterType.STRING:
        return text
    try:
        value: JsonValue = json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        if kind is ParameterType.ANY:
            return text
        raise
    if not _fits(kind, value):
        raise ValueError(text)
    return value


def _refuse_constant(name: str) -> JsonValue:
    raise ValueError(name)


def _fits(kind: ParameterType, value: JsonValue) -> bool:
    match kind:
        case ParameterType.INTEGER:
            return isinstance(value, int) and not isinstance(value, bool)
        case ParameterType.NUMBER:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ParameterType.BOOLEAN:
            return isinstance(value, bool)
        case ParameterType.ARRAY:
            return isinstance(value, list)
        case ParameterType.OBJECT:
            return isinstance(value, dict)
        case _:
            return True

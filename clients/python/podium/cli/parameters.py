"""Reads a run's parameters from the command line, by the types the workflow declares."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from podium.errors import FieldViolation, InvalidParametersError
from podium.model.parameters import resolve
from podium.model.spec import JsonValue, ParameterType, WorkflowSpec


def given(spec: WorkflowSpec, pairs: Sequence[str], file: Path | None) -> dict[str, JsonValue]:
    """Return the parameters given by a file and by "name=value" pairs, which win; defaults are left out.

    Text is taken as it is where the parameter is a string; elsewhere as JSON, or as text when it is no JSON.

    Raises:
        InvalidParametersError: One violation per parameter that does not fit the workflow.
        OSError: The file cannot be read.
    """
    values = read_file(file) if file else {}
    values.update(read_pairs(spec, pairs))
    resolve(spec, values)
    return values


def read_file(path: Path) -> dict[str, JsonValue]:
    """Return the JSON object in a file.

    Raises:
        InvalidParametersError: The file holds no JSON object; says the line.
        OSError: The file cannot be read.
    """
    try:
        value: Any = json.loads(path.read_bytes())
    except ValueError as error:
        violation = FieldViolation("params", f"not JSON: {error}", getattr(error, "lineno", 0))
        message = f"{path} does not hold a JSON object of parameters."
        raise InvalidParametersError(message, (violation,), file=str(path)) from None
    if not isinstance(value, dict):
        message = f"{path} must hold a JSON object of parameters, and holds something else."
        raise InvalidParametersError(message, file=str(path))
    return value


def read_pairs(spec: WorkflowSpec, pairs: Sequence[str]) -> dict[str, JsonValue]:
    """Return the values of "name=value" pairs, without judging them.

    Raises:
        InvalidParametersError: One violation per pair that is malformed or repeated.
    """
    strings = {parameter.name for parameter in spec.parameters if parameter.type is ParameterType.STRING}
    values: dict[str, JsonValue] = {}
    violations: list[FieldViolation] = []
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            violations.append(FieldViolation(f"params.{name}", "A value is missing: write name=value."))
        elif name in values:
            violations.append(FieldViolation(f"params.{name}", "The parameter is given more than once."))
        else:
            values[name] = text if name in strings else _json_or_text(text)
    if violations:
        message = "The parameters cannot be read."
        raise InvalidParametersError(message, tuple(violations), workflow=spec.name)
    return values


def _json_or_text(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text
    return value


def _refuse_constant(name: str) -> JsonValue:
    raise ValueError(name)

"""JSON values that survive every side of the wire: what may stand in a definition or in a run's parameters.

Literals and parameters travel as `google.protobuf.Value`, whose numbers are doubles. A double tells neighbouring
integers apart only below 2^53, so integers from there on are refused, never rounded; and a whole float (2.0) is the
integer (2).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from podium.model.problems import quoted
from podium.model.spec import JsonValue

MAX_INTEGER = 2**53 - 1
"""The largest integer that a double holds and that no other integer is rounded to."""

MAX_DEPTH = 24
"""How deep arrays and objects may nest: protobuf stops reading at 100 messages, and each object takes three."""

Report = Callable[[str, str], None]
"""Takes the path of a part, and what is wrong with it."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_CONTAINERS = (list, tuple, dict)


def check_exact(value: object, path: str, report: Report, depth: int = 0) -> None:
    """Report every part of `value` that is no JSON, or that a double cannot hold exactly.

    Args:
        value: What to check; tuples count as arrays.
        path: How reports name `value`, as in "params.day".
        report: Called once per problem.
        depth: How deep `value` itself is nested.
    """
    if isinstance(value, _CONTAINERS):
        _check_container(value, path, report, depth)
    elif isinstance(value, str):
        _check_text(value, path, report)
    elif isinstance(value, int | float):
        _check_number(value, path, report)
    elif value is not None:
        report(path, f"{type_name(value)} is no JSON value{_advice(value)}.")


def canonical(value: Any) -> JsonValue:
    """Return `value`, which `check_exact` has passed, as it comes back from the wire: tuples as lists, 2.0 as 2."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {str(key): canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, str):
        return str(value)
    return int(value) if value == int(value) else float(value)


def json_bytes(value: JsonValue) -> bytes:
    """Return `value` as compact JSON text in UTF-8."""
    return _ENCODER.encode(value).encode()


def _check_container(value: Any, path: str, report: Report, depth: int) -> None:
    if depth >= MAX_DEPTH:
        report(path, f"Arrays and objects are nested deeper than {MAX_DEPTH} levels; flatten the value.")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_key(key, path, report)
            check_exact(item, f"{path}.{key}", report, depth + 1)
    else:
        for index, item in enumerate(value):
            check_exact(item, f"{path}[{index}]", report, depth + 1)


def _check_key(key: object, path: str, report: Report) -> None:
    if isinstance(key, str):
        _check_text(key, path, report)
    else:
        report(path, f"The key {quoted(key)} is {type_name(key)}; JSON objects have strings as keys.")


def _check_text(text: str, path: str, report: Report) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            report(path, "The text has a lone surrogate, which UTF-8 cannot hold.")


def _check_number(number: float, path: str, report: Report) -> None:
    if isinstance(number, float) and not math.isfinite(number):
        report(path, f"{number} is no JSON number; use null or a string.")
    elif not -MAX_INTEGER <= number <= MAX_INTEGER:
        report(
            path,
            f"{quoted(number)} is beyond 2^53 - 1 ({MAX_INTEGER}), up to which numbers travel exactly; "
            "pass it as a string.",
        )


def type_name(value: object) -> str:
    """Return the name of a value's Python type, as in "a set" or "a decimal.Decimal"."""
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _advice(value: object) -> str:
    if hasattr(value, "isoformat"):
        return "; pass value.isoformat()"
    if hasattr(value, "__fspath__"):
        return "; paths differ between hosts: pass str(path) if it is the same on all, or let a task return it"
    if isinstance(value, set | frozenset):
        return "; pass sorted(value)"
    return ""

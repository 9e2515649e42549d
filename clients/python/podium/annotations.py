"""A workflow's parameters, read from the signature of its function."""

from __future__ import annotations

import collections.abc
import enum
import inspect
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints, is_typeddict

from podium.model.exactness import canonical, check_exact
from podium.model.spec import MISSING, Literal, ParameterSpec, ParameterType

_PLAIN: dict[object, ParameterType] = {
    Any: ParameterType.ANY,
    object: ParameterType.ANY,
    inspect.Parameter.empty: ParameterType.ANY,
}
_CLASSES: tuple[tuple[type, ParameterType], ...] = (
    (bool, ParameterType.BOOLEAN),
    (int, ParameterType.INTEGER),
    (float, ParameterType.NUMBER),
    (str, ParameterType.STRING),
    (list, ParameterType.ARRAY),
    (tuple, ParameterType.ARRAY),
    (dict, ParameterType.OBJECT),
    (collections.abc.Mapping, ParameterType.OBJECT),
    (collections.abc.Sequence, ParameterType.ARRAY),
)
_UNIONS = (typing.Union, types.UnionType)


def read_parameters(function: Callable[..., Any]) -> tuple[ParameterSpec, ...]:
    """Return the parameters that a workflow function declares.

    Raises:
        ValueError: A parameter is no keyword, or its annotation or its default is no JSON; the message names it.
    """
    hints = _hints(function)
    return tuple(_read(item, hints) for item in inspect.signature(function).parameters.values())


def parameter_type(annotation: object) -> ParameterType:
    """Return the JSON type of values of a Python type; any for a union of several, and for what may be None.

    Raises:
        ValueError: Such values are no JSON.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        return parameter_type(get_args(annotation)[0])
    if origin in _UNIONS:
        return _common([parameter_type(item) for item in get_args(annotation) if item is not type(None)], annotation)
    if origin is typing.Literal:
        return _common([parameter_type(type(value)) for value in get_args(annotation)], annotation)
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    return _class_type(origin or annotation, annotation)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ValueError(f"An annotation cannot be read: {error}.") from error


def _read(item: inspect.Parameter, hints: dict[str, Any]) -> ParameterSpec:
    if item.kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
        raise ValueError(f"The parameter {item} cannot be given by name; declare each parameter of a run.")
    annotation = hints.get(item.name, inspect.Parameter.empty)
    try:
        kind = parameter_type(annotation)
    except ValueError as error:
        raise ValueError(f"The parameter {item.name}: {error}") from None
    description = next((note for note in getattr(annotation, "__metadata__", ()) if isinstance(note, str)), "")
    return ParameterSpec(item.name, kind, _default(item), description)


def _default(item: inspect.Parameter) -> Literal:
    if item.default is inspect.Parameter.empty:
        return MISSING
    found: list[str] = []
    check_exact(item.default, "default", lambda _path, description: found.append(description))
    if found:
        raise ValueError(f"The default of the parameter {item.name}: {found[0]}")
    return Literal(canonical(item.default))


def _common(kinds: list[ParameterType], annotation: object) -> ParameterType:
    nullable = type(None) in get_args(annotation) or None in get_args(annotation)
    return kinds[0] if len(set(kinds)) == 1 and not nullable else ParameterType.ANY


def _class_type(kind: object, annotation: object) -> ParameterType:
    if is_typeddict(kind):
        return ParameterType.OBJECT
    if isinstance(kind, type) and not (issubclass(kind, enum.Enum) and not issubclass(kind, str | int)):
        for base, found in _CLASSES:
            if issubclass(kind, base):
                return found
    shown = getattr(annotation, "__qualname__", annotation)
    raise ValueError(
        f"{shown} is no JSON type; annotate it with str, int, float, bool, list or dict, and convert it in a task."
    )

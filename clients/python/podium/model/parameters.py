"""What a run is given: parameters checked against the workflow's declarations, defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping

from podium.errors import InvalidParametersError
from podium.model.exactness import canonical, check_exact, json_bytes, type_name
from podium.model.problems import Problems, did_you_mean, quoted
from podium.model.spec import JsonValue, ParameterSpec, ParameterType, WorkflowSpec

MAX_PARAMETER_BYTES = 256 * 1024
"""The most that all parameters of a run take together as JSON, in bytes."""

_PYTHON_TYPES: dict[ParameterType, tuple[type, ...]] = {
    ParameterType.STRING: (str,),
    ParameterType.INTEGER: (int,),
    ParameterType.NUMBER: (int, float),
    ParameterType.BOOLEAN: (bool,),
    ParameterType.ARRAY: (list,),
    ParameterType.OBJECT: (dict,),
}


def resolve(spec: WorkflowSpec, given: Mapping[str, object]) -> dict[str, JsonValue]:
    """Return a run's parameters in the order of their declaration; those of type number are floats.

    Args:
        spec: The workflow, already validated.
        given: Values by name. Tuples count as arrays, and a whole float as an integer.

    Raises:
        InvalidParametersError: With one violation ("params.NAME") for each parameter that is unknown, missing, of
            another type or no exact JSON; or one ("params") when together they take over `MAX_PARAMETER_BYTES`.
    """
    problems = Problems()
    _check_names(spec, given, problems)
    resolved = {}
    for parameter in spec.parameters:
        if parameter.name in given:
            resolved[parameter.name] = _given(parameter, given[parameter.name], problems)
        elif not parameter.required:
            resolved[parameter.name] = _typed(parameter, parameter.default.value)
    if not problems.count:
        _check_size(resolved, problems)
    if problems.count:
        raise InvalidParametersError(
            f"The parameters do not fit workflow {quoted(spec.name)}: {problems.summary()}.",
            tuple(problems.found),
            workflow=spec.name,
        )
    return resolved


def fits(value: JsonValue, kind: ParameterType) -> bool:
    """Tell whether `value` has the JSON type `kind`; true and false are no numbers."""
    if kind is ParameterType.ANY:
        return True
    if isinstance(value, bool):
        return kind is ParameterType.BOOLEAN
    return isinstance(value, _PYTHON_TYPES[kind])


def json_type(value: JsonValue) -> str:
    """Return the name of the JSON type of `value`, as in "an integer"."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = ((str, "a string"), (int, "an integer"), (float, "a number"), (list, "an array"), (dict, "an object"))
    return next((name for kind, name in names if isinstance(value, kind)), type_name(value))


def _check_names(spec: WorkflowSpec, given: Mapping[str, object], problems: Problems) -> None:
    declared = {parameter.name for parameter in spec.parameters}
    for name in given:
        if name not in declared:
            problems.add(
                f"params.{name}", f"The workflow has no parameter {quoted(name)}.{did_you_mean(name, declared)}"
            )
    for parameter in spec.parameters:
        if parameter.required and parameter.name not in given:
            problems.add(f"params.{parameter.name}", "The parameter has no default and must be given.")


def _given(parameter: ParameterSpec, value: object, problems: Problems) -> JsonValue:
    path = f"params.{parameter.name}"
    before = problems.count
    check_exact(value, path, problems.add)
    if problems.count > before:
        return None
    exact = canonical(value)
    if not fits(exact, parameter.type):
        problems.add(path, f"It must be {_described(parameter.type)}, and is {json_type(exact)}: {quoted(exact)}.")
        return None
    return _typed(parameter, exact)


def _described(kind: ParameterType) -> str:
    return f"{'an' if kind.value[0] in 'aeiou' else 'a'} {kind.value}"


def _typed(parameter: ParameterSpec, value: JsonValue) -> JsonValue:
    if parameter.type is ParameterType.NUMBER and isinstance(value, int):
        return float(value)
    return value


def _check_size(resolved: dict[str, JsonValue], problems: Problems) -> None:
    size = len(json_bytes(resolved))
    if size > MAX_PARAMETER_BYTES:
        problems.add(
            "params",
            f"Together they take {size:,} bytes as JSON; the limit is {MAX_PARAMETER_BYTES:,} (256 KiB). "
            "Give a task the place of large data instead of the data.",
        )

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import InvalidParametersError
from podium.model.parameters import resolve
from podium.model.spec import JsonValue, ParameterSpec, ParameterType
from tests.unit.sdk.builders import a_parameter, a_workflow
from tests.unit.sdk.strategies import EXACT, NAMES

TOO_LARGE = "is beyond 2^53 - 1 (9007199254740991), up to which numbers travel exactly; pass it as a string."


def problems(given: dict[str, object], *parameters: ParameterSpec) -> list[tuple[str, str]]:
    spec = a_workflow(parameters=parameters)
    with pytest.raises(InvalidParametersError) as caught:
        resolve(spec, given)
    return [(violation.field, violation.description) for violation in caught.value.violations]


@given(st.dictionaries(NAMES, EXACT, max_size=4))
def test_values_of_any_type_come_out_as_they_went_in(values: dict[str, JsonValue]) -> None:
    spec = a_workflow(parameters=tuple(a_parameter(name) for name in values))
    assert resolve(spec, values) == values


def test_defaults_are_filled_in_in_the_order_of_declaration() -> None:
    spec = a_workflow(parameters=(a_parameter("a", default=1), a_parameter("b"), a_parameter("c", default=None)))
    assert list(resolve(spec, {"b": 2}).items()) == [("a", 1), ("b", 2), ("c", None)]


def test_a_number_is_always_a_float_and_a_whole_float_an_integer() -> None:
    spec = a_workflow(
        parameters=(a_parameter("x", ParameterType.NUMBER), a_parameter("n", ParameterType.INTEGER), a_parameter("any"))
    )
    assert repr(resolve(spec, {"x": 3, "n": 3.0, "any": (1, 2.0)})) == "{'x': 3.0, 'n': 3, 'any': [1, 2]}"


def test_every_problem_is_told_at_once() -> None:
    assert problems(
        {"dya": 1, "n": "x", "flag": 1, "big": 2**53},
        a_parameter("day"),
        a_parameter("n", ParameterType.INTEGER),
        a_parameter("flag", ParameterType.BOOLEAN),
        a_parameter("big"),
    ) == [
        ("params.dya", "The workflow has no parameter 'dya'. Did you mean 'day'?"),
        ("params.day", "The parameter has no default and must be given."),
        ("params.n", "It must be an integer, and is a string: 'x'."),
        ("params.flag", "It must be a boolean, and is an integer: 1."),
        (
            "params.big",
            (
                "9007199254740992 is beyond 2^53 - 1 (9007199254740991), up to which numbers travel exactly; "
                "pass it as a string."
            ),
        ),
    ]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (ParameterType.STRING, None),
        (ParameterType.INTEGER, True),
        (ParameterType.INTEGER, 1.5),
        (ParameterType.NUMBER, False),
        (ParameterType.ARRAY, {}),
        (ParameterType.OBJECT, []),
    ],
)
def test_a_value_of_another_type_is_refused(kind: ParameterType, value: object) -> None:
    [(field, description)] = problems({"day": value}, a_parameter("day", kind))
    assert field == "params.day"
    assert f"{kind.value}, and is " in description


@pytest.mark.parametrize(
    ("value", "field", "description"),
    [
        (float("nan"), "params.day", "nan is no JSON number; use null or a string."),
        ({"a": {1, 2}}, "params.day.a", "a set is no JSON value; pass sorted(value)."),
        ({1: 2}, "params.day", "The key 1 is an int; JSON objects have strings as keys."),
        (b"x", "params.day", "a bytes is no JSON value."),
        ([1e300], "params.day[0]", f"1e+300 {TOO_LARGE}"),
        pytest.param(
            10**5000, "params.day", f"an integer of 16,610 bits {TOO_LARGE}", id="an integer too long to print"
        ),
    ],
)
def test_what_is_no_exact_json_is_refused(value: object, field: str, description: str) -> None:
    assert problems({"day": value}, a_parameter("day")) == [(field, description)]


def test_parameters_over_256_kib_are_refused() -> None:
    assert problems({"day": "x" * 262_144}, a_parameter("day")) == [
        (
            "params",
            (
                "Together they take 262,154 bytes as JSON; the limit is 262,144 (256 KiB). "
                "Give a task the place of large data instead of the data."
            ),
        )
    ]
    spec = a_workflow(parameters=(a_parameter("day"),))
    assert len(str(resolve(spec, {"day": "x" * 262_134})["day"])) == 262_134


def test_a_workflow_without_parameters_says_so() -> None:
    assert problems({"day": 1}) == [
        ("params.day", "The workflow has no parameter 'day'. There is none to choose from.")
    ]

"""`-p name=value` and `--params-file`: what text becomes which value."""

from __future__ import annotations

from pathlib import Path

import pytest

from podium.cli.parameters import given, read_file
from podium.errors import InvalidParametersError
from podium.model.spec import JsonValue, ParameterSpec, ParameterType, PythonAction, TaskSpec, WorkflowSpec


def a_workflow(kind: ParameterType = ParameterType.STRING) -> WorkflowSpec:
    return WorkflowSpec("flow", (TaskSpec("t", PythonAction("m:f")),), (ParameterSpec("x", kind),))


def problems(kind: ParameterType, *pairs: str) -> list[tuple[str, str]]:
    with pytest.raises(InvalidParametersError) as caught:
        given(a_workflow(kind), pairs, None)
    assert caught.value.metadata["workflow"] == "flow"
    return [(violation.field, violation.description) for violation in caught.value.violations]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (ParameterType.STRING, "5", "5"),
        (ParameterType.STRING, "true", "true"),
        (ParameterType.STRING, "", ""),
        (ParameterType.STRING, "a=b", "a=b"),
        (ParameterType.INTEGER, "-5", -5),
        (ParameterType.NUMBER, "5e-1", 0.5),
        (ParameterType.BOOLEAN, "true", True),
        (ParameterType.ARRAY, '[1, "a"]', [1, "a"]),
        (ParameterType.OBJECT, '{"a": null}', {"a": None}),
        (ParameterType.ANY, "5", 5),
        (ParameterType.ANY, "null", None),
        (ParameterType.ANY, "hello", "hello"),
        (ParameterType.ANY, "NaN", "NaN"),
    ],
)
def test_a_value_is_read_by_the_declared_type(kind: ParameterType, text: str, value: JsonValue) -> None:
    assert given(a_workflow(kind), [f"x={text}"], None) == {"x": value}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ParameterType.INTEGER, "5.5"),
        (ParameterType.INTEGER, "five"),
        (ParameterType.INTEGER, "true"),
        (ParameterType.NUMBER, "NaN"),
        (ParameterType.BOOLEAN, "True"),
        (ParameterType.ARRAY, "{}"),
        (ParameterType.OBJECT, "[" * 100_000),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_type_it_must_have(kind: ParameterType, text: str) -> None:
    ((field, description),) = problems(kind, f"x={text}")
    assert field == "params.x"
    assert kind.value in description


def test_every_pair_that_cannot_be_read_is_told_at_once() -> None:
    assert problems(ParameterType.STRING, "x", "x=a", "x=b") == [
        ("params.x", "A value is missing: write name=value."),
        ("params.x", "The parameter is given more than once."),
    ]


def test_an_unknown_parameter_is_told_together_with_a_missing_one() -> None:
    assert [field for field, _ in problems(ParameterType.STRING, "y=1")] == ["params.y", "params.x"]


def test_a_pair_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text('{"x": "of the file"}')
    assert given(a_workflow(), [], file) == {"x": "of the file"}
    assert given(a_workflow(), ["x=of the pair"], file) == {"x": "of the pair"}


def test_a_broken_file_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text('{"month": 3,\n oops}')
    with pytest.raises(InvalidParametersError) as caught:
        read_file(file)
    assert caught.value.violations[0].line == 2
    assert caught.value.metadata["file"] == str(file)


def test_a_file_with_another_value_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text("[1]")
    with pytest.raises(InvalidParametersError, match="must hold a JSON object"):
        read_file(file)

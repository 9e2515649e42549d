"""`-p name=value`: what text becomes which value."""

from __future__ import annotations

from pathlib import Path

import pytest

from podium.cli.parameters import read_file, read_pairs
from podium.errors import InvalidParametersError
from podium.model.spec import JsonValue, ParameterSpec, ParameterType


def problems(kind: ParameterType, *pairs: str) -> list[tuple[str, str]]:
    with pytest.raises(InvalidParametersError) as caught:
        read_pairs([ParameterSpec("x", kind)], pairs)
    return [(violation.field, violation.description) for violation in caught.value.violations]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (ParameterType.STRING, "5", "5"),
        (ParameterType.STRING, "true", "true"),
        (ParameterType.STRING, "", ""),
        (ParameterType.STRING, "a=b", "a=b"),
        (ParameterType.INTEGER, "-5", -5),
        (ParameterType.NUMBER, "5", 5),
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
    assert read_pairs([ParameterSpec("x", kind)], [f"x={text}"]) == {"x": value}


@pytest.mark.parametrize(
    ("kind", "text", "wanted"),
    [
        (ParameterType.INTEGER, "5.0", "a whole number"),
        (ParameterType.INTEGER, "five", "a whole number"),
        (ParameterType.INTEGER, "true", "a whole number"),
        (ParameterType.NUMBER, "NaN", "a number"),
        (ParameterType.NUMBER, "false", "a number"),
        (ParameterType.BOOLEAN, "True", "true or false"),
        (ParameterType.ARRAY, "{}", "a JSON array"),
        (ParameterType.OBJECT, "[]", "a JSON object"),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_type_it_must_have(
    kind: ParameterType, text: str, wanted: str
) -> None:
    ((field, description),) = problems(kind, f"x={text}")
    assert field == "params.x"
    assert description.startswith(f"must be {wanted}")
    assert repr(text) in description


def test_every_wrong_pair_is_told_at_once() -> None:
    assert problems(ParameterType.STRING, "x", "y=1", "x=a", "x=b") == [
        ("params.x", "needs a value: write it as name=value"),
        ("params.y", "is not a parameter of this workflow; it has x"),
        ("params.x", "is given more than once"),
    ]


def test_a_file_gives_a_json_object(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text('{"month": 3}')
    assert read_file(file) == {"month": 3}


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
    with pytest.raises(InvalidParametersError, match="holds list"):
        read_file(file)

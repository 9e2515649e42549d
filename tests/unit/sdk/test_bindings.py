from __future__ import annotations

from pathlib import Path

import pytest

from podium.bindings import Inputs, environment_value, plain_action
from podium.errors import RejectedInputError
from podium.model.spec import (
    JsonValue,
    ListBinding,
    Literal,
    ObjectBinding,
    Output,
    Parameter,
    PythonAction,
    ShellAction,
)
from podium.results import FileRef, file_json

FILE = FileRef("ab" * 32, "a.csv", 4)


def some_inputs() -> Inputs:
    outputs: dict[str, JsonValue] = {"load": {"rows": [10, 20], "file": file_json(FILE)}, "nothing": None}
    return Inputs({"day": "monday"}, outputs, lambda file: Path("/in") / file.name)


def test_arguments_are_put_together_from_everywhere() -> None:
    action = PythonAction(
        "m:f",
        (Literal(1), Parameter("day"), Output("load", ("rows", "1"))),
        (("both", ObjectBinding((("x", ListBinding((Parameter("day"), Output("load", ("file",))))),))),),
    )
    assert some_inputs().arguments(plain_action(action)) == (
        [1, "monday", 20],
        {"both": {"x": ["monday", Path("/in/a.csv")]}},
    )


def test_a_whole_output_has_its_files_replaced() -> None:
    binding = {"output": {"task": "load", "path": []}}
    assert some_inputs().resolve(binding) == {"rows": [10, 20], "file": Path("/in/a.csv")}


def test_an_output_that_is_not_there_is_none_and_so_is_each_part_of_it() -> None:
    assert some_inputs().resolve({"output": {"task": "skipped", "path": ["a", "0"]}}) is None


def test_a_file_among_the_parameters_is_just_a_value() -> None:
    inputs = Inputs({"x": file_json(FILE)}, {}, lambda _file: "opened")
    assert inputs.resolve({"parameter": "x"}) == file_json(FILE)


@pytest.mark.parametrize(
    ("task", "path", "message"),
    [
        ("load", ["row"], "The output of 'load' has no 'row': it is an object with the keys file, rows."),
        ("load", ["rows", "2"], "The output of 'load' at ['rows'] has no '2': it is an array of 2 elements."),
        ("load", ["rows", "-1"], "The output of 'load' at ['rows'] has no '-1': it is an array of 2 elements."),
        ("load", ["rows", "0", "x"], "The output of 'load' at ['rows']['0'] has no 'x': it is an integer."),
        ("nothing", ["x"], "The output of 'nothing' has no 'x': it is null."),
    ],
)
def test_a_part_that_is_not_there_is_refused(task: str, path: list[str], message: str) -> None:
    with pytest.raises(RejectedInputError) as caught:
        some_inputs().resolve({"output": {"task": task, "path": path}})
    assert str(caught.value) == message


def test_an_unknown_kind_of_binding_is_refused() -> None:
    with pytest.raises(RejectedInputError, match="unknown kind 'secret'"):
        some_inputs().resolve({"secret": "x"})


def test_a_program_gets_text_as_it_is_and_all_else_as_json() -> None:
    bound = (("N", Literal({"a": [1, None]})), ("DAY", Parameter("day")), ("FILE", Output("load", ("file",))))
    action = ShellAction(script="true", env=(("A", "b"),), env_bindings=bound)
    assert some_inputs().environment(plain_action(action)) == {
        "A": "b",
        "N": '{"a":[1,null]}',
        "DAY": "monday",
        "FILE": "/in/a.csv",
    }
    assert environment_value([Path("/x"), True]) == '["/x",true]'

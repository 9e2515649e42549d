from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from podium.errors import InvalidWorkflowError
from podium.located import Located, UnreadableError, read_json, read_yaml
from podium.model.spec import (
    JsonValue,
    ListBinding,
    Literal,
    ObjectBinding,
    Output,
    Parameter,
    ParameterSpec,
    ParameterType,
    PythonAction,
    Resources,
    RetryPolicy,
    ShellAction,
    TaskSpec,
    TriggerRule,
    WorkflowSpec,
)
from podium.textual import looks_like_workflow, read_workflow
from tests.unit.sdk.strategies import ANY_JSON

FLOW = """\
workflow: daily
description: Loads a day.
timeout: 2h
parameters:
  day: {type: string, default: 2013-01-01, description: Which day.}
  n: integer
tasks:
  extract:
    python: steps:extract
    args: [{$param: day}, [1, {$param: n}]]
    kwargs: {opts: {a: [1, 2.0]}}
    retries: 2
    delay: 30s
    cpu: 0.5
    memory: 1MiB
    timeout: 5m
    labels: {zone: b}
  report:
    script: wc -l "$FILE"
    env: {FILE: {$output: extract, $path: [file, 0]}, MODE: fast, N: 3}
    cwd: scripts
    after: [extract]
    trigger_rule: none_failed
    priority: 5
    required: true
  done:
    exec: [echo, done]
    after: [report]
"""

EXPECTED = WorkflowSpec(
    "daily",
    (
        TaskSpec(
            "extract",
            PythonAction(
                "steps:extract",
                (Parameter("day"), ListBinding((Literal(1), Parameter("n")))),
                (("opts", Literal({"a": [1, 2]})),),
            ),
            retry=RetryPolicy(2, 30.0),
            resources=Resources(500, 2**20),
            run_timeout=300.0,
            agent_labels=(("zone", "b"),),
        ),
        TaskSpec(
            "report",
            ShellAction(
                script='wc -l "$FILE"',
                env=(("MODE", "fast"),),
                cwd="scripts",
                env_bindings=(("FILE", Output("extract", ("file", "0"))), ("N", Literal(3))),
            ),
            ("extract",),
            TriggerRule.NONE_FAILED,
            priority=5,
            required=True,
        ),
        TaskSpec("done", ShellAction(exec=("echo", "done")), ("report",)),
    ),
    (
        ParameterSpec("day", ParameterType.STRING, Literal("2013-01-01"), "Which day."),
        ParameterSpec("n", ParameterType.INTEGER),
    ),
    "Loads a day.",
    7200.0,
)


def written(folder: Path, text: str, name: str = "flow.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def problems(folder: Path, text: str, name: str = "flow.yaml") -> list[str]:
    with pytest.raises(InvalidWorkflowError) as caught:
        read_workflow(written(folder, text, name))
    assert caught.value.metadata["file"] == str(folder / name)
    return [violation.shown() for violation in caught.value.violations]


def test_yaml_becomes_the_definition_it_reads_like(tmp_path: Path) -> None:
    found = read_workflow(written(tmp_path, FLOW))
    assert found.spec == EXPECTED
    assert found.task_lines == {"extract": 8, "report": 18, "done": 26}


def test_json_means_the_same_as_yaml(tmp_path: Path) -> None:
    text = json.dumps(read_yaml(FLOW).plain(), indent="\t")
    assert read_workflow(written(tmp_path, text, "flow.json")).spec == EXPECTED


def test_an_object_with_references_in_it_stays_an_object(tmp_path: Path) -> None:
    text = "workflow: w\nparameters: {p: any}\ntasks: {a: {python: 'm:f', args: [{y: {$param: p}, x: 1}]}}"
    [task] = read_workflow(written(tmp_path, text)).spec.tasks
    assert task.action == PythonAction("m:f", (ObjectBinding((("x", Literal(1)), ("y", Parameter("p")))),))


def test_every_problem_is_told_with_its_line(tmp_path: Path) -> None:
    text = """\
workflow: dai ly
timout: 2h
parameters:
  day: {type: strng}
tasks:
  extract:
    python: steps
    args: [{$param: dya}]
    retries: x
  report:
    script: wc
    args: [1]
    env: {FILE: {$output: extrac}}
    afer: [extract]
    after: [nobody]
  late:
    python: a:b
    retries: 2000
    kwargs: {x: {$output: report}}
    labels: {a: 1}
"""
    assert problems(tmp_path, text) == [
        (
            "1: workflow: 'dai ly' is no usable name: it takes 1 to 128 letters, digits, '_', '.' and '-' (ASCII), "
            "the first one a letter or a digit."
        ),
        "2: timout: There is no key 'timout' here. Did you mean 'timeout'?",
        (
            "4: parameters.day.type: 'strng' is no type of a parameter. "
            "Known: any, string, integer, number, boolean, array, object."
        ),
        "7: tasks.extract.python: 'steps' names no function: write \"module:function\" in at most 512 letters.",
        "8: tasks.extract.args[0]: The workflow has no parameter 'dya'. Did you mean 'day'?",
        "9: tasks.extract.retries: retries must be a whole number, and is 'x'.",
        "12: tasks.report.args: It does not go with script.",
        "13: tasks.report.env.FILE: There is no task 'extrac'. Did you mean 'extract'?",
        "14: tasks.report.afer: There is no key 'afer' here. Did you mean 'after'?",
        "15: tasks.report.after: There is no task 'nobody'. Known: extract, late, report.",
        "18: tasks.late.retries: 2,000 is out of range: 0 to 1,000.",
        "20: tasks.late.labels: labels must be a mapping from text to text, and is {'a': 1}.",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "It is empty."),
        ("- 1", "1: It must be an object, and is an array."),
        ("tasks: {a: {script: x}}", "1: workflow: The key is missing."),
        ("workflow: w", "1: tasks: The key is missing."),
        ("workflow: w\ntasks: {}", "2: tasks: The workflow has no tasks; it needs at least one."),
        ("workflow: w\ntasks:\n", "2: tasks: It must be an object, and is null."),
        (
            "workflow: 1.0\ntasks: {a: {script: x}}",
            "1: workflow: It must be text, and is a number; put it into quotes.",
        ),
        ("workflow: w\ntasks: {a: {}}", "2: tasks.a: A task has exactly one of python, script and exec."),
        (
            "workflow: w\ntasks: {a: {script: x, exec: [x]}}",
            "2: tasks.a: A task has exactly one of python, script and exec.",
        ),
        ("workflow: w\ntasks: {a: {script: x, after: b}}", "2: tasks.a.after: It must be a list, and is a string."),
        (
            "workflow: w\ntasks: {a: {python: 'm:f', args: [{$param: x, $output: y}]}}",
            "2: tasks.a.args[0]: A reference is {$param: NAME}, or {$output: TASK}, with $path for a part of it.",
        ),
        (
            "workflow: w\ntasks: {a: {python: 'm:f', args: [{$prm: x}]}}",
            "2: tasks.a.args[0].$prm: There is no key '$prm' here. Did you mean '$param'?",
        ),
        (
            "workflow: w\ntasks: {a: {python: 'm:f', args: [{$output: a}]}}",
            "2: tasks.a: These tasks wait for each other: a -> a.",
        ),
        ("workflow: w\nworkflow: x", "2: The key 'workflow' is there twice; first on line 1."),
        ("a: [1\nb: 2", "2: It is no YAML: expected ',' or ']', but got ':'."),
        ("\tworkflow: w", "1: It is no YAML: found character '\\t' that cannot start any token."),
        ("a: 1\n---\nb: 2", "2: It is no YAML: but found another document."),
        (
            "workflow: !!python/object:os.system x",
            "1: x has the tag tag:yaml.org,2002:python/object:os.system, or is no JSON number; put it into quotes.",
        ),
        ("workflow: .nan", "1: .nan has the tag tag:yaml.org,2002:float, or is no JSON number; put it into quotes."),
        ("1: x", "1: The key 1 is no text; put it into quotes."),
        ("a: &x {b: 1}\nc: {<<: *x}", "2: The key << is no text; put it into quotes."),
        ("a: \x00", "It is no YAML: unacceptable character #x0000: special characters are not allowed."),
    ],
)
def test_text_that_defines_no_workflow_is_refused(tmp_path: Path, text: str, told: str) -> None:
    assert told in problems(tmp_path, text)[:2]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "1: It is no JSON: Expecting value."),
        ("{\n  'a': 1}", "2: It is no JSON: A key in quotes is missing."),
        ('{\n"a": 1,\n"a": 2}', "3: The key 'a' is there twice; first on line 2."),
        ('{"a" 1}', "1: It is no JSON: A ':' is missing."),
        ('{"a": 1\n"b": 2}', "2: It is no JSON: A ',' is missing."),
        ('{"a": [1,\n]}', "2: It is no JSON: Expecting value."),
        ('{"a": NaN}', "1: It is no JSON: NaN is no JSON."),
        ("{}\n\n{}", "3: It is no JSON: Something follows the value."),
        ("[" * 60, "1: It nests deeper than 50."),
    ],
)
def test_json_that_cannot_be_read_is_refused(tmp_path: Path, text: str, told: str) -> None:
    assert problems(tmp_path, text, "flow.json") == [told]


def test_text_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_bytes(b"workflow: \xff")
    with pytest.raises(InvalidWorkflowError, match="It is no UTF-8 text: invalid start byte at byte 10"):
        read_workflow(path)


def test_aliases_that_multiply_without_end_are_refused() -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9))
    with pytest.raises(UnreadableError, match="It has more than 500,000 values, or nests deeper than 50"):
        read_yaml(f"l0: &l0 [x, x]\n{levels}\n")


def test_yaml_over_its_limit_is_refused() -> None:
    with pytest.raises(UnreadableError, match=r"the limit for YAML is 1,048,576\. Use JSON\."):
        read_yaml("#" * (2**20 + 1))


def test_an_alias_may_stand_for_a_part(tmp_path: Path) -> None:
    text = "workflow: w\ntasks:\n  a: {script: x, env: &env {K: v}}\n  b: {script: y, env: *env}\n"
    first, second = read_workflow(written(tmp_path, text)).spec.tasks
    assert first.action.env == second.action.env == (("K", "v"),)  # type: ignore[union-attr]


@given(ANY_JSON)
def test_json_is_read_as_json_reads_it(value: JsonValue) -> None:
    assert repr(read_json(json.dumps(value, indent=1)).plain()) == repr(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("", None),
        ("0o17", 15),
        ("0x1F", 31),
        ("010", 10),
        ("1_000", 1000),
        ("-5", -5),
        ("3.10", 3.1),
        ("1e3", 1000.0),
        ("2013-01-01", "2013-01-01"),
        ("'5'", "5"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    content = read_yaml(f"x: {text}").content
    assert isinstance(content, dict)
    found = content["x"]
    assert isinstance(found, Located)
    assert (found.plain(), type(found.plain())) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("workflow: x", True),
        ("# a comment\n\nworkflow : x", True),
        ('{"workflow": "x"}', True),
        ('{\n  "workflow": "x"}', True),
        ("name: workflow\n", False),
        ("services: {}", False),
    ],
)
def test_a_workflow_is_told_from_other_files_by_its_first_key(text: str, expected: bool) -> None:
    assert looks_like_workflow(text) is expected

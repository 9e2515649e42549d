from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from podium.errors import InvalidWorkflowError
from podium.model.problems import MAX_PROBLEMS
from podium.model.spec import (
    ListBinding,
    Literal,
    ObjectBinding,
    Output,
    Parameter,
    ParameterType,
    PythonAction,
    Resources,
    RetryPolicy,
    TaskSpec,
    TriggerRule,
    WorkflowSpec,
)
from podium.model.validation import check, validate, violations
from tests.unit.sdk.builders import a_chain, a_parameter, a_shell_task, a_task, a_workflow
from tests.unit.sdk.strategies import WORKFLOWS


def only(spec: WorkflowSpec) -> tuple[str, str]:
    [violation] = violations(spec)
    return violation.field, violation.description


@given(WORKFLOWS)
def test_sound_definitions_pass(spec: WorkflowSpec) -> None:
    assert violations(spec) == ()


def test_a_cycle_is_named_in_the_order_of_execution() -> None:
    tasks = (a_task("a", "c"), a_task("b", "a"), a_task("c", "b"))
    assert only(a_workflow(*tasks)) == ("tasks[0].upstream", "These tasks wait for each other: a -> b -> c -> a.")


def test_a_task_that_waits_for_itself_is_a_cycle() -> None:
    assert only(a_workflow(a_task("a", "a"))) == ("tasks[0].upstream", "These tasks wait for each other: a -> a.")


def test_separate_cycles_are_all_named() -> None:
    tasks = (a_task("a", "b"), a_task("b", "a"), a_task("c"), a_task("d", "e", "c"), a_task("e", "d"))
    assert [violation.description for violation in violations(a_workflow(*tasks))] == [
        "These tasks wait for each other: a -> b -> a.",
        "These tasks wait for each other: d -> e -> d.",
    ]


def test_a_long_cycle_is_named_in_part() -> None:
    keys = [f"t{index}" for index in range(100_000)]
    first, *others = a_chain(keys)
    _, description = only(a_workflow(replace(first, upstream=("t99999",)), *others))
    assert description.startswith("These tasks wait for each other: t0 -> t1 -> ")
    assert description.endswith(" -> t18 -> (99,981 more) -> t0.")


def test_an_unknown_upstream_is_named_with_the_nearest_one() -> None:
    assert only(a_workflow(a_task("extract"), a_task("load", "extrat"))) == (
        "tasks[1].upstream[0]",
        "There is no task 'extrat'. Did you mean 'extract'?",
    )


def test_a_repeated_upstream_is_refused() -> None:
    assert only(a_workflow(a_task("a"), a_task("b", "a", "a"))) == ("tasks[1].upstream[1]", "'a' is listed twice.")


def test_a_repeated_key_is_refused() -> None:
    assert only(a_workflow(a_task("a"), a_task("a"))) == ("tasks[1].key", "tasks[0] has the key 'a' already.")


@pytest.mark.parametrize("name", ["", "two words", "-x", "x" * 129, "ä", "a/b", "x\n"])
def test_a_bad_name_is_refused(name: str) -> None:
    field, description = only(a_workflow(name=name))
    assert field == "name"
    assert "is no usable name: it takes 1 to 128 letters, digits, '_', '.' and '-' (ASCII)" in description


@pytest.mark.parametrize("key", ["", "two words", ".x", "x" * 201, "ä"])
def test_a_bad_key_is_refused(key: str) -> None:
    field, description = only(a_workflow(a_task(key)))
    assert field == "tasks[0].key"
    assert "is no usable key: it takes 1 to 200" in description


def test_an_empty_workflow_is_refused() -> None:
    assert only(WorkflowSpec("w", ())) == ("tasks", "The workflow has no tasks; it needs at least one.")


def test_more_than_100_000_tasks_are_refused() -> None:
    task = a_task()
    assert only(WorkflowSpec("w", (task,) * 100_001)) == (
        "tasks",
        "The workflow has 100,001 tasks; the limit is 100,000. Split it.",
    )


def test_more_than_two_million_edges_are_refused() -> None:
    sources = [f"s{index}" for index in range(2_000)]
    sinks = [a_task(f"t{index}", *sources) for index in range(1_001)]
    spec = a_workflow(*map(a_task, sources), *sinks)
    assert only(spec) == ("tasks", "The tasks have 2,002,000 upstreams in all; the limit is 2,000,000.")


@pytest.mark.parametrize(
    ("change", "field", "description"),
    [
        ({"priority": 1001}, "priority", "1,001 is out of range: -1,000 to 1,000."),
        ({"run_timeout": 0}, "run_timeout", "0 is no timeout: more than 0, at most 315,576,000,000 seconds."),
        (
            {"start_timeout": float("nan")},
            "start_timeout",
            "nan is no timeout: more than 0, at most 315,576,000,000 seconds.",
        ),
        ({"retry": RetryPolicy(1001)}, "retry.retries", "1,001 is out of range: 0 to 1,000."),
        ({"retry": RetryPolicy(factor=0.5)}, "retry.factor", "0.5 is out of range: 1 to 100."),
        ({"retry": RetryPolicy(delay=-1.0)}, "retry.delay", "-1.0 is out of range: 0 to 315,576,000,000 seconds."),
        (
            {"resources": Resources(cpu_millis=-1)},
            "resources.cpu_millis",
            "-1 is out of range: 0 to 1,024,000 thousandths of a core.",
        ),
        (
            {"resources": Resources(memory_bytes=2**50 + 1)},
            "resources.memory_bytes",
            "1,125,899,906,842,625 is out of range: 0 to 1,125,899,906,842,624 bytes (1 PiB).",
        ),
        (
            {"agent_labels": tuple((f"l{index}", "") for index in range(17))},
            "agent_labels",
            "The task asks for 17 labels; the limit is 16.",
        ),
        ({"agent_labels": (("", "x"),)}, "agent_labels", "'' is no label's name: 1 to 128 characters."),
        ({"agent_labels": (("a", "x"), ("a", "y"))}, "agent_labels", "A label is listed twice."),
    ],
)
def test_an_option_out_of_range_is_refused(change: dict[str, Any], field: str, description: str) -> None:
    assert only(a_workflow(a_task(**change))) == (f"tasks[0].{field}", description)


@pytest.mark.parametrize("function", ["", "steps", "steps:", ":run", "steps:run()", "a-b:c", "steps.run", "m:f\n"])
def test_a_function_that_is_no_reference_is_refused(function: str) -> None:
    field, description = only(a_workflow(a_task(action=PythonAction(function))))
    assert field == "tasks[0].python.function"
    assert 'names no function: write "module:function"' in description


@pytest.mark.parametrize(
    ("binding", "description"),
    [
        (Output("b"), "It uses the output of 'b', which is not upstream of 'a'. Add it to upstream."),
        (Output("c"), "There is no task 'c'. Known: a, b."),
        (Parameter("dya"), "The workflow has no parameter 'dya'. Did you mean 'day'?"),
        (
            Literal(2**53),
            (
                "9007199254740992 is beyond 2^53 - 1 (9007199254740991), up to which numbers travel exactly; "
                "pass it as a string."
            ),
        ),
        (Literal(float("inf")), "inf is no JSON number; use null or a string."),
        (Literal("\ud800"), "The text has a lone surrogate, which UTF-8 cannot hold."),
    ],
)
def test_a_binding_that_leads_nowhere_is_refused(binding: Output | Parameter | Literal, description: str) -> None:
    tasks = (a_task("a", action=PythonAction("m:f", (binding,))), a_task("b"))
    expected = ("tasks[0].python.args[0]", description)
    assert only(a_workflow(*tasks, parameters=(a_parameter("day"),))) == expected


def test_bindings_are_checked_however_deep_they_are() -> None:
    deep = ObjectBinding((("x", ListBinding((Literal(1), Parameter("no")))),))
    spec = a_workflow(a_task(action=PythonAction("m:f", kwargs=(("k", deep),))))
    assert only(spec) == (
        "tasks[0].python.kwargs.k.x[1]",
        "The workflow has no parameter 'no'. There is none to choose from.",
    )


@pytest.mark.parametrize("rule", [TriggerRule.ALL_FAILED, TriggerRule.ALL_SKIPPED, TriggerRule.ALWAYS])
def test_an_output_that_there_never_is_cannot_be_used(rule: TriggerRule) -> None:
    task = a_task("b", "a", action=PythonAction("m:f", (Output("a"),)), trigger_rule=rule)
    assert only(a_workflow(a_task("a"), task)) == (
        "tasks[1].python.args[0]",
        (
            "It uses the output of 'a', but the trigger rule of 'b' starts it without one. "
            "Follow the task without using its output."
        ),
    )


def test_values_nested_too_deep_are_refused() -> None:
    value: object = 1
    for _ in range(25):
        value = [value]
    spec = a_workflow(a_task(action=PythonAction("m:f", (Literal(value),))))  # type: ignore[arg-type]
    field, description = only(spec)
    assert field == "tasks[0].python.args[0]" + "[0]" * 24
    assert description == "Arrays and objects are nested deeper than 24 levels; flatten the value."


def test_a_literal_over_its_limit_is_refused() -> None:
    spec = a_workflow(a_task(action=PythonAction("m:f", (Literal("x" * 262_143),))))
    assert only(spec) == (
        "tasks[0].python.args[0]",
        (
            "The value takes 262,145 bytes as JSON; the limit is 262,144 (256 KiB). "
            "Put it into a file of the bundle, or let a task return it."
        ),
    )


@pytest.mark.parametrize(
    ("change", "field", "description"),
    [
        ({"exec": ("x",)}, "", "Exactly one of exec (a program with its arguments) and script must be set."),
        ({"script": ""}, "", "Exactly one of exec (a program with its arguments) and script must be set."),
        ({"exec": ("",), "script": ""}, ".exec[0]", "The program's name is empty."),
        ({"script": "a\0b"}, ".script", "It has a NUL character, which no program can be given."),
        (
            {"script": "x" * 131_072},
            ".script",
            "It has 131,072 bytes; programs can be given 131,071. Put it into a file of the bundle.",
        ),
        ({"cwd": "/tmp"}, ".cwd", "'/tmp' must be a folder inside the bundle: relative, and without '..'."),
        ({"cwd": "a/../.."}, ".cwd", "'a/../..' must be a folder inside the bundle: relative, and without '..'."),
        ({"env": (("A=B", "x"),)}, ".env", "'A=B' cannot be an environment variable's name."),
        ({"env": (("A", "x"),), "env_bindings": (("A", Literal(1)),)}, ".env", "'A' is set twice."),
    ],
)
def test_a_bad_shell_action_is_refused(change: dict[str, Any], field: str, description: str) -> None:
    assert only(a_workflow(a_shell_task(**change))) == (f"tasks[0].shell{field}", description)


@pytest.mark.parametrize("name", ["", "1x", "two words", "class", "x" * 129])
def test_a_parameter_that_python_could_not_name_is_refused(name: str) -> None:
    field, description = only(a_workflow(parameters=(a_parameter(name),)))
    assert field == "parameters[0].name"
    assert "is no usable name: a Python identifier of at most 128 characters." in description


def test_a_default_of_another_type_is_refused() -> None:
    spec = a_workflow(parameters=(a_parameter("day", ParameterType.STRING, default=5),))
    assert only(spec) == ("parameters[0].default_value", "The default is an integer; the parameter's type is string.")


def test_too_many_and_repeated_parameters_are_refused() -> None:
    many = tuple(a_parameter(f"p{index}") for index in range(257))
    assert only(a_workflow(parameters=many)) == ("parameters", "The workflow has 257 parameters; the limit is 256.")
    twice = (a_parameter("day"), a_parameter("day"))
    assert only(a_workflow(parameters=twice)) == ("parameters[1].name", "parameters[0] has the name 'day' already.")


def test_a_long_description_is_refused() -> None:
    assert only(a_workflow(description="x" * 4097)) == ("description", "It has 4,097 characters; the limit is 4,096.")


def test_all_problems_are_told_at_once() -> None:
    spec = a_workflow(a_task("a", "x", priority=-2000), a_task("a"), name="")
    with pytest.raises(InvalidWorkflowError) as caught:
        validate(spec)
    assert [violation.field for violation in caught.value.violations] == [
        "name",
        "tasks[1].key",
        "tasks[0].upstream[0]",
        "tasks[0].priority",
    ]
    assert caught.value.message == "Workflow '' is not sound: 4 problems."
    assert str(caught.value).splitlines()[-1] == "  tasks[0].priority: -2,000 is out of range: -1,000 to 1,000."


def test_the_list_of_problems_ends_but_their_number_is_told() -> None:
    problems = check(a_workflow(*(a_task("same") for _ in range(250))))
    assert len(problems.found) == MAX_PROBLEMS
    assert problems.summary() == "249 problems, of which the first 100 are listed"


def test_100_000_tasks_are_checked_in_well_under_a_second() -> None:
    keys = [f"t{index}" for index in range(100_000)]
    tasks = tuple(
        TaskSpec(key, PythonAction("m:f", (Output(previous),)), (previous,)) if previous else a_task(key)
        for key, previous in zip(keys, ["", *keys], strict=False)
    )
    spec = a_workflow(*tasks)
    assert min(seconds_to_check(spec) for _ in range(5)) < 1.0  # 0.35 s where nothing else runs


def seconds_to_check(spec: WorkflowSpec) -> float:
    began = time.process_time()
    assert violations(spec) == ()
    return time.process_time() - began

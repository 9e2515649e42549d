from __future__ import annotations

from collections.abc import Mapping

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from podium import wire
from podium.bindings import plain_action
from podium.errors import InvalidParametersError, InvalidWorkflowError
from podium.model.exactness import MAX_DEPTH
from podium.model.spec import JsonValue, Literal, PythonAction, TriggerRule, WorkflowSpec
from podium.model.states import AgentState, AttemptState, Failure, FailureKind, RunState, TaskRunState
from podium.model.validation import violations
from podium.v1 import agent_pb2, run_pb2, workflow_pb2
from tests.unit.sdk.builders import a_task, a_workflow
from tests.unit.sdk.strategies import EXACT, SECONDS, TEXT, WORKFLOWS


@given(WORKFLOWS)
def test_a_definition_comes_back_from_its_bytes_as_it_was(spec: WorkflowSpec) -> None:
    message = workflow_pb2.WorkflowSpec.FromString(wire.workflow_bytes(spec))
    assert wire.workflow_from_proto(message) == spec


@given(WORKFLOWS)
def test_equal_definitions_are_equal_bytes(spec: WorkflowSpec) -> None:
    again = wire.workflow_from_proto(wire.workflow_to_proto(spec))
    assert wire.workflow_bytes(again) == wire.workflow_bytes(spec)


@given(WORKFLOWS)
def test_an_action_in_plain_terms_is_the_same_from_the_model_and_from_the_message(spec: WorkflowSpec) -> None:
    for task in spec.tasks:
        assert wire.plain_action(wire.action_to_proto(task.action)) == plain_action(task.action)


@given(EXACT)
def test_a_value_comes_back_as_it_was(value: JsonValue) -> None:
    assert repr(wire.value_to_json(wire.json_to_value(value))) == repr(value)


@given(st.dictionaries(TEXT, EXACT, max_size=4))
def test_an_object_comes_back_as_it_was(value: dict[str, JsonValue]) -> None:
    assert wire.struct_to_json(wire.json_to_struct(value)) == value


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**53 + 1, 1e300])
def test_a_number_that_may_have_been_rounded_is_refused_on_both_sides(number: float) -> None:
    with pytest.raises(InvalidParametersError, match=r"params does not travel exactly: 1 problem") as sent:
        wire.json_to_struct({"n": [number]})
    with pytest.raises(InvalidParametersError) as received:
        wire.struct_to_json(struct_pb2.Struct(fields={"n": struct_pb2.Value(number_value=number)}))
    assert [violation.field for violation in sent.value.violations] == ["params.n[0]"]
    assert [violation.field for violation in received.value.violations] == ["params.n"]
    assert "beyond 2^53 - 1 (9007199254740991)" in received.value.violations[0].description


def test_the_largest_exact_integers_travel() -> None:
    value: JsonValue = [2**53 - 1, -(2**53) + 1]
    assert wire.value_to_json(wire.json_to_value(value)) == value


def test_a_value_without_content_is_refused() -> None:
    with pytest.raises(InvalidParametersError) as caught:
        wire.value_to_json(struct_pb2.Value())
    assert caught.value.violations[0].description == "The value is not set; null is written as null_value."


def test_the_deepest_value_there_may_be_survives_the_deepest_messages() -> None:
    value: JsonValue = 1
    for _ in range(MAX_DEPTH):
        value = {"a": value}
    spec = a_workflow(a_task(action=PythonAction("m:f", kwargs=(("k", Literal(value)),))))
    assert violations(spec) == ()
    registered = workflow_pb2.GetWorkflowResponse(workflow=workflow_pb2.Workflow(spec=wire.workflow_to_proto(spec)))
    read = workflow_pb2.GetWorkflowResponse.FromString(registered.SerializeToString())
    assert wire.workflow_from_proto(read.workflow.spec) == spec


def test_everything_that_cannot_be_read_is_told_at_once() -> None:
    message = workflow_pb2.WorkflowSpec(name="w")
    message.parameters.add(name="p", type=99)
    message.parameters[0].default_value.number_value = 2.0**53
    message.tasks.add(key="a", trigger_rule=77)
    message.tasks.add(key="b").python.args.add()
    with pytest.raises(InvalidWorkflowError) as caught:
        wire.workflow_from_proto(message)
    assert [(violation.field, violation.description[:40]) for violation in caught.value.violations] == [
        ("tasks[0].trigger_rule", "77 is no trigger rule of this version."),
        ("tasks[0]", "The task has no action; exactly one of p"),
        ("tasks[1].python.args[0]", "Exactly one of literal, parameter, outpu"),
        ("parameters[0].type", "99 is no parameter type of this version."),
        ("parameters[0].default_value", "9007199254740992 is beyond 2^53 - 1 (900"),
    ]


def test_what_a_message_leaves_unset_reads_as_the_defaults() -> None:
    message = workflow_pb2.WorkflowSpec(name="w")
    task = message.tasks.add(key="a", python=workflow_pb2.PythonAction(function="m:f"))
    task.retry.SetInParent()
    task.resources.SetInParent()
    assert wire.workflow_from_proto(message) == a_workflow(a_task("a", action=PythonAction("m:f")), name="w")
    assert wire.workflow_from_proto(message).tasks[0].trigger_rule is TriggerRule.ALL_SUCCESS


@given(SECONDS)
def test_a_duration_comes_back_as_it_was(seconds: float) -> None:
    assert wire.duration_to_seconds(wire.seconds_to_duration(seconds)) == seconds


@given(st.sampled_from(FailureKind), TEXT, st.none() | st.integers(-64, 255))
def test_a_failure_comes_back_as_it_was(kind: FailureKind, message: str, code: int | None) -> None:
    failure = Failure(kind, message, "trace", "m.E", code)
    assert wire.failure_from_proto(wire.failure_to_proto(failure)) == failure


@pytest.mark.parametrize(
    ("numbers", "prefix", "known"),
    [
        (run_pb2.RunState.items(), "RUN_STATE_", set(RunState)),
        (run_pb2.TaskRunState.items(), "TASK_RUN_STATE_", set(TaskRunState)),
        (run_pb2.AttemptState.items(), "ATTEMPT_STATE_", set(AttemptState)),
        (agent_pb2.AgentState.items(), "AGENT_STATE_", set(AgentState)),
        (run_pb2.FailureKind.items(), "FAILURE_KIND_", set(FailureKind)),
        (workflow_pb2.TriggerRule.items(), "TRIGGER_RULE_", set(TriggerRule)),
    ],
)
def test_every_enum_of_the_contract_has_its_twin_in_the_model(
    numbers: list[tuple[str, int]], prefix: str, known: set[str]
) -> None:
    names = {name.removeprefix(prefix).lower() for name, number in numbers if number}
    assert names == {str(member) for member in known}


def test_states_are_read_by_their_numbers() -> None:
    both: Mapping[RunState, int] = {state: wire.run_state_to_proto(state) for state in RunState}
    assert {wire.run_state_from_proto(number) for number in both.values()} == set(RunState)
    with pytest.raises(KeyError):
        wire.task_run_state_from_proto(0)

"""The enums of `podium.v1`, whose names are those of the model with a prefix."""

from __future__ import annotations

from podium.model.spec import ParameterType, TriggerRule
from podium.model.states import AgentState, AttemptState, FailureKind, RunState, TaskRunState
from podium.v1 import agent_pb2, run_pb2, workflow_pb2

_RUN_STATES = {run_pb2.RunState.Value(f"RUN_STATE_{state.name}"): state for state in RunState}
_TASK_RUN_STATES = {run_pb2.TaskRunState.Value(f"TASK_RUN_STATE_{state.name}"): state for state in TaskRunState}
_ATTEMPT_STATES = {run_pb2.AttemptState.Value(f"ATTEMPT_STATE_{state.name}"): state for state in AttemptState}
_AGENT_STATES = {agent_pb2.AgentState.Value(f"AGENT_STATE_{state.name}"): state for state in AgentState}
_FAILURE_KINDS = {run_pb2.FailureKind.Value(f"FAILURE_KIND_{kind.name}"): kind for kind in FailureKind}
_TRIGGER_RULES = {workflow_pb2.TriggerRule.Value(f"TRIGGER_RULE_{rule.name}"): rule for rule in TriggerRule}
_PARAMETER_TYPES = {
    workflow_pb2.ParameterType.Value(
        "PARAMETER_TYPE_UNSPECIFIED" if kind is ParameterType.ANY else f"PARAMETER_TYPE_{kind.name}"
    ): kind
    for kind in ParameterType
}

_TO_RUN_STATE = {state: number for number, state in _RUN_STATES.items()}
_TO_TASK_RUN_STATE = {state: number for number, state in _TASK_RUN_STATES.items()}
_TO_FAILURE_KIND = {kind: number for number, kind in _FAILURE_KINDS.items()}
_TO_TRIGGER_RULE = {rule: number for number, rule in _TRIGGER_RULES.items()}
_TO_PARAMETER_TYPE = {kind: number for number, kind in _PARAMETER_TYPES.items()}


def run_state_to_proto(state: RunState) -> run_pb2.RunState.ValueType:
    """Return the number of a run's state."""
    return _TO_RUN_STATE[state]


def run_state_from_proto(number: int) -> RunState:
    """Return a run's state.

    Raises:
        KeyError: This version does not know it.
    """
    return _RUN_STATES[number]  # type: ignore[index]  # any int may come from the wire


def task_run_state_to_proto(state: TaskRunState) -> run_pb2.TaskRunState.ValueType:
    """Return the number of a task run's state."""
    return _TO_TASK_RUN_STATE[state]


def task_run_state_from_proto(number: int) -> TaskRunState:
    """Return a task run's state.

    Raises:
        KeyError: This version does not know it.
    """
    return _TASK_RUN_STATES[number]  # type: ignore[index]  # any int may come from the wire


def attempt_state_from_proto(number: int) -> AttemptState:
    """Return an attempt's state.

    Raises:
        KeyError: This version does not know it.
    """
    return _ATTEMPT_STATES[number]  # type: ignore[index]  # any int may come from the wire


def agent_state_from_proto(number: int) -> AgentState:
    """Return an agent's state.

    Raises:
        KeyError: This version does not know it.
    """
    return _AGENT_STATES[number]  # type: ignore[index]  # any int may come from the wire


def failure_kind_to_proto(kind: FailureKind) -> run_pb2.FailureKind.ValueType:
    """Return the number of a kind of failure."""
    return _TO_FAILURE_KIND[kind]


def failure_kind_from_proto(number: int) -> FailureKind:
    """Return a kind of failure; one this version does not know reads as internal."""
    return _FAILURE_KINDS.get(number, FailureKind.INTERNAL)  # type: ignore[call-overload, no-any-return]


def trigger_rule_to_proto(rule: TriggerRule) -> workflow_pb2.TriggerRule.ValueType:
    """Return the number of a trigger rule."""
    return _TO_TRIGGER_RULE[rule]


def trigger_rule_from_proto(number: int) -> TriggerRule | None:
    """Return a trigger rule, all_success where none is set; None for one this version does not know."""
    if number == workflow_pb2.TRIGGER_RULE_UNSPECIFIED:
        return TriggerRule.ALL_SUCCESS
    return _TRIGGER_RULES.get(number)  # type: ignore[call-overload, no-any-return]


def parameter_type_to_proto(kind: ParameterType) -> workflow_pb2.ParameterType.ValueType:
    """Return the number of a parameter's type."""
    return _TO_PARAMETER_TYPE[kind]


def parameter_type_from_proto(number: int) -> ParameterType | None:
    """Return a parameter's type; None for one this version does not know."""
    return _PARAMETER_TYPES.get(number)  # type: ignore[call-overload, no-any-return]

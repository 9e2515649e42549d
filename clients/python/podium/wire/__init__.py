"""Between the model and the messages of `podium.v1`: exact both ways."""

from podium.wire.bindings import action_from_proto, action_to_proto, plain_action, plain_binding
from podium.wire.enums import (
    agent_state_from_proto,
    attempt_state_from_proto,
    parameter_type_from_proto,
    run_state_from_proto,
    run_state_to_proto,
    task_run_state_from_proto,
    task_run_state_to_proto,
)
from podium.wire.failures import failure_from_proto, failure_to_proto
from podium.wire.times import duration_to_seconds, seconds_to_duration, time_from_proto, time_to_proto
from podium.wire.values import json_to_struct, json_to_value, struct_to_json, value_to_json
from podium.wire.workflows import task_to_proto, workflow_bytes, workflow_from_proto, workflow_to_proto

__all__ = [
    "action_from_proto",
    "action_to_proto",
    "agent_state_from_proto",
    "attempt_state_from_proto",
    "duration_to_seconds",
    "failure_from_proto",
    "failure_to_proto",
    "json_to_struct",
    "json_to_value",
    "parameter_type_from_proto",
    "plain_action",
    "plain_binding",
    "run_state_from_proto",
    "run_state_to_proto",
    "seconds_to_duration",
    "struct_to_json",
    "task_run_state_from_proto",
    "task_run_state_to_proto",
    "task_to_proto",
    "time_from_proto",
    "time_to_proto",
    "value_to_json",
    "workflow_bytes",
    "workflow_from_proto",
    "workflow_to_proto",
]

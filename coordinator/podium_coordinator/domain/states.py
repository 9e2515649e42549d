"""The states of runs, task runs, attempts and agents, and the kinds of failure: those of the shared model."""

from podium.model.states import (
    ATTEMPT_LIVE,
    INFRASTRUCTURE,
    RUN_TERMINAL,
    TASK_RUN_TERMINAL,
    AgentState,
    AttemptState,
    FailureKind,
    RunState,
    TaskRunState,
)

__all__ = [
    "ATTEMPT_LIVE",
    "INFRASTRUCTURE",
    "RUN_TERMINAL",
    "TASK_RUN_TERMINAL",
    "AgentState",
    "AttemptState",
    "FailureKind",
    "RunState",
    "TaskRunState",
]

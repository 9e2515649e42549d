"""What callers send, as values the rest works with. Every refusal names the field, the limit and what was given."""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar
from uuid import UUID

from podium.errors import (
    AgentNotFoundError,
    AttemptNotFoundError,
    FieldViolation,
    InvalidArgumentError,
    InvalidDigestError,
    InvalidRequestIdError,
    RunNotFoundError,
    WorkflowNotFoundError,
)
from podium.v1 import run_pb2
from podium_coordinator.domain.states import RunState, TaskRunState
from podium_coordinator.store.runs import RunFilter
from podium_coordinator.store.values import text as storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

MOST_NAMES: Final = 1000
"""How many blobs or tasks one call may ask for."""
MOST_REQUEST_ID: Final = 128
MOST_REASON: Final = 1024
CHUNK_BYTES: Final = 1 << 20

T = TypeVar("T")

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SHOWN: Final = 80

RUN_STATES: Final = {getattr(run_pb2, f"RUN_STATE_{state.name}"): state for state in RunState}
TASK_RUN_STATES: Final = {getattr(run_pb2, f"TASK_RUN_STATE_{state.name}"): state for state in TaskRunState}


def run_id(given: str) -> UUID:
    """Return the id of a run. Raises RunNotFoundError for what cannot be one."""
    try:
        found = UUID(given)
    except ValueError:
        found = None
    if found is None or str(found) != given.lower():
        raise RunNotFoundError(f'There is no run "{_shown(given)}": a run\'s id is a UUID.', run_id=_shown(given))
    return found


def workflow_name(given: str) -> str:
    """Return the name of a workflow. Raises WorkflowNotFoundError for what cannot be one."""
    if not _NAME.fullmatch(given):
        raise WorkflowNotFoundError(f'There is no workflow "{_shown(given)}".', workflow=_shown(given))
    return given


def version(workflow: str, given: int) -> int:
    """Return the number of a version, 0 for the newest. Raises WorkflowNotFoundError for what cannot be one."""
    if given < 0:
        raise WorkflowNotFoundError(
            f"There is no version {given} of workflow {workflow}.", workflow=workflow, version=given
        )
    return given


def agent_name(given: str) -> str:
    """Return the name of an agent. Raises AgentNotFoundError for what cannot be one."""
    if not given or "\0" in given:
        raise AgentNotFoundError(f'There is no agent "{_shown(given)}".', name=_shown(given))
    return given


def attempt_number(given: int) -> int:
    """Return the number of an attempt, 0 for the newest. Raises AttemptNotFoundError for what cannot be one."""
    if given < 0:
        raise AttemptNotFoundError(f"There is no attempt {given}: attempts count from 1.", number=given)
    return given


def request_id(given: str) -> str | None:
    """Return the caller's id of a request; None without one.

    Raises:
        InvalidRequestIdError: It is too long, or has characters that do not print.
    """
    if not given:
        return None
    if len(given) > MOST_REQUEST_ID:
        _refuse_request_id(f"has {len(given)} characters; the limit is {MOST_REQUEST_ID}")
    if not given.isprintable():
        _refuse_request_id("has characters that do not print")
    return given


def reason(given: str) -> str:
    """Return a user's reason. Raises InvalidArgumentError when it is too long."""
    if len(given) > MOST_REASON:
        _refuse("reason", f"has {len(given)} characters; the limit is {MOST_REASON}")
    return given


def digest(given: str, field: str = "sha256") -> bytes:
    """Return the name of a blob. Raises InvalidDigestError for what cannot be one."""
    if not _DIGEST.fullmatch(given):
        what = f'must be 64 hexadecimal digits in lower case; is "{_shown(given)}"'
        raise InvalidDigestError(f"{field} {what}.", (FieldViolation(field, what),), field=field)
    return bytes.fromhex(given)


def digests(given: Sequence[str]) -> list[bytes]:
    """Return the names of blobs. Raises InvalidDigestError, or InvalidArgumentError for too many."""
    few_enough("sha256", len(given))
    return [digest(name, f"sha256[{index}]") for index, name in enumerate(given)]


def few_enough(field: str, count: int) -> None:
    """Refuse more names than one call may have. Raises InvalidArgumentError."""
    if count > MOST_NAMES:
        _refuse(field, f"has {count} entries; the limit is {MOST_NAMES}: ask in several calls")


def chunk(given: bytes) -> bytes:
    """Return some of a blob's bytes. Raises InvalidArgumentError when they are too many for one message."""
    if len(given) > CHUNK_BYTES:
        _refuse("data", f"has {len(given)} bytes; the limit for one message is {CHUNK_BYTES}")
    return given


def offset(given: int) -> int:
    """Return where reading begins. Raises InvalidArgumentError below 0."""
    if given < 0:
        _refuse("offset", f"must be 0 or more; is {given}")
    return given


def run_filter(given: run_pb2.RunFilter) -> RunFilter:
    """Return which runs to list. Raises InvalidArgumentError for states and times there are not."""
    return RunFilter(
        workflow=storable(given.workflow) or None,
        states=frozenset(_states(given.states, RUN_STATES, "filter.states")),
        created_from=_time(given.created_from, "filter.created_from") if given.HasField("created_from") else None,
        created_before=_time(given.created_before, "filter.created_before")
        if given.HasField("created_before")
        else None,
    )


def task_run_states(given: Iterable[int]) -> frozenset[TaskRunState]:
    """Return the states asked for. Raises InvalidArgumentError for states there are not."""
    return frozenset(_states(given, TASK_RUN_STATES, "states"))


def _states(given: Iterable[int], known: dict[int, T], field: str) -> list[T]:
    found = []
    for index, number in enumerate(given):
        if number not in known:
            _refuse(f"{field}[{index}]", f"is {number}, which is no state")
        found.append(known[number])
    return found


def _time(given: Timestamp, field: str) -> datetime:
    try:
        return given.ToDatetime(UTC)
    except (ValueError, OverflowError):
        _refuse(field, "is no time between the years 1 and 9999")


def _shown(given: str) -> str:
    return given if len(given) <= _SHOWN else f"{given[:_SHOWN]}..."


def _refuse(field: str, what: str) -> NoReturn:
    raise InvalidArgumentError(f"{field} {what}.", (FieldViolation(field, what),), field=field)


def _refuse_request_id(what: str) -> NoReturn:
    raise InvalidRequestIdError(f"request_id {what}.", (FieldViolation("request_id", what),), field="request_id")

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # ships no types

from podium import errors
from podium.remote_errors import DETAILS_KEY, from_rpc_error


def an_error(
    code: grpc.StatusCode, text: str = "It went wrong.", *details: object, raw: bytes | None = None
) -> grpc.aio.AioRpcError:
    status = status_pb2.Status(code=code.value[0], message=text)
    for detail in details:
        status.details.add().Pack(detail)
    trailers = grpc.aio.Metadata()
    if details or raw is not None:
        trailers.add(DETAILS_KEY, status.SerializeToString() if raw is None else raw)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, text)


def info(reason: str, **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain="podium", metadata=metadata)


def concrete(kind: type[errors.PodiumError]) -> list[type[errors.PodiumError]]:
    found = [kind]
    for child in kind.__subclasses__():
        found.extend(concrete(child))
    return [item for item in found if item.__module__ == "podium.errors"]


MADE_HERE = (errors.TaskFailedError, errors.RunFailedError)


@pytest.mark.parametrize("kind", [kind for kind in concrete(errors.PodiumError) if kind not in MADE_HERE])
def test_the_same_class_comes_back_by_its_reason(kind: type[errors.PodiumError]) -> None:
    rebuilt = from_rpc_error(an_error(grpc.StatusCode.UNKNOWN, "Text.", info(kind.reason, run_id="r1")), "h:1")
    assert type(rebuilt) is kind
    assert rebuilt.message == "Text."
    assert rebuilt.metadata == {"run_id": "r1"}


def test_every_reason_belongs_to_one_class() -> None:
    reasons = [kind.reason for kind in concrete(errors.PodiumError) if "reason" in vars(kind)]
    assert len(reasons) == len(set(reasons))


def test_violations_come_back_in_order() -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="tasks[0].key", description="Bad.")
    bad.field_violations.add(field="name", description="Worse.")
    rebuilt = from_rpc_error(
        an_error(grpc.StatusCode.INVALID_ARGUMENT, "Two.", info("INVALID_WORKFLOW", violations="2"), bad), "h:1"
    )
    assert isinstance(rebuilt, errors.InvalidWorkflowError)
    assert rebuilt.violations == (
        errors.FieldViolation("tasks[0].key", "Bad."),
        errors.FieldViolation("name", "Worse."),
    )
    assert rebuilt.metadata == {"violations": "2"}
    assert str(rebuilt) == "Two.\n  tasks[0].key: Bad.\n  name: Worse."


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.NOT_FOUND, errors.NotFoundError),
        (grpc.StatusCode.ALREADY_EXISTS, errors.ConflictError),
        (grpc.StatusCode.FAILED_PRECONDITION, errors.StateError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.LimitError),
        (grpc.StatusCode.UNAVAILABLE, errors.UnavailableError),
        (grpc.StatusCode.PERMISSION_DENIED, errors.PodiumError),
    ],
)
def test_an_unknown_reason_gives_the_category_of_the_code(
    code: grpc.StatusCode, kind: type[errors.PodiumError]
) -> None:
    rebuilt = from_rpc_error(an_error(code, "New.", info("OF_A_LATER_VERSION")), "h:1")
    assert type(rebuilt) is kind
    assert rebuilt.message == "New."


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.UnavailableError, "No coordinator answers at h:1: It went wrong."),
        (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            errors.DeadlineError,
            "The coordinator at h:1 did not answer in time.",
        ),
        (
            grpc.StatusCode.UNIMPLEMENTED,
            errors.StateError,
            "The server at h:1 does not know this call; it is no coordinator, or one of another version.",
        ),
        (grpc.StatusCode.DATA_LOSS, errors.PodiumError, "The call to h:1 failed: It went wrong (DATA_LOSS)."),
    ],
)
def test_an_error_without_details_says_what_happened_to_the_call(
    code: grpc.StatusCode, kind: type[errors.PodiumError], message: str
) -> None:
    rebuilt = from_rpc_error(an_error(code), "h:1")
    assert type(rebuilt) is kind
    assert rebuilt.message == message


def test_details_that_cannot_be_read_are_as_good_as_none() -> None:
    rebuilt = from_rpc_error(an_error(grpc.StatusCode.NOT_FOUND, raw=b"\xff\xff"), "h:1")
    assert type(rebuilt) is errors.NotFoundError


def test_details_of_another_domain_are_not_taken_for_ours() -> None:
    foreign = error_details_pb2.ErrorInfo(reason="RUN_NOT_FOUND", domain="example.com")
    assert type(from_rpc_error(an_error(grpc.StatusCode.UNKNOWN, "x", foreign), "h:1")) is errors.PodiumError


def test_a_deadline_is_a_timeout_for_those_who_know_only_python() -> None:
    assert issubclass(errors.DeadlineError, TimeoutError)
    assert str(errors.DeadlineError("Too late.")) == "Too late."

"""Every error Podium raises on purpose: one tree, each with a stable reason and the values its message mentions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from podium.model.states import Failure


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One thing wrong with one field of a request or a definition.

    `field` is a path such as "tasks[3].retry.retries"; `line` counts from 1 where the text has lines, else 0.
    """

    field: str
    description: str
    line: int = 0

    def shown(self, file: str = "") -> str:
        """Return the violation on one line, as in "flow.yaml:7: tasks.load.retries: Expected `int`, got `str`."."""
        place = ":".join(part for part in (file, str(self.line or "")) if part)
        return ": ".join(part for part in (place, self.field, self.description) if part)


class PodiumError(Exception):
    """Root of the tree. `reason` is public and stable; `metadata` holds every value the message mentions."""

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, /, **metadata: str | int) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = {key: str(value) for key, value in metadata.items()}


class InvalidArgumentError(PodiumError):
    """The caller's input is wrong; `violations` says where."""

    reason = "INVALID_ARGUMENT"

    def __init__(self, message: str, /, violations: tuple[FieldViolation, ...] = (), **metadata: str | int) -> None:
        super().__init__(message, **metadata)
        self.violations = violations

    def __str__(self) -> str:
        """Return the message and one line per violation, each with its file and line where they are known."""
        file = self.metadata.get("file", "")
        return "\n  ".join([self.message, *(violation.shown(file) for violation in self.violations)])


class NotFoundError(PodiumError):
    """What the caller names is not there."""

    reason = "NOT_FOUND"


class ConflictError(PodiumError):
    """Something of that name is there already, and differs."""

    reason = "CONFLICT"


class StateError(PodiumError):
    """The thing exists but is not in a state that allows the call."""

    reason = "STATE"


class LimitError(PodiumError):
    """A bound would be exceeded."""

    reason = "LIMIT"


class UnavailableError(PodiumError):
    """Not now: the same call may work later."""

    reason = "UNAVAILABLE"


class InvalidWorkflowError(InvalidArgumentError):
    """The definition of a workflow is not sound."""

    reason = "INVALID_WORKFLOW"


class InvalidParametersError(InvalidArgumentError):
    """A run's parameters do not fit the workflow's."""

    reason = "INVALID_PARAMETERS"


class InvalidRequestIdError(InvalidArgumentError):
    """A request id is too long or has characters that do not print."""

    reason = "INVALID_REQUEST_ID"


class InvalidPageError(InvalidArgumentError):
    """A page size or a page token is not usable."""

    reason = "INVALID_PAGE"


class InvalidDigestError(InvalidArgumentError):
    """A blob's name is not a SHA-256 in lower-case hexadecimal."""

    reason = "INVALID_DIGEST"


class DigestMismatchError(InvalidArgumentError):
    """The bytes that came are not those the name promised."""

    reason = "DIGEST_MISMATCH"


class InvalidSettingError(InvalidArgumentError):
    """A setting cannot be used."""

    reason = "INVALID_SETTING"


class WorkflowNotFoundError(NotFoundError):
    """No such workflow or version."""

    reason = "WORKFLOW_NOT_FOUND"


class RunNotFoundError(NotFoundError):
    """No such run."""

    reason = "RUN_NOT_FOUND"


class TaskNotFoundError(NotFoundError):
    """The run's workflow has no such task."""

    reason = "TASK_NOT_FOUND"


class AttemptNotFoundError(NotFoundError):
    """The task run has no such attempt."""

    reason = "ATTEMPT_NOT_FOUND"


class AgentNotFoundError(NotFoundError):
    """No agent of that name is known."""

    reason = "AGENT_NOT_FOUND"


class BlobNotFoundError(NotFoundError):
    """No such blob is stored."""

    reason = "BLOB_NOT_FOUND"


class BundleNotFoundError(StateError):
    """The workflow's bundle has not been uploaded."""

    reason = "BUNDLE_NOT_FOUND"


class RequestIdReusedError(ConflictError):
    """The same request id came with another request."""

    reason = "REQUEST_ID_REUSED"


class RunAlreadyFinishedError(StateError):
    """The run has ended."""

    reason = "RUN_ALREADY_FINISHED"


class IncompatibleAgentError(StateError):
    """Agent and coordinator do not speak the same version of the session protocol."""

    reason = "INCOMPATIBLE_AGENT"


class AgentNameTakenError(StateError):
    """Another agent is connected under that name."""

    reason = "AGENT_NAME_TAKEN"


class BlobTooLargeError(LimitError):
    """A blob is over the limit."""

    reason = "BLOB_TOO_LARGE"


class BatchTooLargeError(LimitError):
    """The requests of one call are too large together."""

    reason = "BATCH_TOO_LARGE"


class OutputsTooLargeError(LimitError):
    """The outputs asked for do not fit one answer."""

    reason = "OUTPUTS_TOO_LARGE"


class NoOwnerError(UnavailableError):
    """No coordinator owns the shard right now, or not this one."""

    reason = "NO_OWNER"


class OverloadedError(UnavailableError):
    """A queue is full."""

    reason = "OVERLOADED"


class DefinitionError(InvalidWorkflowError):
    """Python code defines a task or a workflow in a way that cannot be; `metadata` has the code's file and line."""

    reason = "INVALID_DEFINITION"


class DiscoveryError(InvalidArgumentError):
    """No workflow is where one was looked for, or the code there cannot be imported."""

    reason = "DISCOVERY_FAILED"


class InvalidResultError(InvalidArgumentError):
    """What a task returned is no JSON; the message says which part."""

    reason = "INVALID_RESULT"


class RejectedInputError(InvalidArgumentError):
    """A task's inputs cannot be made: an upstream's output has no such part."""

    reason = "REJECTED_INPUT"


class InvalidBundleError(InvalidArgumentError):
    """A folder cannot be packed, or an archive not safely unpacked."""

    reason = "INVALID_BUNDLE"


class InvalidAddressError(InvalidArgumentError):
    """An address is not "host:port", or several of them joined by commas."""

    reason = "INVALID_ADDRESS"


class ResultTooLargeError(LimitError):
    """What a task returned is over the limit."""

    reason = "RESULT_TOO_LARGE"


class BundleTooLargeError(LimitError):
    """A bundle has too many files or bytes."""

    reason = "BUNDLE_TOO_LARGE"


class DeadlineError(PodiumError, TimeoutError):
    """An answer did not come in time; what was asked for may still happen."""

    reason = "DEADLINE_EXCEEDED"


class ClientClosedError(PodiumError):
    """The client was used after it was closed."""

    reason = "CLIENT_CLOSED"


class TaskFailedError(PodiumError):
    """A task run failed. `failure` is what the agent told, with the remote traceback."""

    reason = "TASK_FAILED"

    def __init__(self, message: str, /, failure: Failure, **metadata: str | int) -> None:
        super().__init__(message, **metadata)
        self.failure = failure

    def __str__(self) -> str:
        """Return the message and, below it, the remote traceback."""
        traceback = self.failure.traceback.rstrip()
        return f"{self.message}\n{traceback}" if traceback else self.message


class RunFailedError(PodiumError):
    """A run failed; `tasks` says which of its task runs failed and why, the first few of them."""

    reason = "RUN_FAILED"

    def __init__(self, message: str, /, tasks: tuple[TaskFailedError, ...] = (), **metadata: str | int) -> None:
        super().__init__(message, **metadata)
        self.tasks = tasks

    def __str__(self) -> str:
        """Return the message and, below it, each failed task run with its remote traceback."""
        return "\n".join([self.message, *map(str, self.tasks)])


class RunCancelledError(PodiumError):
    """A run was cancelled."""

    reason = "RUN_CANCELLED"

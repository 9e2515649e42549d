"""The client for synchronous code: the face of `AsyncClient`, with the same methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from podium.aio import AsyncClient, AsyncRun
from podium.blob_transfer import AsyncBlobs
from podium.errors import PodiumError
from podium.files import File
from podium.loop_thread import shared
from podium.model.spec import WorkflowSpec
from podium.model.states import RunState, TaskRunState
from podium.resources import Agent, Attempt, LogEntry, RunInfo, RunUpdate, TaskRun, WorkflowVersion
from podium.results import BlobRef, FileRef
from podium.starting import RunRequest

if TYPE_CHECKING:
    from podium.definition import Workflow


@dataclass(frozen=True, slots=True)
class Run(RunInfo):
    """A run as it stood when it was read, and what can be done with it."""

    _run: AsyncRun = field(repr=False, compare=False)
    _client: Client = field(repr=False, compare=False)

    def wait(self, timeout: float | None = None) -> Run:
        """Return the run once it has ended, however it ended.

        Args:
            timeout: Seconds to wait at most; None waits as long as it takes.

        Raises:
            DeadlineError: The run goes on after `timeout`.
            UnavailableError: No coordinator has answered for five minutes.
        """
        return _handle(shared().run(self._run.wait(timeout)), self._client)

    def result(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait for the run's end and return its outputs, as `outputs` does.

        Raises:
            RunFailedError: The run failed; shows the remote tracebacks.
            RunCancelledError: The run was cancelled.
            DeadlineError: The run goes on after `timeout` seconds.
        """
        run = self.wait(timeout)
        error = run.failure()
        if error is not None:
            raise error
        return run.outputs()

    def failure(self) -> PodiumError | None:
        """Return the error that the run's end means; None for a run that succeeded or goes on."""
        return shared().run(self._run.failure())

    def outputs(self, *tasks: str) -> dict[str, Any]:
        """Return outputs by task: those of `tasks`, or of the DAG's leaves when none are named."""
        return self._client.get_outputs(self.run_id, tasks)

    def watch(self, *, run_only: bool = False) -> Iterator[RunUpdate]:
        """Yield what holds now, then each change, until the run has ended."""
        return self._client.watch_run(self.run_id, run_only=run_only)

    def refresh(self) -> Run:
        """Return the run as it stands now."""
        return self._client.get_run(self.run_id)

    def cancel(self, reason: str = "") -> Run:
        """Cancel the run. Raises RunAlreadyFinishedError when it has ended."""
        return self._client.cancel(self.run_id, reason)


class Blobs:
    """The blobs of a cluster: immutable bytes named by their SHA-256 in lower-case hexadecimal."""

    def __init__(self, blobs: AsyncBlobs) -> None:
        self._blobs = blobs

    def stat(self, names: Sequence[str]) -> dict[str, int]:
        """Return the sizes in bytes of those of the blobs that are stored."""
        return shared().run(self._blobs.stat(names))

    def put(self, source: bytes | Path) -> BlobRef:
        """Store bytes or a file unless they are stored already. Raises BlobTooLargeError."""
        return shared().run(self._blobs.put(source))

    def get(self, sha256: str) -> bytes:
        """Return a blob's bytes. Raises as `download`."""
        return shared().run(self._blobs.get(sha256))

    def download(self, sha256: str, path: Path) -> None:
        """Write a blob to a file, which appears once it is whole. Raises BlobNotFoundError and DigestMismatchError."""
        shared().run(self._blobs.download(sha256, path))


class BlobMethods:
    """What clients offer of blobs by themselves."""

    blobs: Blobs

    def put_blob(self, source: bytes | Path) -> BlobRef:
        """Store bytes or a file, and return the name and the size of the blob."""
        return self.blobs.put(source)

    def get_blob(self, sha256: str) -> bytes:
        """Return a blob's bytes. Raises BlobNotFoundError."""
        return self.blobs.get(sha256)


class Client(BlobMethods):
    """Speaks with a cluster. Use it with `with`, from any thread.

    Every method raises PodiumError's kinds: what the coordinator answered, UnavailableError when none answers, and
    DeadlineError when an answer takes too long.
    """

    def __init__(self, address: str | None = None) -> None:
        """Take the coordinators' addresses; nothing is connected yet.

        Args:
            address: "host:port", or several of them joined by commas. None reads PODIUM_ADDRESS, and without that
                means 127.0.0.1:7450.

        Raises:
            InvalidAddressError: An address cannot be used.
        """
        self._client = AsyncClient(address)
        self.address = self._client.address
        self.blobs = Blobs(self._client.blobs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; calls under way end."""
        shared().run(self._client.close())

    def deploy(self, target: str | Path | Workflow[...], *, check_only: bool = False) -> list[WorkflowVersion]:
        """Pack a project's code, upload it, and register the workflows in it. See `AsyncClient.deploy`."""
        return shared().run(self._client.deploy(target, check_only=check_only))

    def register(self, spec: WorkflowSpec, bundle: str = "", *, check_only: bool = False) -> WorkflowVersion:
        """Register a definition. See `AsyncClient.register`."""
        return shared().run(self._client.register(spec, bundle, check_only=check_only))

    def get_workflow(self, name: str, version: int = 0) -> WorkflowVersion:
        """Return a version with its definition, the newest for 0. Raises WorkflowNotFoundError."""
        return shared().run(self._client.get_workflow(name, version))

    def list_workflows(self, name: str = "", *, limit: int | None = None) -> list[WorkflowVersion]:
        """Return the newest version of each workflow; or all versions of the one called `name`, newest first."""
        return shared().run(self._client.list_workflows(name, limit=limit))

    def run(
        self,
        workflow: str | Workflow[...],
        /,
        *,
        version: int = 0,
        request_id: str | None = None,
        params: Mapping[str, object] | None = None,
        **more: object,
    ) -> Run:
        """Start a run and return it once it is committed. See `AsyncClient.run`."""
        work = self._client.run(workflow, version=version, request_id=request_id, params={**(params or {}), **more})
        return _handle(shared().run(work), self)

    def run_many(self, requests: Iterable[RunRequest]) -> list[Run | PodiumError]:
        """Start many runs; return for each request its run, or the error that `run` would raise. See `AsyncClient`."""
        started = shared().run(self._client.run_many(requests))
        return [_handle(run, self) if isinstance(run, AsyncRun) else run for run in started]

    def get_run(self, run_id: str) -> Run:
        """Return a run. Raises RunNotFoundError."""
        return _handle(shared().run(self._client.get_run(run_id)), self)

    def list_runs(
        self,
        *,
        workflow: str = "",
        states: Sequence[RunState] = (),
        created_from: datetime | None = None,
        created_before: datetime | None = None,
        limit: int | None = 100,
    ) -> list[Run]:
        """Return runs, newest first: of a workflow, in one of some states, created in a span of time."""
        work = self._client.list_runs(
            workflow=workflow, states=states, created_from=created_from, created_before=created_before, limit=limit
        )
        return [_handle(run, self) for run in shared().run(work)]

    def watch_run(self, run_id: str, *, run_only: bool = False) -> Iterator[RunUpdate]:
        """Yield what holds of a run now, then each change, until it has ended. See `AsyncClient.watch_run`."""
        return shared().iterate(self._client.watch_run(run_id, run_only=run_only))

    def cancel(self, run_id: str, reason: str = "") -> Run:
        """Cancel a run: nothing new starts, live attempts are stopped. Raises RunAlreadyFinishedError."""
        return _handle(shared().run(self._client.cancel(run_id, reason)), self)

    def list_task_runs(
        self, run_id: str, *, states: Sequence[TaskRunState] = (), limit: int | None = None
    ) -> list[TaskRun]:
        """Return a run's task runs in the order of the definition: all, or those in one of some states."""
        return shared().run(self._client.list_task_runs(run_id, states=states, limit=limit))

    def list_attempts(self, run_id: str, *, task: str = "", limit: int | None = None) -> list[Attempt]:
        """Return a run's attempts by task and number: all, or those of one task."""
        return shared().run(self._client.list_attempts(run_id, task=task, limit=limit))

    def get_outputs(self, run_id: str, tasks: Sequence[str] = ()) -> dict[str, Any]:
        """Return the outputs of a run's succeeded tasks by key; of the DAG's leaves when no tasks are named.

        Values are what the tasks returned; a file is a `File`.
        """
        return shared().run(self._client.get_outputs(run_id, tasks, open_file=self._file))

    def list_agents(self, *, limit: int | None = None) -> list[Agent]:
        """Return agents by name."""
        return shared().run(self._client.list_agents(limit=limit))

    def get_agent(self, name: str) -> Agent:
        """Return an agent. Raises AgentNotFoundError."""
        return shared().run(self._client.get_agent(name))

    def watch_agents(self) -> Iterator[list[Agent]]:
        """Yield all agents, then those that change, without end; after a broken stream all of them again."""
        return shared().iterate(self._client.watch_agents())

    def read_log(self, run_id: str, task: str, *, attempt: int = 0, map_index: int | None = None) -> Iterator[LogEntry]:
        """Yield an attempt's log as far as it is known; `attempt` 0 is the newest. Raises AttemptNotFoundError."""
        return shared().iterate(self._client.read_log(run_id, task, attempt=attempt, map_index=map_index))

    def tail_log(self, run_id: str, task: str, *, attempt: int = 0, map_index: int | None = None) -> Iterator[LogEntry]:
        """Yield an attempt's log, and what is added to it until the attempt ends; `attempt` 0 is the newest."""
        return shared().iterate(self._client.tail_log(run_id, task, attempt=attempt, map_index=map_index))

    def _file(self, file: FileRef) -> File:
        return File(file.name, file.size, file.sha256, self.blobs)


def _handle(run: AsyncRun, client: Client) -> Run:
    return Run(**{item.name: getattr(run, item.name) for item in fields(RunInfo)}, _run=run, _client=client)

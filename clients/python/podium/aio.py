"""The client for asynchronous code."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from podium import following, resources
from podium.blob_transfer import AsyncBlobMethods, AsyncBlobs
from podium.channels import DEFAULT_ADDRESS, Channels, parse_addresses
from podium.errors import DeadlineError, PodiumError
from podium.files import AsyncFile
from podium.model.spec import WorkflowSpec
from podium.model.states import RunState, TaskRunState
from podium.paging import read_pages
from podium.remote_errors import from_batch_error
from podium.resources import Agent, Attempt, LogEntry, RunInfo, RunUpdate, TaskRun, WorkflowVersion
from podium.results import FileRef, with_files
from podium.run_outputs import SHOWN_FAILURES, read_outputs, run_error
from podium.starting import BATCH_SECONDS, RunRequest, batches
from podium.v1 import agent_pb2, log_pb2, run_pb2, workflow_pb2
from podium.wire import (
    run_state_to_proto,
    task_run_state_to_proto,
    time_to_proto,
    workflow_to_proto,
)

if TYPE_CHECKING:
    from podium.definition import Workflow

ADDRESS_VARIABLE = "PODIUM_ADDRESS"
REGISTER_SECONDS = 120.0
"""A definition of 100,000 tasks takes seconds to send, to check and to store."""

_FAILED = (TaskRunState.FAILED, TaskRunState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class AsyncRun(RunInfo):
    """A run as it stood when it was read, and what can be done with it."""

    _client: AsyncClient = field(repr=False, compare=False)

    async def wait(self, timeout: float | None = None) -> AsyncRun:
        """Return the run once it has ended, however it ended.

        Args:
            timeout: Seconds to wait at most; None waits as long as it takes.

        Raises:
            DeadlineError: The run goes on after `timeout`.
            UnavailableError: No coordinator has answered for five minutes.
        """
        latest: RunInfo = self
        try:
            async with (
                asyncio.timeout(timeout),
                aclosing(self._client.watch_run(self.run_id, run_only=True)) as updates,
            ):
                async for update in updates:
                    latest = update.run
        except DeadlineError:
            raise
        except TimeoutError:
            raise DeadlineError(
                f"Run {self.run_id} is still {latest.state} after {timeout:g} s. It goes on.", run_id=self.run_id
            ) from None
        return _run(latest, self._client)

    async def result(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait for the run's end and return its outputs, as `outputs` does.

        Raises:
            RunFailedError: The run failed; shows the remote tracebacks.
            RunCancelledError: The run was cancelled.
            DeadlineError: The run goes on after `timeout` seconds.
        """
        run = await self.wait(timeout)
        error = await run.failure()
        if error is not None:
            raise error
        return await run.outputs()

    async def failure(self) -> PodiumError | None:
        """Return the error that the run's end means; None for a run that succeeded or goes on."""
        if self.state is not RunState.FAILED:
            return run_error(self, ())
        return run_error(self, await self._client.list_task_runs(self.run_id, states=_FAILED, limit=SHOWN_FAILURES))

    async def outputs(self, *tasks: str) -> dict[str, Any]:
        """Return outputs by task: those of `tasks`, or of the DAG's leaves when none are named."""
        return await self._client.get_outputs(self.run_id, tasks)

    def watch(self, *, run_only: bool = False) -> AsyncGenerator[RunUpdate, None]:
        """Yield what holds now, then each change, until the run has ended."""
        return self._client.watch_run(self.run_id, run_only=run_only)

    async def refresh(self) -> AsyncRun:
        """Return the run as it stands now."""
        return await self._client.get_run(self.run_id)

    async def cancel(self, reason: str = "") -> AsyncRun:
        """Cancel the run. Raises RunAlreadyFinishedError when it has ended."""
        return await self._client.cancel(self.run_id, reason)


class AsyncClient(AsyncBlobMethods):
    """Speaks with a cluster. Use it with `async with`, in one event loop.

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
        self.address = address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS
        self._channels = Channels(parse_addresses(self.address))
        self.blobs = AsyncBlobs(self._channels)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls under way end."""
        await self._channels.close()

    async def deploy(self, target: str | Path | Workflow[...], *, check_only: bool = False) -> list[WorkflowVersion]:
        """Pack a project's code, upload it, and register the workflows in it.

        Args:
            target: A folder, a Python, YAML or JSON file, or a workflow.
            check_only: Have everything checked, and register nothing.

        Raises:
            DiscoveryError: There is no workflow, or the code cannot be imported.
            InvalidWorkflowError: A definition is not sound; nothing is registered then.
            InvalidBundleError, BundleTooLargeError: The folder cannot be packed.
        """
        from podium.deploying import deploy

        return await deploy(self, target, check_only=check_only)

    async def register(self, spec: WorkflowSpec, bundle: str = "", *, check_only: bool = False) -> WorkflowVersion:
        """Register a definition.

        Args:
            spec: The definition.
            bundle: The name of the uploaded blob that holds its code; required when a task runs Python.
            check_only: Only have it checked; the version in the answer is 0.

        Raises:
            InvalidWorkflowError: The definition is not sound.
            BundleNotFoundError: The bundle has not been uploaded.
        """
        message = await asyncio.to_thread(workflow_to_proto, spec)
        request = workflow_pb2.RegisterWorkflowRequest(spec=message, bundle=bundle, validate_only=check_only)
        answer = await self._channels.call(
            lambda endpoint: endpoint.workflows.RegisterWorkflow, request, REGISTER_SECONDS
        )
        return resources.workflow_version(answer.workflow, created=answer.created)

    async def get_workflow(self, name: str, version: int = 0) -> WorkflowVersion:
        """Return a version with its definition, the newest for 0. Raises WorkflowNotFoundError."""
        request = workflow_pb2.GetWorkflowRequest(name=name, version=version)
        answer = await self._channels.call(lambda endpoint: endpoint.workflows.GetWorkflow, request)
        return await asyncio.to_thread(resources.workflow_version, answer.workflow)

    async def list_workflows(self, name: str = "", *, limit: int | None = None) -> list[WorkflowVersion]:
        """Return the newest version of each workflow; or all versions of the one called `name`, newest first."""

        async def newest(size: int, token: str) -> tuple[Iterable[WorkflowVersion], str]:
            request = workflow_pb2.ListWorkflowsRequest(page_size=size, page_token=token)
            answer = await self._channels.call(lambda endpoint: endpoint.workflows.ListWorkflows, request)
            return map(resources.workflow_version, answer.workflows), answer.next_page_token

        async def versions(size: int, token: str) -> tuple[Iterable[WorkflowVersion], str]:
            request = workflow_pb2.ListWorkflowVersionsRequest(name=name, page_size=size, page_token=token)
            answer = await self._channels.call(lambda endpoint: endpoint.workflows.ListWorkflowVersions, request)
            return map(resources.workflow_version, answer.workflows), answer.next_page_token

        return await read_pages(versions if name else newest, limit)

    async def run(
        self,
        workflow: str | Workflow[...],
        /,
        *,
        version: int = 0,
        request_id: str | None = None,
        params: Mapping[str, object] | None = None,
        **more: object,
    ) -> AsyncRun:
        """Start a run and return it once it is committed.

        Args:
            workflow: The workflow, or its name.
            version: The version; 0 is the newest.
            request_id: A call with the same id gives the run that the first one made; None makes up an id, which makes
                retries within this call safe.
            params: The run's parameters, for names that cannot stand in `more`.
            **more: The run's parameters.

        Raises:
            WorkflowNotFoundError: No such workflow or version.
            InvalidParametersError: The parameters do not fit the workflow.
            RequestIdReusedError: The id came before with another request.
        """
        request = RunRequest(workflow, {**(params or {}), **more}, version, request_id)
        answer = await self._channels.call(lambda endpoint: endpoint.runs.CreateRun, request.message())
        return AsyncRun(**resources.run_fields(answer.run), _client=self)

    async def run_many(self, requests: Iterable[RunRequest]) -> list[AsyncRun | PodiumError]:
        """Start many runs with few calls and commits.

        Args:
            requests: What to start. Up to 1,000 of them go into one call, fewer if they are large; those of one call
                are committed together.

        Returns:
            For each request its run; or the error, not raised, that `run` would have raised.

        Raises:
            InvalidArgumentError: Some parameters are no JSON; nothing was sent.
            BatchTooLargeError: With defaults filled in, the parameters of one call have over 8 MiB.
            UnavailableError, DeadlineError: A call was not answered; what the calls before it started goes on.
        """
        started: list[AsyncRun | PodiumError] = []
        for call in list(batches(requests)):
            answer = await self._channels.call(lambda endpoint: endpoint.runs.CreateRuns, call, BATCH_SECONDS)
            started += [self._started(result) for result in answer.results]
        return started

    def _started(self, result: run_pb2.CreateRunResult) -> AsyncRun | PodiumError:
        if result.HasField("error"):
            return from_batch_error(result.error)
        return AsyncRun(**resources.run_fields(result.run), _client=self)

    async def get_run(self, run_id: str) -> AsyncRun:
        """Return a run. Raises RunNotFoundError."""
        request = run_pb2.GetRunRequest(run_id=run_id)
        answer = await self._channels.call(lambda endpoint: endpoint.runs.GetRun, request)
        return AsyncRun(**resources.run_fields(answer.run), _client=self)

    async def list_runs(
        self,
        *,
        workflow: str = "",
        states: Sequence[RunState] = (),
        created_from: datetime | None = None,
        created_before: datetime | None = None,
        limit: int | None = 100,
    ) -> list[AsyncRun]:
        """Return runs, newest first: of a workflow, in one of some states, created in a span of time."""
        wanted = run_pb2.RunFilter(
            workflow=workflow,
            states=[run_state_to_proto(state) for state in states],
            created_from=None if created_from is None else time_to_proto(created_from),
            created_before=None if created_before is None else time_to_proto(created_before),
        )

        async def page(size: int, token: str) -> tuple[Iterable[AsyncRun], str]:
            request = run_pb2.ListRunsRequest(filter=wanted, page_size=size, page_token=token)
            answer = await self._channels.call(lambda endpoint: endpoint.runs.ListRuns, request)
            runs = (AsyncRun(**resources.run_fields(message), _client=self) for message in answer.runs)
            return runs, answer.next_page_token

        return await read_pages(page, limit)

    async def watch_run(self, run_id: str, *, run_only: bool = False) -> AsyncGenerator[RunUpdate, None]:
        """Yield what holds of a run now, then each change, until it has ended; broken streams are taken up again.

        Args:
            run_id: The run's id.
            run_only: Leave task runs out.
        """
        async with aclosing(following.watch_run(self._channels, run_id, run_only=run_only)) as messages:
            async for message in messages:
                changed = tuple(map(resources.task_run, message.task_runs))
                yield RunUpdate(RunInfo(**resources.run_fields(message.run)), changed, message.snapshot)

    async def cancel(self, run_id: str, reason: str = "") -> AsyncRun:
        """Cancel a run: nothing new starts, live attempts are stopped. Raises RunAlreadyFinishedError."""
        request = run_pb2.CancelRunRequest(run_id=run_id, reason=reason)
        answer = await self._channels.call(lambda endpoint: endpoint.runs.CancelRun, request)
        return AsyncRun(**resources.run_fields(answer.run), _client=self)

    async def list_task_runs(
        self, run_id: str, *, states: Sequence[TaskRunState] = (), limit: int | None = None
    ) -> list[TaskRun]:
        """Return a run's task runs in the order of the definition: all, or those in one of some states."""
        wanted = [task_run_state_to_proto(state) for state in states]

        async def page(size: int, token: str) -> tuple[Iterable[TaskRun], str]:
            request = run_pb2.ListTaskRunsRequest(run_id=run_id, states=wanted, page_size=size, page_token=token)
            answer = await self._channels.call(lambda endpoint: endpoint.runs.ListTaskRuns, request)
            return map(resources.task_run, answer.task_runs), answer.next_page_token

        return await read_pages(page, limit)

    async def list_attempts(self, run_id: str, *, task: str = "", limit: int | None = None) -> list[Attempt]:
        """Return a run's attempts by task and number: all, or those of one task."""

        async def page(size: int, token: str) -> tuple[Iterable[Attempt], str]:
            request = run_pb2.ListAttemptsRequest(run_id=run_id, task=task, page_size=size, page_token=token)
            answer = await self._channels.call(lambda endpoint: endpoint.runs.ListAttempts, request)
            return map(resources.attempt, answer.attempts), answer.next_page_token

        return await read_pages(page, limit)

    async def get_outputs(
        self, run_id: str, tasks: Sequence[str] = (), *, open_file: Callable[[FileRef], object] | None = None
    ) -> dict[str, Any]:
        """Return the outputs of a run's succeeded tasks by key.

        Args:
            run_id: The run's id.
            tasks: Keys of the tasks; none of them for the leaves of the DAG.
            open_file: Makes what stands for a file among the values; None makes an `AsyncFile`.

        Raises:
            TaskNotFoundError: The workflow has no such task.
            OutputsTooLargeError: Name fewer tasks.
        """
        values = await read_outputs(self._channels, self.blobs, run_id, tasks)
        return {task: with_files(value, open_file or self._file) for task, value in values.items()}

    async def list_agents(self, *, limit: int | None = None) -> list[Agent]:
        """Return agents by name."""

        async def page(size: int, token: str) -> tuple[Iterable[Agent], str]:
            request = agent_pb2.ListAgentsRequest(page_size=size, page_token=token)
            answer = await self._channels.call(lambda endpoint: endpoint.agents.ListAgents, request)
            return map(resources.agent, answer.agents), answer.next_page_token

        return await read_pages(page, limit)

    async def get_agent(self, name: str) -> Agent:
        """Return an agent. Raises AgentNotFoundError."""
        request = agent_pb2.GetAgentRequest(name=name)
        answer = await self._channels.call(lambda endpoint: endpoint.agents.GetAgent, request)
        return resources.agent(answer.agent)

    async def watch_agents(self) -> AsyncGenerator[list[Agent], None]:
        """Yield all agents, then those that change, without end; after a broken stream all of them again."""
        async with aclosing(following.watch_agents(self._channels)) as messages:
            async for message in messages:
                yield [resources.agent(item) for item in message.agents]

    async def read_log(
        self, run_id: str, task: str, *, attempt: int = 0, map_index: int | None = None
    ) -> AsyncGenerator[LogEntry, None]:
        """Yield an attempt's log as far as it is known; `attempt` 0 is the newest. Raises AttemptNotFoundError."""
        request = log_pb2.ReadLogRequest(run_id=run_id, task=task, map_index=map_index, attempt=attempt)
        async with aclosing(following.read_log(self._channels, request)) as pieces:
            async for entries in pieces:
                for entry in resources.log_entries(entries):
                    yield entry

    async def tail_log(
        self, run_id: str, task: str, *, attempt: int = 0, map_index: int | None = None
    ) -> AsyncGenerator[LogEntry, None]:
        """Yield an attempt's log, and what is added to it until the attempt ends; `attempt` 0 is the newest."""
        request = log_pb2.TailLogRequest(run_id=run_id, task=task, map_index=map_index, attempt=attempt)
        async with aclosing(following.tail_log(self._channels, request)) as pieces:
            async for entries in pieces:
                for entry in resources.log_entries(entries):
                    yield entry

    def _file(self, file: FileRef) -> AsyncFile:
        return AsyncFile(file.name, file.size, file.sha256, self.blobs)


def _run(info: RunInfo, client: AsyncClient) -> AsyncRun:
    return AsyncRun(**{item.name: getattr(info, item.name) for item in fields(RunInfo)}, _client=client)

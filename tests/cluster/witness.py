"""A client that remembers everything it is told, and collects the evidence in the end."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from podium import AsyncClient, AsyncRun
from podium.errors import UnavailableError
from podium.model.states import TASK_RUN_TERMINAL, RunState, TaskRunState
from podium.resources import RunInfo
from podium.results import file_json
from tests.cluster.cluster import Cluster
from tests.cluster.evidence import Acknowledged, Evidence, TaskKey, read_ledger, read_rows
from tests.cluster.oracle import violations

States = Mapping[str, TaskRunState]


class Watched:
    """A run that is followed from its beginning to its end."""

    def __init__(self, run: AsyncRun, acknowledged: Acknowledged) -> None:
        self.run_id = run.run_id
        self.last: RunInfo = run
        self.states: dict[str, TaskRunState] = {}
        self._run = run
        self._acknowledged = acknowledged
        self._news = asyncio.Condition()
        self.task = asyncio.create_task(self._follow(), name=f"watch {run.run_id}")

    async def _follow(self) -> None:
        async with contextlib.aclosing(self._run.watch()) as updates:
            async for update in updates:
                self.last = update.run
                for task_run in update.task_runs:
                    self.states[task_run.task] = task_run.state
                    if task_run.state in TASK_RUN_TERMINAL:
                        key = (self.run_id, task_run.task, task_run.map_index)
                        self._acknowledged.ended_tasks[key] = (task_run.state.value, task_run.attempt)
                async with self._news:
                    self._news.notify_all()
        self._acknowledged.ended_runs[self.run_id] = self.last.state.value
        if self.last.state is RunState.CANCELLED:
            self._acknowledged.stopped[self.run_id] = time.monotonic_ns()

    async def until(self, wanted: Callable[[States], bool], seconds: float) -> None:
        """Return when the task runs are as wanted."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: wanted(self.states))

    async def ended(self, seconds: float) -> RunInfo:
        """Return the run once it has ended."""
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self.task)
        except TimeoutError:
            raise AssertionError(f"Run {self.run_id} has not ended within {seconds:g} s: {self.states}") from None
        return self.last


class Witness:
    """Speaks with one cluster; use it with `async with`."""

    def __init__(self, cluster: Cluster) -> None:
        self._clients = [cluster.client()]
        self.acknowledged = Acknowledged()
        self._cluster = cluster
        self._expected: dict[TaskKey, Any] = {}
        self._watched: list[Watched] = []

    @property
    def client(self) -> AsyncClient:
        """The newest client: one made after an outage need not wait for its next try to connect."""
        return self._clients[-1]

    async def __aenter__(self) -> Witness:
        return self

    async def __aexit__(self, *_: object) -> None:
        for watched in self._watched:
            watched.task.cancel()
        await asyncio.gather(*(watched.task for watched in self._watched), return_exceptions=True)
        for client in self._clients:
            await client.close()

    async def start(
        self, workflow: str, expected: Mapping[str, Any], request_id: str | None = None, **params: object
    ) -> Watched:
        """Start a run and follow it; `expected` has the outputs it must have."""
        run = await self._create(workflow, request_id or uuid.uuid4().hex, params)
        self.acknowledged.runs.add(run.run_id)
        self._expected.update({(run.run_id, task, -1): value for task, value in expected.items()})
        watched = Watched(run, self.acknowledged)
        self._watched.append(watched)
        return watched

    async def _create(self, workflow: str, request_id: str, params: Mapping[str, object]) -> AsyncRun:
        """Ask for a run until the answer comes, with one request id: a call that was not answered may have worked."""
        while True:
            try:
                return await self.client.run(workflow, request_id=request_id, params=params)
            except UnavailableError:
                await self._cluster.serving()
                self._clients.append(self._cluster.client())

    async def evidence(self) -> Evidence:
        """Read the outputs, the ledger and the rows."""
        for watched in self._watched:
            tasks = [task for task, state in watched.states.items() if state is TaskRunState.SUCCEEDED]
            outputs = await self.client.get_outputs(watched.run_id, tasks, open_file=file_json) if tasks else {}
            self.acknowledged.outputs.update({(watched.run_id, task, -1): v for task, v in outputs.items()})
        runs, attempts, commands = await asyncio.to_thread(
            read_rows, self._cluster.conninfo, [watched.run_id for watched in self._watched]
        )
        ours = {watched.run_id for watched in self._watched}
        ledger = tuple(item for item in read_ledger(self._cluster.ledger) if item.run in ours)
        return Evidence(ledger, runs, attempts, self.acknowledged, self._expected, commands)

    async def assert_clean(self, *, overlaps: bool = False) -> Evidence:
        """Assert that nothing was lost, doubled, out of order, wrong or left over; return the evidence.

        With `overlaps` an attempt that was given up, and could not be told so, may execute beside the next one.
        """
        evidence = await self.evidence()
        wrong = [violation for violation in violations(evidence) if not (overlaps and violation.startswith("overlap"))]
        assert not wrong, "\n".join(wrong)
        return evidence

"""Workflow versions ready for execution, read once and kept while they fit."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from podium.model.spec import WorkflowSpec
from podium.v1 import workflow_pb2
from podium.wire import workflow_from_proto
from podium_coordinator.app.collection import building
from podium_coordinator.app.wording import Wording, word
from podium_coordinator.domain.graph import Graph, compile_graph
from podium_coordinator.domain.records import WorkflowRecord

MOST_TASKS_KEPT = 1_000_000
"""Tasks of all kept versions together; the least recently used go first."""

PRIOR_DURATION = 1.0
WEIGHT_OF_NEWEST = 0.2


@dataclass(slots=True)
class Durations:
    """How long each action of a workflow usually executes, in seconds: an exponentially weighted mean.

    An action never seen counts as long, so that nothing is sent ahead on a guess.
    """

    means: dict[int, float] = field(default_factory=dict)

    def usual(self, action: int) -> float:
        """Return the usual duration of an action."""
        return self.means.get(action, PRIOR_DURATION)

    def note(self, action: int, seconds: float) -> None:
        """Count one execution. A longer one than usual counts in full, so that a mistake is not repeated."""
        mean = self.means.get(action)
        if mean is None or seconds > 10 * mean:
            self.means[action] = seconds
        else:
            self.means[action] = mean + WEIGHT_OF_NEWEST * (seconds - mean)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A workflow version: its graph, its tasks in the agents' terms, and its bundle's name (empty without one)."""

    workflow: str
    version: int
    graph: Graph
    wording: Wording
    bundle: str
    durations: Durations = field(default_factory=Durations)


def compile_version(record: WorkflowRecord) -> Compiled:
    """Compile a stored version. Takes about 20 us per task: call it off the event loop."""
    with building():
        return _compiled(record)


def _compiled(record: WorkflowRecord) -> Compiled:
    message = workflow_pb2.WorkflowSpec.FromString(record.spec or b"")
    spec: WorkflowSpec = workflow_from_proto(message)
    bundle = record.bundle.hex() if record.bundle else ""
    graph = compile_graph(spec)
    return Compiled(record.workflow, record.version, graph, word(message.tasks, graph), bundle)


class Catalog:
    """Compiled versions by name and number."""

    def __init__(self, read: Callable[[str, int], Awaitable[WorkflowRecord]]) -> None:
        """`read` gives a stored version with its definition."""
        self._read = read
        self._kept: OrderedDict[tuple[str, int], Compiled] = OrderedDict()
        self._tasks = 0

    def cached(self, workflow: str, version: int) -> Compiled | None:
        """Return a version if it is at hand."""
        compiled = self._kept.get((workflow, version))
        if compiled is not None:
            self._kept.move_to_end((workflow, version))
        return compiled

    async def get(self, workflow: str, version: int) -> Compiled:
        """Return a version, reading and compiling it if need be."""
        compiled = self.cached(workflow, version)
        if compiled is not None:
            return compiled
        record = await self._read(workflow, version)
        compiled = await asyncio.to_thread(compile_version, record)
        self._keep(compiled)
        return compiled

    def _keep(self, compiled: Compiled) -> None:
        key = (compiled.workflow, compiled.version)
        if key in self._kept:
            return
        self._kept[key] = compiled
        self._tasks += compiled.graph.size
        while self._tasks > MOST_TASKS_KEPT and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._tasks -= oldest.graph.size

"""What a client asks for when it starts runs, and how many of them go into one call."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podium.v1 import run_pb2
from podium.wire import json_to_struct

if TYPE_CHECKING:
    from podium.definition import Workflow

MOST_RUNS = 1000
"""Runs that one call may start."""
MOST_BYTES = 1 << 20
"""Bytes of one call with more than one run: with these, what the parameters are as JSON stays below the limit, too."""
BATCH_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run to start.

    Args:
        workflow: The workflow, or its name.
        params: The run's parameters.
        version: The version; 0 is the newest.
        request_id: A request with the same id gives the run that the first one made; None makes up an id, which makes
            retries within one call safe.
    """

    workflow: str | Workflow[...]
    params: Mapping[str, object] = field(default_factory=dict)
    version: int = 0
    request_id: str | None = None

    def message(self) -> run_pb2.CreateRunRequest:
        """Return what is sent. Raises InvalidArgumentError when the parameters are no JSON."""
        return run_pb2.CreateRunRequest(
            workflow=self.workflow if isinstance(self.workflow, str) else self.workflow.name,
            version=self.version,
            params=json_to_struct(self.params),
            request_id=self.request_id or uuid.uuid4().hex,
        )


def batches(requests: Iterable[RunRequest]) -> Iterator[run_pb2.CreateRunsRequest]:
    """Yield calls that start the runs, in order; none is larger than the coordinator takes."""
    call, size = run_pb2.CreateRunsRequest(), 0
    for request in requests:
        message = request.message()
        weight = message.ByteSize()
        if call.requests and (len(call.requests) == MOST_RUNS or size + weight > MOST_BYTES):
            yield call
            call, size = run_pb2.CreateRunsRequest(), 0
        call.requests.append(message)
        size += weight
    if call.requests:
        yield call

"""What the attempts a worker is given have in common, taken apart once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.telemetry import attempt_span, traceparent
from podium_agent import records
from podium_agent.store.logs import log_name

if TYPE_CHECKING:
    from podium_agent.frames import Header
    from podium_agent.records import Task

NO_ARGUMENTS: dict[str, Any] = {"args": [], "kwargs": {}}
PARAMETER = b'"parameter"'


@dataclass(frozen=True, slots=True)
class Shared:
    """An order by its number, and its record for the journal; texts are JSON in UTF-8."""

    number: int
    record: bytes
    action: dict[str, Any]
    function: str
    run: str
    run_id: bytes
    trace_id: bytes
    bundle: str
    bundle_folder: str
    params: bytes
    arguments: bytes
    no_arguments: bool
    wants_params: bool

    def bindings(self, task: Task) -> tuple[dict[str, Any], bytes]:
        """Return what a task's function is called with, in the plain form of bindings, and the parameters it needs."""
        arguments = task.arguments or self.arguments
        wanted = self.wants_params or PARAMETER in arguments
        return json.loads(arguments) if arguments else NO_ARGUMENTS, self.params if wanted else b""

    def environment(self, task: Task) -> dict[bytes, bytes]:
        """Return the variables that name a task's attempt."""
        _, _, index, map_index, number = task.name
        trace = self.trace_id and traceparent(self.trace_id, attempt_span(self.run_id, index, map_index, number))
        return {
            b"PODIUM_RUN_ID": self.run.encode(),
            b"PODIUM_TASK": task.key,
            b"PODIUM_ATTEMPT": b"%d" % number,
            b"TRACEPARENT": trace.encode() if trace else b"",
        }

    def stem(self, task: Task) -> str:
        """Return the name of an attempt's log, without suffix."""
        token, _, *place = task.name
        return log_name(self.run_id, token, *place)


def read_shared(header: Header, body: bytes) -> Shared:
    """Return the order in a frame."""
    facts, action = header["facts"], header["action"]
    middle = header["params"]
    params, arguments = body[:middle], body[middle:]
    run = facts["run"]
    return Shared(
        number=header["order"],
        record=records.pack_order(header["order"], records.FACTS(facts).encode()),
        action=action,
        function=action.get("function", ""),
        run="-".join((run[:8], run[8:12], run[12:16], run[16:20], run[20:])),
        run_id=bytes.fromhex(run),
        trace_id=bytes.fromhex(header["trace"]),
        bundle=header["bundle"],
        bundle_folder=header["bundle_folder"],
        params=params,
        arguments=arguments,
        no_arguments=not arguments or json.loads(arguments) == NO_ARGUMENTS,
        wants_params="function" not in action or PARAMETER in arguments,
    )


def bundle_root(shared: Shared) -> Path | None:
    """Return where an order's bundle is unpacked; None without one."""
    return Path(shared.bundle_folder) if shared.bundle_folder else None

"""What the attempts of a run have in common: known once to the session, told once to each worker that needs it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from podium.wire import duration_to_seconds
from podium_agent import frames
from podium_agent.domain.admission import Demand

if TYPE_CHECKING:
    from podium.v1 import session_pb2
    from podium_agent.frames import Header
    from podium_agent.store.folder import DataFolder

DEFAULT_CPU_MILLIS = 1000
MOST_ORDERS = 128
"""Orders that are recognized when they come again."""
MOST_KINDS = 4096
"""Actions whose usual durations are known."""


@dataclass(slots=True)
class Usual:
    """How long attempts of one action take, in microseconds; 0 while nobody knows."""

    micros: int = 0

    def note(self, duration: int) -> None:
        """Learn from one: quickly that they take longer, slowly that they take less."""
        took = duration + 1
        share = 2 if took > self.micros else 8
        self.micros = self.micros + (took - self.micros) // share if self.micros else took


@dataclass(slots=True, eq=False)
class Order:
    """An order. `facts` are what is kept of it in journals, `frame` tells it to a worker.

    `binds` is the bundle that a worker which executes it belongs to from then on; empty for none. `run_timeout` is in
    seconds.
    """

    number: int
    run_id: bytes
    facts: Header
    demand: Demand
    run_timeout: float | None
    bundle: str
    binds: str
    usual: Usual
    frame: bytes = b""
    arguments: bytes = b""


def kept_facts(run_id: bytes, order: session_pb2.Order, binds: str) -> Header:
    """Return what journals keep of an order."""
    resources = order.resources
    return {
        "run": run_id.hex(),
        "workflow": order.workflow,
        "version": order.version,
        "cpu_millis": resources.cpu_millis if resources.HasField("cpu_millis") else DEFAULT_CPU_MILLIS,
        "memory_bytes": resources.memory_bytes,
        "run_timeout": duration_to_seconds(order.run_timeout) if order.HasField("run_timeout") else None,
        "bundle": binds,
    }


def adopted(facts: Header) -> Order:
    """Return an order of an earlier session's, whose attempts need no more than their ends."""
    demand = Demand(facts["cpu_millis"], facts["memory_bytes"])
    bundle = facts["bundle"]
    return Order(0, bytes.fromhex(facts["run"]), facts, demand, facts["run_timeout"], bundle, bundle, Usual())


class Orders:
    """Makes orders of what the coordinator says, and recognizes those it said before."""

    def __init__(self, folder: DataFolder) -> None:
        self._bundles = str(folder.bundles)
        self._known: OrderedDict[tuple[bytes, bytes, bytes], Order] = OrderedDict()
        self._usual: OrderedDict[tuple[str, bytes], Usual] = OrderedDict()
        self._last = 0

    def of(self, run_id: bytes, told: session_pb2.Order, arguments: bytes) -> Order:
        """Return the order; `arguments` are those that all its attempts have in common, or empty."""
        key = run_id, told.SerializeToString(deterministic=True), arguments
        order = self._known.get(key)
        if order is None:
            order = self._known[key] = self._made(run_id, told, arguments)
            if len(self._known) > MOST_ORDERS:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return order

    def _made(self, run_id: bytes, told: session_pb2.Order, arguments: bytes) -> Order:
        self._last += 1
        action: dict[str, Any] = msgspec.json.decode(told.action)
        binds = told.bundle if "function" in action else ""
        facts = kept_facts(run_id, told, binds)
        header = {
            "order": self._last,
            "facts": facts,
            "action": action,
            "trace": told.trace_id.hex(),
            "bundle": told.bundle,
            "bundle_folder": f"{self._bundles}/{told.bundle}" if told.bundle else "",
            "params": len(told.params),
        }
        return Order(
            number=self._last,
            run_id=run_id,
            facts=facts,
            demand=Demand(facts["cpu_millis"], facts["memory_bytes"]),
            run_timeout=facts["run_timeout"],
            bundle=told.bundle,
            binds=binds,
            usual=self._usual_of(told.bundle, told.action),
            frame=frames.pack(header, told.params + arguments, msgspec.json.encode),
            arguments=arguments,
        )

    def _usual_of(self, bundle: str, action: bytes) -> Usual:
        key = bundle, action
        usual = self._usual.setdefault(key, Usual())
        self._usual.move_to_end(key)
        if len(self._usual) > MOST_KINDS:
            self._usual.popitem(last=False)
        return usual

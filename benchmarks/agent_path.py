"""Times the agent alone: a scriptable coordinator in this process gives a real agent no-op python tasks.

Prints, over several rounds with their spread: the round trip of one task on an idle agent (assignment sent to end
heard, gRPC both ways included), tasks per second when many wait at the agent, and the processor time per task of the
session, of all workers together and of this process.

    python benchmarks/agent_path.py [--rounds 5] [--tasks 4000]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
import uuid
from pathlib import Path

from benchmarks.costs import cpu_ns
from podium.v1 import session_pb2, workflow_pb2
from tests.agent.bundles import a_bundle, a_call
from tests.agent.conftest import RunningAgent, start_agent
from tests.agent.peer import Assignment, Peer

MOST_AHEAD = 2048
"""Tasks that may wait at the agent."""


class Bench:
    """An agent, the coordinator it talks to, and what was measured."""

    def __init__(self, agent: RunningAgent, peer: Peer, bundle: str) -> None:
        self._agent, self._peer, self._bundle = agent, peer, bundle

    def orders(self, count: int) -> list[Assignment]:
        """Return tasks of one run."""
        run_id = uuid.uuid4().bytes
        return [
            a_call(
                self._bundle,
                "work:noop",
                attempt=session_pb2.AttemptReference(
                    run_id=run_id, task=task, map_index=-1, number=1, token=uuid.uuid4().bytes
                ),
                task_key=f"task_{task}",
                resources=workflow_pb2.Resources(cpu_millis=1000),
            )
            for task in range(count)
        ]

    async def round_trip(self) -> float:
        """Return the seconds one task takes on an idle agent."""
        [order] = self.orders(1)
        began = time.perf_counter()
        self._peer.assign(order)
        await self._peer.end_of(order)
        return time.perf_counter() - began

    async def ended(self, count: int) -> None:
        """Wait for so many ends in all."""
        await self._peer.until(lambda: len(self._peer.finished) >= count, 120)

    async def flood(self, count: int) -> dict[str, float]:
        """Return what `count` tasks take that are given as fast as the agent takes them."""
        orders = self.orders(count)
        session, workers = self._agent.session_pid(), self._agent.worker_pids()
        before = cpu_ns(session), {pid: cpu_ns(pid) for pid in workers}, time.process_time()
        already = len(self._peer.finished)
        began = time.perf_counter()
        for start in range(0, count, 256):
            await self.ended(already + start - MOST_AHEAD)
            self._peer.assign(*orders[start : start + 256])
        await self.ended(already + count)
        seconds = time.perf_counter() - began
        of_workers = sum(cpu_ns(pid) - before[1].get(pid, 0) for pid in workers)
        return {
            "tasks/s": count / seconds,
            "session us/task": (cpu_ns(session) - before[0]) / count / 1000,
            "workers us/task": of_workers / count / 1000,
            "this process us/task": (time.process_time() - before[2]) / count * 1e6,
        }


def show(name: str, values: list[float], digits: int = 2) -> None:
    print(
        f"{name:>24}: median {statistics.median(values):.{digits}f}"
        f"   min {min(values):.{digits}f}   max {max(values):.{digits}f}   n {len(values)}"
    )


async def measure(rounds: int, tasks: int) -> None:
    os.environ["PODIUM_AGENT__RECYCLE_AFTER"] = "1000000"  # the same workers throughout, so that their time can be read
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer()
        await peer.start()
        agent = start_agent(Path(folder) / "agent", peer.address, cpu=str(os.cpu_count() or 1))
        try:
            await peer.hello()
            bench = Bench(agent, peer, a_bundle(peer, work="def noop():\n    return None\n"))
            for _ in range(50):
                await bench.round_trip()
            show("round trip ms, idle", [await bench.round_trip() * 1000 for _ in range(60 * rounds)])
            found = [await bench.flood(tasks) for _ in range(rounds)]
            for name in found[0]:
                show(name, [each[name] for each in found], 0)
        finally:
            await asyncio.to_thread(agent.stop)
            await peer.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=4000)
    given = parser.parse_args()
    asyncio.run(measure(given.rounds, given.tasks))

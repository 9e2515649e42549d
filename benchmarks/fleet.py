"""Many simulated agents in one process, each with a session of its own over real gRPC.

`python -m benchmarks.fleet ADDRESS COUNT CPU_MILLIS` says "ready" once all are welcome, and on SIGTERM what they saw,
as JSON. The session protocol itself is spoken by `session_protocol`.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import grpc.aio

from benchmarks.session_protocol import Request, SimulatedAgent, Stub

AT_ONCE = 50
"""Sessions being opened at the same time."""
STREAMS = 100
"""Sessions that share a connection."""


@dataclass
class Fleet:
    """A running fleet; `seen` is known after the block."""

    pid: int
    seen: dict[str, int] = field(default_factory=dict)


@asynccontextmanager
async def running_fleet(address: str, count: int, cpu_millis: int) -> AsyncIterator[Fleet]:
    """Have as many agents in session until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.fleet", address, str(count), str(cpu_millis)), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(120):
            line = await process.stdout.readline()
        assert line == b"ready\n", f"the fleet said {line!r}"
        fleet = Fleet(process.pid)
        yield fleet
        process.terminate()
        fleet.seen |= json.loads(await process.stdout.read())
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Session:
    """One simulated agent's stream, from its hello until it is cancelled or the coordinator ends it."""

    def __init__(self, agent: SimulatedAgent) -> None:
        self.agent = agent
        self.welcome = asyncio.Event()
        self.ended = False
        self._writing = asyncio.Lock()  # a stream takes one message at a time

    async def hold(self, stub: Any, gate: asyncio.Semaphore) -> None:
        try:
            async with gate:
                call = stub.Connect()
                await call.write(self.agent.hello())
                await self._hear(await call.read(), call)
                self.welcome.set()
            beating = asyncio.create_task(self._beat(call))
            try:
                while (response := await call.read()) is not grpc.aio.EOF:
                    await self._hear(response, call)
            finally:
                beating.cancel()
        except grpc.aio.AioRpcError as error:
            print(f"a session ended: {error.details()}", file=sys.stderr)
        finally:
            self.ended = True

    async def _hear(self, response: Any, call: Any) -> None:
        async with self._writing:
            answer: Request | None = self.agent.answer(response)
            if answer is not None:
                await call.write(answer)

    async def _beat(self, call: Any) -> None:
        while True:
            await asyncio.sleep(self.agent.interval)
            async with self._writing:
                await call.write(self.agent.beat())


async def hold_all(address: str, count: int, cpu_millis: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    sessions = [Session(SimulatedAgent(uuid4(), f"simulated-{number}", cpu_millis)) for number in range(count)]
    channels = [
        grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(0, count, STREAMS)
    ]
    gate = asyncio.Semaphore(AT_ONCE)
    stubs = [Stub(channel) for channel in channels]
    held = [asyncio.create_task(session.hold(stubs[i // STREAMS], gate)) for i, session in enumerate(sessions)]
    await asyncio.gather(*[session.welcome.wait() for session in sessions])
    print("ready", flush=True)
    await stop.wait()
    print(json.dumps(_seen(sessions)), flush=True)
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    for channel in channels:
        await channel.close()


def _seen(sessions: list[Session]) -> dict[str, int]:
    return {
        "attempts": sum(session.agent.attempts for session in sessions),
        "busiest": max(session.agent.attempts for session in sessions),
        "stale": sum(session.agent.stale for session in sessions),
        "ended": sum(session.ended for session in sessions),
    }


if __name__ == "__main__":
    asyncio.run(hold_all(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))

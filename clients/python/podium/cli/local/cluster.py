"""Keeps a small cluster up: starts its servers, waits until they are ready, stops them when asked or when it must.

The coordinator is the cluster: when it ends, everything is stopped. An agent that ends after the start is only
reported, so that one can kill an agent and watch its tasks move on. Stopping drains the agents first and the
coordinator last. A second request to stop makes it quick.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from podium.cli.local import children
from podium.cli.local.children import Child, Sink
from podium.cli.local.plan import Plan
from podium.errors import StateError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

READY_WITHIN = 120.0
"""Seconds the servers have to become ready."""


class ServerEndedError(StateError):
    """A server of the cluster ended by itself."""

    reason = "SERVER_ENDED"


class Requests:
    """Counts the signals that ask to stop."""

    def __init__(self) -> None:
        self.once = asyncio.Event()
        self.twice = asyncio.Event()

    def listen(self) -> None:
        """Take the signals over from the running loop's process."""
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(signum, self.stop)

    def stop(self) -> None:
        """Ask once more."""
        (self.twice if self.once.is_set() else self.once).set()


async def keep_up(plan: Plan, sink: Sink, ready: Callable[[], None], requests: Requests) -> None:
    """Run the cluster until it is asked to stop; call `ready` once all agents are connected.

    Raises:
        ServerEndedError: A server ended before the cluster was ready, or the coordinator ended at any time.
        UnavailableError: The servers were not ready in time.
    """
    coordinator = await children.start("coordinator", plan.coordinator_command(), sink)
    agents: list[Child] = []
    asked = asyncio.create_task(requests.once.wait())
    try:
        for name in plan.agent_names:
            agent = await children.start(name, plan.agent_command(name), sink)
            agents.append(agent)
        if await _become_ready(plan, [coordinator, *agents], asked):
            ready()
            await _until_stopped(coordinator, agents, asked, sink, plan)
    finally:
        asked.cancel()
        await children.stop(agents, requests.twice)
        await children.stop([coordinator], requests.twice)


async def _become_ready(plan: Plan, servers: list[Child], asked: asyncio.Task[bool]) -> bool:
    """Return True once all agents are connected, False when asked to stop before that."""
    connected = asyncio.create_task(_all_connected(plan.address, set(plan.agent_names)))
    try:
        await _first([connected, asked, *(server.ended for server in servers)])
        _check(plan, servers)
        if connected.done():
            await connected
        return not asked.done()
    finally:
        connected.cancel()


async def _until_stopped(
    coordinator: Child, agents: list[Child], asked: asyncio.Task[bool], sink: Sink, plan: Plan
) -> None:
    watched = {agent.ended: agent for agent in agents}
    while not asked.done():
        await _first([coordinator.ended, asked, *watched])
        _check(plan, [coordinator])
        for end in [end for end in watched if end.done()]:
            sink("up", f"{_end(watched.pop(end))}; the others go on")


async def _first(tasks: Iterable[asyncio.Task[bool] | asyncio.Task[int] | asyncio.Task[None]]) -> None:
    await asyncio.wait(set(tasks), return_when=asyncio.FIRST_COMPLETED)


def _check(plan: Plan, servers: list[Child]) -> None:
    for server in servers:
        if server.ended.done():
            raise ServerEndedError(f"{_end(server)}; {plan.log} tells why.", server=server.name, log=str(plan.log))


def _end(server: Child) -> str:
    code = server.ended.result()
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return f"The {server.name} ended {how}"


async def _all_connected(address: str, names: set[str]) -> None:
    """Return once every agent of these names is connected to the coordinator.

    Raises:
        UnavailableError: They were not in time.
    """
    import grpc.aio

    from podium.v1 import agent_pb2, agent_pb2_grpc

    async with grpc.aio.insecure_channel(address) as channel:
        watch = agent_pb2_grpc.AgentServiceStub(channel).WatchAgents(
            agent_pb2.WatchAgentsRequest(), wait_for_ready=True, timeout=READY_WITHIN
        )
        missing = set(names)
        try:
            async for message in watch:
                connected = agent_pb2.AGENT_STATE_CONNECTED
                missing -= {agent.name for agent in message.agents if agent.state == connected}
                if not missing:
                    return
        except grpc.aio.AioRpcError as error:
            raise _not_ready(missing, str(error.details())) from None
        finally:
            watch.cancel()
        raise _not_ready(missing, "the coordinator stopped")


def _not_ready(missing: set[str], why: str) -> UnavailableError:
    names = ", ".join(sorted(missing))
    return UnavailableError(f"The cluster was not ready within {READY_WITHIN:g} s, {names} did not connect: {why}.")

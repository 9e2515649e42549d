"""Keeps a small cluster up: starts its servers, waits until they are ready, stops them when asked or when it must.

The coordinator is the cluster: when it ends, everything is stopped. An agent that ends after the start is only
reported, so that one can kill an agent and watch its tasks move on. Stopping drains the agents first and the
coordinator last. A second request to stop makes it quick.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

from podium.cli.local import children
from podium.cli.local.children import Child, Sink
from podium.cli.local.plan import Plan
from podium.errors import StateError, UnavailableError

if TYPE_CHECKING:
    import grpc.aio

READY_WITHIN = 120.0
"""Seconds each step of the start may take."""

_EAGER = [(f"grpc.{which}_reconnect_backoff_ms", 200) for which in ("initial", "min", "max")]


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
    cluster = _Cluster(plan, sink, asyncio.create_task(requests.once.wait()))
    try:
        await cluster.start()
        if not cluster.asked.done():
            ready()
        await cluster.stand()
    finally:
        cluster.asked.cancel()
        await children.stop(cluster.agents, requests.twice)
        await children.stop(cluster.coordinators, requests.twice)


class _Cluster:
    """The servers, and `asked`, which is done once they are to stop."""

    def __init__(self, plan: Plan, sink: Sink, asked: asyncio.Task[bool]) -> None:
        self.plan = plan
        self.sink = sink
        self.asked = asked
        self.coordinators: list[Child] = []
        self.agents: list[Child] = []

    async def start(self) -> None:
        """Start the coordinator and then the agents; return once all of them are connected, or when asked to stop."""
        import grpc.aio

        self.coordinators.append(await children.start("coordinator", self.plan.coordinator_command(), self.sink))
        async with grpc.aio.insecure_channel(self.plan.address, _EAGER) as channel:
            await self._unless_stopped(channel.channel_ready(), "the coordinator")
            for name in self.plan.agent_names if not self.asked.done() else ():
                self.agents.append(await children.start(name, self.plan.agent_command(name), self.sink))
            if self.agents:
                await self._unless_stopped(_all_connected(channel, set(self.plan.agent_names)), "the agents")

    async def stand(self) -> None:
        """Return when asked to stop; tell when an agent ends before that."""
        watched = {agent.ended: agent for agent in self.agents}
        while not self.asked.done():
            ends = (child.ended for child in self.coordinators)
            await asyncio.wait({self.asked, *ends, *watched}, return_when=asyncio.FIRST_COMPLETED)
            self._check(self.coordinators)
            for end in [end for end in watched if end.done()]:
                self.sink("up", f"{_end(watched.pop(end))}; the others go on")

    async def _unless_stopped(self, step: Coroutine[None, None, None], what: str) -> None:
        """Wait for a step of the start, for as long as all servers live and nobody asks to stop."""
        servers = [*self.coordinators, *self.agents]
        stepping = asyncio.create_task(step)
        waited = {stepping, self.asked, *(server.ended for server in servers)}
        try:
            await asyncio.wait(waited, timeout=READY_WITHIN, return_when=asyncio.FIRST_COMPLETED)
            self._check(servers)
            if stepping.done():
                stepping.result()
            elif not self.asked.done():
                message = f"After {READY_WITHIN:g} s {what} cannot be reached; {self.plan.log} may tell why."
                raise UnavailableError(message, log=str(self.plan.log))
        finally:
            stepping.cancel()

    def _check(self, servers: list[Child]) -> None:
        for server in servers:
            if server.ended.done():
                message = f"{_end(server)}; {self.plan.log} tells why."
                raise ServerEndedError(message, server=server.name, log=str(self.plan.log))


def _end(server: Child) -> str:
    code = server.ended.result()
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return f"The {server.name} ended {how}"


async def _all_connected(channel: grpc.aio.Channel, names: set[str]) -> None:
    """Return once every agent of these names is connected."""
    import grpc.aio

    from podium.v1 import agent_pb2, agent_pb2_grpc

    watch = agent_pb2_grpc.AgentServiceStub(channel).WatchAgents(agent_pb2.WatchAgentsRequest())
    try:
        async for message in watch:
            names -= {agent.name for agent in message.agents if agent.state == agent_pb2.AGENT_STATE_CONNECTED}
            if not names:
                return
    except grpc.aio.AioRpcError as error:
        raise UnavailableError(f"The coordinator does not tell about its agents: {error.details()}.") from None
    finally:
        watch.cancel()

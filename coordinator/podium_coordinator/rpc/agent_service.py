"""AgentService: shows agents to operators. The rows say who there is, the shard's owner what they hold right now."""

# ruff: noqa: N802 - the names are the contract's

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from podium.v1 import agent_pb2 as pb
from podium.v1 import agent_pb2_grpc
from podium_coordinator.rpc import pages, parse, render
from podium_coordinator.store import agents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from uuid import UUID

    import grpc.aio

    from podium_coordinator.domain.fleet import Agent
    from podium_coordinator.domain.records import AgentRecord
    from podium_coordinator.rpc.owner import ShardView
    from podium_coordinator.store.pools import Pool

    Context = grpc.aio.ServicerContext[object, object]

REFRESH: Final = 2.0
"""Seconds between two looks at what agents hold, while somebody watches."""


class AgentService(agent_pb2_grpc.AgentServiceServicer):
    """Serves podium.v1.AgentService."""

    def __init__(self, pool: Pool, shard: ShardView, refresh: float = REFRESH) -> None:
        """`pool` gives connections that read."""
        self._pool = pool
        self._shard = shard
        self._refresh = refresh

    async def ListAgents(self, request: pb.ListAgentsRequest, context: Context) -> pb.ListAgentsResponse:
        """List agents; see the contract."""
        del context
        size, after = pages.page_size(request), pages.place(request, str)
        async with self._pool.connection() as conn:
            found = await agents.list_agents(conn, after or "", size + 1)
        shown, last = pages.cut(found, size)
        return pb.ListAgentsResponse(
            agents=self._rendered(shown), next_page_token=pages.token(request, last.name) if last else ""
        )

    async def GetAgent(self, request: pb.GetAgentRequest, context: Context) -> pb.GetAgentResponse:
        """Read one agent; see the contract."""
        del context
        async with self._pool.connection() as conn:
            record = await agents.get_agent(conn, parse.agent_name(request.name))
        (agent,) = self._rendered([record])
        return pb.GetAgentResponse(agent=agent)

    async def WatchAgents(
        self, request: pb.WatchAgentsRequest, context: Context
    ) -> AsyncIterator[pb.WatchAgentsResponse]:
        """Follow agents; see the contract."""
        del request, context
        told: dict[str, pb.Agent] | None = None
        version = 0
        while True:
            now = {agent.name: agent for agent in self._rendered(await self._all())}
            changed = [agent for name, agent in now.items() if told is None or _differs(told.get(name), agent)]
            if told is None or changed:
                yield pb.WatchAgentsResponse(agents=changed)
            told = now
            version = await self._changed(version)

    async def _changed(self, version: int) -> int:
        """Wait until agents have changed or it is time to look again; what they hold changes without a word."""
        try:
            async with asyncio.timeout(self._refresh):
                return await self._shard.agents_changed(version)
        except TimeoutError:
            return version

    async def _all(self) -> list[AgentRecord]:
        found: list[AgentRecord] = []
        while True:
            async with self._pool.connection() as conn:
                page = await agents.list_agents(conn, found[-1].name if found else "", pages.MOST)
            found += page
            if len(page) < pages.MOST:
                return found

    def _rendered(self, records: Sequence[AgentRecord]) -> list[pb.Agent]:
        seen: dict[UUID, Agent] = {agent.agent_id: agent for agent in self._shard.agents()}
        return [render.agent(record, seen.get(record.agent_id)) for record in records]


def _differs(told: pb.Agent | None, now: pb.Agent) -> bool:
    """Whether there is something to tell; that an agent was heard from again is not."""
    if told is None:
        return True
    before, after = pb.Agent(), pb.Agent()
    before.CopyFrom(told)
    after.CopyFrom(now)
    before.ClearField("last_heard_time")
    after.ClearField("last_heard_time")
    return before != after

"""Agents as operators see them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import grpc

from podium.v1 import agent_pb2 as pb
from podium_coordinator.domain.states import AgentState
from podium_coordinator.store.batch import Batch
from tests.rpc.probe import details, refused
from tests.rpc.site import Site, a_task
from tests.shard.cluster import Cluster
from tests.store.builders import an_agent, changed

HOST = pb.HostFacts(hostname="box", cpu_millis=4000, labels={"zone": "a"})


def a_host(name: str, **fields: object) -> object:
    return changed(an_agent(name, host=HOST.SerializeToString(), **fields))


async def test_agents_are_listed_by_name_in_pages(site: Site) -> None:
    rows = [a_host(name) for name in ("c", "a", "b")]
    await site.journal.commit(0, Batch(agents_changed=rows))  # type: ignore[arg-type]
    first = await site.agents.ListAgents(pb.ListAgentsRequest(page_size=2))
    rest = await site.agents.ListAgents(pb.ListAgentsRequest(page_size=2, page_token=first.next_page_token))
    assert [agent.name for agent in (*first.agents, *rest.agents)] == ["a", "b", "c"]
    assert rest.next_page_token == ""
    assert first.agents[0].host == HOST
    assert first.agents[0].state == pb.AGENT_STATE_CONNECTED


async def test_an_agent_that_is_not_known_is_not_found(site: Site) -> None:
    for name in ("nobody", "", "a\0b"):
        told = await refused(site.agents.GetAgent(pb.GetAgentRequest(name=name)))
        assert (told.code(), details(told)[0].reason) == (grpc.StatusCode.NOT_FOUND, "AGENT_NOT_FOUND")


async def test_an_agents_usage_is_that_of_its_live_attempts(owning: tuple[Site, Cluster]) -> None:
    site, cluster = owning
    agent = await cluster.agent("host-1")
    await site.register(a_task("a"), a_task("b"))
    await site.create()
    orders = [await agent.orders.get() for _ in range(2)]
    now = (await site.agents.GetAgent(pb.GetAgentRequest(name="host-1"))).agent
    assert (now.live_attempts, now.cpu_millis_used) == (2, 2000)
    assert now.HasField("last_heard_time")
    for order in orders:
        agent.finish(order)
        await agent.acknowledged.get()
    now = (await site.agents.GetAgent(pb.GetAgentRequest(name="host-1"))).agent
    assert (now.live_attempts, now.cpu_millis_used) == (0, 0)


async def test_watching_tells_all_agents_then_those_that_change(owning: tuple[Site, Cluster]) -> None:
    site, cluster = owning
    first = await cluster.agent("one")
    watching = aiter(site.agents.WatchAgents(pb.WatchAgentsRequest()))
    assert [agent.name for agent in (await anext(watching)).agents] == ["one"]
    await cluster.agent("two")
    async with asyncio.timeout(10):
        assert [agent.name for agent in (await anext(watching)).agents] == ["two"]
        first.hang_up()
        (gone,) = (await anext(watching)).agents
    assert (gone.name, gone.state) == ("one", pb.AGENT_STATE_DISCONNECTED)


async def test_watching_the_agents_of_another_owner_looks_again(site: Site) -> None:
    agent = an_agent("one", host=b"")
    await site.journal.commit(0, Batch(agents_changed=[changed(agent)]))
    watching = aiter(site.agents.WatchAgents(pb.WatchAgentsRequest()))
    assert len((await anext(watching)).agents) == 1
    lost = replace(agent, state=AgentState.LOST)
    await site.journal.commit(0, Batch(agents_changed=[changed(lost)]))
    async with asyncio.timeout(10):
        (told,) = (await anext(watching)).agents
    assert told.state == pb.AGENT_STATE_LOST

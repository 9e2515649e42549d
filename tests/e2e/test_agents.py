"""Agents of a real cluster: what they tell, what they are given, how they leave, and which are refused."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from podium.errors import AgentNotFoundError
from podium.model.states import AgentState, RunState, TaskRunState
from podium.resources import Agent
from podium.version import __version__
from podium_agent.store.journal import Journal
from tests.cluster.cluster import ROOT, AgentPlan, AgentsWanted, Cluster
from tests.cluster.witness import States, Witness

RUN_SECONDS = 30.0
END_SECONDS = 30.0
REFUSED = 3
FAILURE = 1
GIB = 1 << 30
BOTH = ("a1", "a2")


async def test_agents_tell_the_facts_of_their_host(witness: Witness) -> None:
    agents = {agent.name: agent for agent in await witness.client.list_agents()}
    assert set(BOTH) <= set(agents)
    agent = await witness.client.get_agent("a1")
    assert (agent.state, agent.draining, agent.live_attempts) == (AgentState.CONNECTED, False, 0)
    assert (agent.cpu_millis, agent.memory_bytes, agent.labels) == (4000, 2 * GIB, {"name": "a1"})
    assert (agent.hostname, agent.python_version) == (platform.node(), platform.python_version())
    assert (agent.podium_version, agent.platform.startswith("Linux")) == (__version__, True)
    assert agent.disk_free_bytes > 0
    assert agents["a1"].agent_id != agents["a2"].agent_id
    with pytest.raises(AgentNotFoundError):
        await witness.client.get_agent("a9")


def count(states: States, prefix: str, state: TaskRunState) -> int:
    return sum(key.startswith(prefix) and found is state for key, found in states.items())


async def test_agents_are_given_no_more_than_they_offer(cluster: Cluster, witness: Witness) -> None:
    cluster.gates.shut("cores")
    run = await witness.start("resources", {})

    def full(states: States) -> bool:
        return all(count(states, prefix, TaskRunState.RUNNING) == 2 for prefix in ("cores", "memory"))

    await run.until(full, RUN_SECONDS)
    held = await cluster.agents_are(lambda agents: all(agents[name].live_attempts >= 2 for name in BOTH))
    assert held["a1"].cpu_millis_used >= 3000
    assert held["a2"].memory_bytes_used >= 1800 << 20
    cluster.gates.open("cores")
    assert (await run.ended(RUN_SECONDS)).state is RunState.SUCCEEDED
    evidence = await witness.assert_clean()
    for prefix in ("cores", "memory"):
        spans = [(item.started, item.ended or 0) for item in evidence.ledger if item.task.startswith(prefix)]
        assert len(spans) == 4
        assert most_at_once(spans) <= 2, "more than fit executed at once"
    idle = await cluster.agents_are(lambda agents: not any(agents[name].live_attempts for name in BOTH))
    assert {idle[name].cpu_millis_used + idle[name].memory_bytes_used for name in BOTH} == {0}


def most_at_once(spans: list[tuple[int, int]]) -> int:
    return max(sum(other[0] <= start < other[1] for other in spans) for start, _ in spans)


async def test_what_is_more_urgent_starts_first(cluster: Cluster, witness: Witness) -> None:
    cluster.gates.shut("priorities")
    run = await witness.start("priorities", {})
    await run.until(lambda states: states.get("opens") is TaskRunState.RUNNING, RUN_SECONDS)
    cluster.gates.open("priorities")
    assert (await run.ended(RUN_SECONDS)).state is RunState.SUCCEEDED
    evidence = await witness.assert_clean()
    order = [item.task for item in evidence.ledger if item.task != "opens"]
    assert set(order[:3]) == {"task_3", "task_4", "task_5"}, order


async def test_an_agent_told_to_end_finishes_what_it_has_and_takes_nothing_new(
    cluster: Cluster, witness: Witness
) -> None:
    cluster.gates.shut("drain")
    async with cluster.another_agent(AgentPlan("a3")) as agent:
        run = await witness.start("waiting_on_a3", {"waits": "drain"}, gate="drain")
        await run.until(lambda states: states.get("waits") is TaskRunState.RUNNING, RUN_SECONDS)
        agent.tell(signal.SIGTERM)
        async with asyncio.timeout(RUN_SECONDS):
            await cluster.agents_are(lambda agents: agents["a3"].draining)
        others = await witness.start("anywhere", {})
        assert (await others.ended(RUN_SECONDS)).state is RunState.SUCCEEDED
        given = {item.agent for item in await witness.client.list_attempts(others.run_id)}
        assert given <= {"a1", "a2"}
        cluster.gates.open("drain")
        async with asyncio.timeout(END_SECONDS):
            assert await agent.ended() == 0
        assert (await run.ended(RUN_SECONDS)).state is RunState.SUCCEEDED
        evidence = await witness.assert_clean()
        assert {row.number for row in evidence.attempts} == {1}
        await cluster.agents_are(gone("a3"))
        assert Journal(cluster.agent_folder("a3") / "journal").recover().finished == [], "all results are acknowledged"


def gone(name: str) -> AgentsWanted:
    def check(agents: Mapping[str, Agent]) -> bool:
        return agents[name].state is not AgentState.CONNECTED

    return check


async def test_a_second_agent_on_a_data_folder_in_use_is_refused(cluster: Cluster) -> None:
    second = cluster.agent_server(AgentPlan("other"), folder=cluster.agent_folder("a1"))
    second.start()
    async with asyncio.timeout(END_SECONDS):
        assert await second.ended() == FAILURE
    assert f"Another agent uses the data folder {cluster.agent_folder('a1')}; give each agent its own" in second.words()


async def test_an_agent_whose_name_is_taken_is_told_so_and_disturbs_nobody(cluster: Cluster, witness: Witness) -> None:
    before = await witness.client.get_agent("a1")
    twin = cluster.agent_server(AgentPlan("a1"), folder=cluster.agent_folder("twin"))
    twin.log = cluster.folder / "logs" / "twin.log"
    twin.start()
    try:
        async with asyncio.timeout(END_SECONDS):
            await twin.says("AGENT_NAME_TAKEN")
        assert "Another agent is connected as 'a1'; give this one another name." in twin.words()
        after = await witness.client.get_agent("a1")
        assert (after.agent_id, after.state, after.connect_time) == (
            before.agent_id,
            AgentState.CONNECTED,
            before.connect_time,
        )
    finally:
        twin.tell(signal.SIGTERM)
        async with asyncio.timeout(END_SECONDS):
            await twin.ended()


async def test_an_agent_of_another_version_says_so_and_ends(cluster: Cluster, tmp_path: Path) -> None:
    """The agent is this one with another number for its protocol: a copy of its package, first on the path."""
    copy = shutil.copytree(ROOT / "agents" / "podium_agent", tmp_path / "podium_agent")
    assembly = copy / "session" / "assembly.py"
    source = assembly.read_text()
    assert "PROTOCOL_VERSION = 1\n" in source
    assembly.write_text(source.replace("PROTOCOL_VERSION = 1\n", "PROTOCOL_VERSION = 99\n"))
    agent = cluster.agent_server(AgentPlan("newer"))
    agent.start(PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    async with asyncio.timeout(END_SECONDS):
        assert await agent.ended() == REFUSED
    words = agent.words()
    assert "The agent speaks version 99 of the session protocol" in words
    assert "install the same release of Podium on both" in words
    assert words.count("refused_for_good") == 1, "it tries once"

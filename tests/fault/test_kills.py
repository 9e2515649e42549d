"""kill -9 of each process in the middle of a pipeline: the outputs are the same, and the ledger is clean.

One cluster for all; each test leaves it whole again.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from podium.model.states import RunState
from tests.cluster import harm
from tests.cluster.cluster import Cluster
from tests.cluster.evidence import Evidence
from tests.cluster.fixtures import running_cluster
from tests.cluster.processes import gone
from tests.cluster.witness import Watched, Witness
from tests.fault.recording import Bound, Figures
from tests.fault.workload import EVEN, a_run_in_the_middle, assert_undisturbed, finish

COORDINATOR_KILLED = Bound("from kill -9 of the only coordinator to the end of the run", 45.0)
SESSION_KILLED = Bound("from kill -9 of all session processes to the end of the run", 30.0)
AGENT_RESTARTED = Bound("from kill -9 of a whole agent, which is started again, to the end of the run", 45.0)
SPAWNER_KILLED = Bound("from kill -9 of a spawner to the end of the run", 45.0)
AGENT_LOST = Bound("from kill -9 of a whole agent for good to the end of the run", 60.0)
POSTGRES_KILLED = Bound("from kill -9 of Postgres to the end of the run", 45.0)
AGENT_FROZEN = Bound("from an agent's freeze to the end of the run without it", 60.0)
COORDINATOR_FROZEN = Bound("from the only coordinator's freeze to the end of the run", 45.0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


def most_attempts(evidence: Evidence) -> int:
    return max(row.number for row in evidence.attempts)


async def holder_of_most(witness: Witness, run: Watched) -> tuple[str, set[str]]:
    """Return the agent that executes most of the tasks at the gate, and those it does."""
    held: dict[str, set[str]] = {}
    for item in await witness.client.list_attempts(run.run_id):
        if item.task in EVEN and item.start_time is not None and item.end_time is None:
            held.setdefault(item.agent, set()).add(item.task)
    return max(held.items(), key=lambda entry: len(entry[1]))


async def test_the_coordinator_is_killed(cluster: Cluster, witness: Witness, figures: Figures) -> None:
    run = await a_run_in_the_middle(cluster, witness, figures)
    await harm.kill_coordinator(cluster)
    cluster.gates.open("even")  # what ends now has nobody to tell it to
    await cluster.restart_coordinator()
    evidence = await finish(witness, run, COORDINATOR_KILLED, figures)
    assert_undisturbed(evidence)


async def test_an_agents_session_process_is_killed(cluster: Cluster, witness: Witness, figures: Figures) -> None:
    run = await a_run_in_the_middle(cluster, witness, figures)
    for name in cluster.agents:
        await harm.kill_session(cluster, name)
    cluster.gates.open("even")  # workers go on without a session, and keep what they have
    evidence = await finish(witness, run, SESSION_KILLED, figures)
    assert_undisturbed(evidence)


async def test_a_whole_agent_is_killed_and_comes_back(cluster: Cluster, witness: Witness, figures: Figures) -> None:
    run = await a_run_in_the_middle(cluster, witness, figures)
    await harm.kill_agent(cluster, "a1")
    cluster.agents["a1"].start()
    await cluster.connected("a1")
    cluster.gates.open("even")
    evidence = await finish(witness, run, AGENT_RESTARTED, figures)
    assert most_attempts(evidence) == 2


async def test_a_whole_agent_is_killed_and_stays_away(cluster: Cluster, witness: Witness, figures: Figures) -> None:
    run = await a_run_in_the_middle(cluster, witness, figures)
    await harm.kill_agent(cluster, "a1")
    cluster.gates.open("even")
    evidence = await finish(witness, run, AGENT_LOST, figures)
    assert {row.state for row in evidence.attempts if row.number < 2} == {"succeeded", "lost"}
    cluster.agents["a1"].start()
    await cluster.connected("a1")


async def test_only_the_spawner_of_an_agent_is_killed(cluster: Cluster, witness: Witness, figures: Figures) -> None:
    run = await a_run_in_the_middle(cluster, witness, figures)
    family = cluster.agents["a1"].family()
    cluster.agents["a1"].tell(signal.SIGKILL)
    for process in family:
        await gone(process.pid)
    cluster.agents["a1"].start()
    await cluster.connected("a1")
    cluster.gates.open("even")
    await finish(witness, run, SPAWNER_KILLED, figures)


async def test_postgres_is_killed(cluster: Cluster, witness: Witness, figures: Figures) -> None:
    run = await a_run_in_the_middle(cluster, witness, figures)
    await harm.kill_postgres(cluster)
    cluster.gates.open("even")
    evidence = await finish(witness, run, POSTGRES_KILLED, figures)
    assert_undisturbed(evidence)


async def test_the_coordinator_freezes_for_a_while(cluster: Cluster, witness: Witness, figures: Figures) -> None:
    run = await a_run_in_the_middle(cluster, witness, figures)
    said = {name: agent.log.stat().st_size for name, agent in cluster.agents.items()}
    cluster.coordinator.tell(signal.SIGSTOP)
    cluster.gates.open("even")
    for name, agent in cluster.agents.items():
        await agent.says("coordinator_silent", after=said[name])
    cluster.coordinator.tell(signal.SIGCONT)
    evidence = await finish(witness, run, COORDINATOR_FROZEN, figures)
    assert_undisturbed(evidence)


async def test_an_agent_freezes_until_it_is_lost_and_comes_back_too_late(
    cluster: Cluster, witness: Witness, figures: Figures
) -> None:
    run = await a_run_in_the_middle(cluster, witness, figures)
    victim, frozen = await holder_of_most(witness, run)
    cluster.agents[victim].tell_all(signal.SIGSTOP)
    cluster.gates.open("even")
    ended = await run.ended(AGENT_FROZEN.most)
    figures.recovered(AGENT_FROZEN)
    assert ended.state is RunState.SUCCEEDED
    cluster.agents[victim].tell_all(signal.SIGCONT)
    await cluster.agents_are(
        lambda agents: not agents[victim].live_attempts and agents[victim].state.value == "connected"
    )
    evidence = await witness.assert_clean(overlaps=True)  # what was frozen executes on, and nobody listens
    tried = {task: [row.state for row in evidence.attempts if row.task == task] for task in frozen}
    assert all(states[-2:] == ["lost", "succeeded"] for states in tried.values()), tried

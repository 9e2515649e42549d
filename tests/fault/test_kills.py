"""kill -9 of each process in the middle of a pipeline: the outputs are the same, and the ledger is clean.

One cluster for all; each test leaves it whole again.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping

from podium.model.states import RunState, TaskRunState
from tests.cluster.cluster import Cluster
from tests.cluster.evidence import Evidence
from tests.cluster.processes import gone
from tests.cluster.witness import States, Watched, Witness

# Bounds in seconds, from the fault to the end of the run. Losing an agent is declared after 5 s here.
COORDINATOR_KILLED = 45.0
SESSION_KILLED = 30.0
AGENT_RESTARTED = 45.0
AGENT_LOST = 60.0
POSTGRES_KILLED = 45.0
AGENT_FROZEN = 60.0

SEED = 7
BRANCHES = 8
EXPECTED: Mapping[str, object] = {
    "source": SEED,
    **{f"first_{i}": [SEED, i] for i in range(BRANCHES)},
    "total": sum(100 * SEED + i for i in range(BRANCHES)),
}
EVEN = [f"first_{i}" for i in range(0, BRANCHES, 2)]
ODD = [f"first_{i}" for i in range(1, BRANCHES, 2)]
IN_THE_MIDDLE = 60.0


def in_the_middle(states: States) -> bool:
    """Some branches have passed their first hop, the others are executing it."""
    done = all(states.get(key) is TaskRunState.SUCCEEDED for key in ODD)
    return done and all(states.get(key) is TaskRunState.RUNNING for key in EVEN)


async def a_run_in_the_middle(cluster: Cluster, witness: Witness) -> Watched:
    cluster.gates.shut("even")
    run = await witness.start("ledgered_fan", EXPECTED, seed=SEED)
    await run.until(in_the_middle, IN_THE_MIDDLE)
    return run


async def finish(witness: Witness, run: Watched, seconds: float) -> Evidence:
    ended = await run.ended(seconds)
    assert ended.state is RunState.SUCCEEDED, ended
    return await witness.assert_clean()


def most_attempts(evidence: Evidence) -> int:
    return max(row.number for row in evidence.attempts)


async def test_the_coordinator_is_killed(cluster: Cluster, witness: Witness) -> None:
    run = await a_run_in_the_middle(cluster, witness)
    await cluster.kill_coordinator()
    cluster.gates.open("even")  # what ends now has nobody to tell it to
    await cluster.restart_coordinator()
    evidence = await finish(witness, run, COORDINATOR_KILLED)
    assert most_attempts(evidence) == 1, "the agents kept what they had: nothing is tried again"


async def test_an_agents_session_process_is_killed(cluster: Cluster, witness: Witness) -> None:
    run = await a_run_in_the_middle(cluster, witness)
    for name in cluster.agents:
        await cluster.kill_session(name)
    cluster.gates.open("even")  # workers go on without a session, and keep what they have
    evidence = await finish(witness, run, SESSION_KILLED)
    assert most_attempts(evidence) == 1, "the workers went on: nothing is tried again"


async def test_a_whole_agent_is_killed_and_comes_back(cluster: Cluster, witness: Witness) -> None:
    run = await a_run_in_the_middle(cluster, witness)
    await cluster.kill_agent("a1")
    cluster.agents["a1"].start()
    await cluster.connected("a1")
    cluster.gates.open("even")
    evidence = await finish(witness, run, AGENT_RESTARTED)
    assert most_attempts(evidence) == 2


async def test_a_whole_agent_is_killed_and_stays_away(cluster: Cluster, witness: Witness) -> None:
    run = await a_run_in_the_middle(cluster, witness)
    await cluster.kill_agent("a1")
    cluster.gates.open("even")
    evidence = await finish(witness, run, AGENT_LOST)
    assert {row.state for row in evidence.attempts if row.number < 2} == {"succeeded", "lost"}
    cluster.agents["a1"].start()
    await cluster.connected("a1")


async def test_only_the_spawner_of_an_agent_is_killed(cluster: Cluster, witness: Witness) -> None:
    run = await a_run_in_the_middle(cluster, witness)
    family = cluster.agents["a1"].family()
    cluster.agents["a1"].tell(signal.SIGKILL)
    for process in family:
        await gone(process.pid)
    cluster.agents["a1"].start()
    await cluster.connected("a1")
    cluster.gates.open("even")
    await finish(witness, run, AGENT_RESTARTED)


async def test_postgres_is_killed(cluster: Cluster, witness: Witness) -> None:
    run = await a_run_in_the_middle(cluster, witness)
    await cluster.kill_postgres()
    cluster.gates.open("even")
    evidence = await finish(witness, run, POSTGRES_KILLED)
    assert most_attempts(evidence) == 1

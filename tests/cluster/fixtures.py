"""Clusters for tests. A module names the fixture it wants; harming tests take `own_cluster`."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.cluster import BRISK, TWO_AGENTS, AgentPlan, Cluster
from tests.cluster.witness import Witness

LARGEST_OUTPUT = 2 << 20
"""Bytes of JSON that a task may return on the agents of the shared cluster."""

SEED = "PODIUM_TEST_SEED"

PROJECT = Path(__file__).parent / "project"


@contextmanager
def running_cluster(
    plans: Sequence[AgentPlan] = TWO_AGENTS,
    settings: Mapping[str, str] = BRISK,
    projects: Sequence[Path] = (PROJECT,),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Cluster]:
    """Run a cluster with projects deployed; end it, and assert that nothing is left."""
    cluster = Cluster(settings, environment=environment)
    try:
        asyncio.run(_start(cluster, plans, projects))
        yield cluster
    finally:
        cluster.end()


async def _start(cluster: Cluster, plans: Sequence[AgentPlan], projects: Sequence[Path]) -> None:
    await cluster.start(plans)
    async with cluster.client() as client:
        for project in projects:
            await client.deploy(project)


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    """A cluster of two agents for tests that leave it as they found it."""
    plans = [AgentPlan(name, more={"largest_output": str(LARGEST_OUTPUT)}) for name in ("a1", "a2")]
    with running_cluster(plans) as running:
        yield running


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster of a test; modules that harm theirs have one of their own under this name."""
    yield shared_cluster
    shared_cluster.gates.open_all()


@pytest.fixture
async def witness(cluster: Cluster) -> AsyncIterator[Witness]:
    """A client of the test's cluster that remembers what it was told."""
    async with Witness(cluster) as watching:
        yield watching


@pytest.fixture
def chance(record_property: Callable[[str, object], None]) -> random.Random:
    """What is left to chance in a test: its seed is printed, and PODIUM_TEST_SEED sets it."""
    seed = int(os.environ.get(SEED) or int.from_bytes(os.urandom(4), "big"))
    record_property("seed", seed)
    sys.stdout.write(f"{SEED}={seed}\n")
    return random.Random(seed)  # noqa: S311 - it guards nothing


__all__ = ["LARGEST_OUTPUT", "PROJECT", "chance", "cluster", "running_cluster", "shared_cluster", "witness"]

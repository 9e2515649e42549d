"""How much of a traced run is told: everything while there is little, and only what is worth it beyond that."""

from __future__ import annotations

from collections import Counter

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from podium.model.spec import RetryPolicy
from podium_coordinator.app.tracing import Budget, Tracing
from tests.shard.cluster import Cluster, a_cluster
from tests.shard.test_shard import a_task


async def told_of(database: str, detailed: int) -> list[ReadableSpan]:
    """Return the spans of a run of six quick tasks, one of which fails once."""
    exporter = InMemorySpanExporter()
    tracing = Tracing(exporter, Budget(detailed, clock=lambda: 0.0))
    async with a_cluster(database, tracing=tracing) as cluster:
        await run_six(cluster)
    await tracing.close()
    return list(exporter.get_finished_spans())


async def run_six(cluster: Cluster) -> None:
    agent = await cluster.agent(cpu_millis=9000)
    await cluster.register(*(a_task(f"t{i}", retry=RetryPolicy(retries=1)) for i in range(6)))
    run_id = await cluster.submit()
    for number in range(7):
        order = await agent.orders.get()
        if number == 2:
            agent.fail(order)
        else:
            agent.finish(order, seconds=0.01)
    await cluster.ended(run_id)


@pytest.mark.parametrize(("detailed", "tasks", "left_out"), [(1000, 6, 0), (2, 3, 3), (0, 1, 5)])
async def test_beyond_its_bound_a_trace_tells_failures_and_retries_and_counts_the_rest(
    database: str, detailed: int, tasks: int, left_out: int
) -> None:
    spans = await told_of(database, detailed)
    names = Counter(span.name.split(" ")[0] for span in spans)
    (run,) = [span for span in spans if span.name.startswith("run ")]
    assert run.attributes is not None
    assert run.attributes["podium.run.task_runs_left_out"] == left_out
    assert (names["task"], names["attempt"]) == (tasks, tasks + 1)


async def test_an_attempt_left_out_is_not_traced_by_its_agent_either(database: str) -> None:
    tracing = Tracing(InMemorySpanExporter(), Budget(1, clock=lambda: 0.0))
    async with a_cluster(database, tracing=tracing) as cluster:
        agent = await cluster.agent()
        await cluster.register(a_task("a"), a_task("b"))
        await cluster.submit()
        assert [(await agent.orders.get()).attempt.traced for _ in range(2)] == [True, False]
    await tracing.close()


def test_a_budget_is_so_much_a_second_and_does_not_pile_up() -> None:
    now = 0.0
    budget = Budget(10, clock=lambda: now)
    assert [budget.spend() for _ in range(12)].count(True) == 10
    now = 0.5
    assert [budget.spend() for _ in range(12)].count(True) == 5
    now = 3600.0
    assert [budget.spend() for _ in range(30)].count(True) == 10

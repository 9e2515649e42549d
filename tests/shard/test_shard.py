"""The shard loop on a real database, with agents at the other end of the link that do as told."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from podium.model.spec import Literal, Output, PythonAction, Resources, RetryPolicy, TaskSpec, TriggerRule
from podium_coordinator.app.events import Held, ReviewDue
from podium_coordinator.domain.fleet import Terms
from podium_coordinator.domain.records import AgentRecord
from podium_coordinator.domain.states import FailureKind, RunState, TaskRunState
from podium_coordinator.store import agents
from tests.shard.cluster import Cluster, a_cluster


def a_task(key: str, *upstream: str, uses: tuple[str, ...] = (), **fields: object) -> TaskSpec:
    action = PythonAction("m:f", tuple(Output(task) for task in uses) or (Literal(1),))
    return TaskSpec(key, action, tuple(dict.fromkeys((*upstream, *uses))), **fields)  # type: ignore[arg-type]


async def test_a_diamond_runs_in_order_and_hands_outputs_on(database: str) -> None:
    async with a_cluster(database) as cluster:
        agent = await cluster.agent()
        await cluster.register(
            a_task("a"), a_task("b", uses=("a",)), a_task("c", uses=("a",)), a_task("d", uses=("b", "c"))
        )
        run_id = await cluster.submit()
        first = await agent.orders.get()
        assert first.inputs == ()
        agent.finish(first, b'{"rows": 3}')
        middle = [await agent.orders.get(), await agent.orders.get()]
        assert [order.inputs for order in middle] == [(("a", b'{"rows": 3}'),)] * 2
        agent.finish(middle[0], b"1")
        agent.finish(middle[1], b"2")
        last = await agent.orders.get()
        assert dict(last.inputs) == {"b": b"1", "c": b"2"}
        agent.finish(last)
        record = await cluster.ended(run_id)
        assert record.state is RunState.SUCCEEDED
        assert record.counts == {TaskRunState.SUCCEEDED: 4}


async def test_a_result_is_acknowledged_only_after_it_is_committed(database: str) -> None:
    async with a_cluster(database) as cluster:
        agent = await cluster.agent()
        await cluster.register(a_task("a"))
        run_id = await cluster.submit()
        order = await agent.orders.get()
        agent.finish(order)
        assert await agent.acknowledged.get() == agent.said
        assert (await cluster.run(run_id)).state is RunState.SUCCEEDED


async def test_a_repeated_report_is_acknowledged_and_changes_nothing(database: str) -> None:
    async with a_cluster(database) as cluster:
        agent = await cluster.agent()
        await cluster.register(a_task("a"), a_task("b", "a"))
        run_id = await cluster.submit()
        order = await agent.orders.get()
        agent.finish(order)
        agent.fail(order)
        assert await agent.acknowledged.get() == 2
        await agent.work_off("b")
        assert (await cluster.ended(run_id)).state is RunState.SUCCEEDED


async def test_a_failure_is_tried_again_within_its_budget_and_then_fails_the_run(database: str) -> None:
    async with a_cluster(database) as cluster:
        agent = await cluster.agent()
        await cluster.register(a_task("a", retry=RetryPolicy(retries=1, delay=0.01)))
        run_id = await cluster.submit()
        for number in (1, 2):
            order = await agent.orders.get()
            assert order.attempt.number == number
            agent.fail(order)
        record = await cluster.ended(run_id)
        assert (record.state, record.counts) == (RunState.FAILED, {TaskRunState.FAILED: 1})


async def test_a_cancelled_run_stops_what_is_live_and_starts_nothing(database: str) -> None:
    async with a_cluster(database) as cluster:
        agent = await cluster.agent()
        await cluster.register(a_task("a"), a_task("b", "a"))
        run_id = await cluster.submit()
        order = await agent.orders.get()
        agent.start(order)
        await cluster.cancel(run_id)
        assert await agent.cancels.get() == order.name
        agent.finish(order)
        record = await cluster.ended(run_id)
        assert (record.state, record.reason) == (RunState.CANCELLED, "enough")
        assert record.counts == {TaskRunState.SUCCEEDED: 1, TaskRunState.CANCELLED: 1}
        assert agent.orders.empty()


async def test_an_attempt_whose_agent_came_back_without_it_is_lost_and_tried_again(database: str) -> None:
    async with a_cluster(database) as cluster:
        agent = await cluster.agent()
        await cluster.register(a_task("a"))
        run_id = await cluster.submit()
        order = await agent.orders.get()
        agent.start(order)
        agent.hang_up()
        await agent.connect()
        again = await agent.orders.get()
        assert again.attempt.number == 2
        agent.finish(again)
        assert (await cluster.ended(run_id)).state is RunState.SUCCEEDED


async def test_an_order_that_never_arrived_is_taken_back_at_no_cost(database: str) -> None:
    async with a_cluster(database) as cluster:
        agent = await cluster.agent()
        await cluster.register(a_task("a"))
        run_id = await cluster.submit()
        for number in range(1, 8):
            order = await agent.orders.get()
            assert order.attempt.number == number
            agent.hang_up()
            await agent.connect()
        agent.finish(await agent.orders.get())
        assert (await cluster.ended(run_id)).state is RunState.SUCCEEDED


async def test_a_held_attempt_is_kept_and_a_foreign_one_is_stale(database: str) -> None:
    async with a_cluster(database) as cluster:
        agent = await cluster.agent()
        await cluster.register(a_task("a"))
        run_id = await cluster.submit()
        order = await agent.orders.get()
        agent.start(order)
        foreign = Held(order.name.__class__(run_id, 0, -1, 7, order.name.token), None)
        agent.hang_up()
        await agent.connect(Held(order.name, order.attempt.started_at), foreign)
        assert await agent.stales.get() == foreign.name
        agent.finish(order)
        assert (await cluster.ended(run_id)).state is RunState.SUCCEEDED
        assert agent.orders.empty()


async def test_what_a_lost_agent_held_goes_to_another(database: str) -> None:
    async with a_cluster(database, Terms(0.2, 0.4), heartbeat=0.05) as cluster:
        silent = await cluster.agent("silent")
        await cluster.register(a_task("a"))
        run_id = await cluster.submit()
        order = await silent.orders.get()
        silent.start(order)
        other = await cluster.agent("other")
        other.answers = True
        again = await other.orders.get()
        assert again.attempt.number == 2
        other.finish(again)
        assert (await cluster.ended(run_id)).state is RunState.SUCCEEDED


async def test_an_owner_that_stalled_hears_what_waits_before_it_judges_silence(database: str) -> None:
    async with a_cluster(database, Terms(0.2, 0.4), heartbeat=0.05) as cluster:
        agent = await cluster.agent()
        agent.answers = True
        await cluster.register(a_task("a"))
        run_id = await cluster.submit()
        order = await agent.orders.get()
        agent.answers = False
        agent.start(order)
        while order.attempt.started_at is None:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        time.sleep(0.6)  # noqa: ASYNC251 - the process stalls
        cluster.owner.current().tell(ReviewDue())
        agent.finish(order)
        assert await agent.acknowledged.get() == agent.said
        assert (await cluster.run(run_id)).state is RunState.SUCCEEDED


async def test_an_owner_that_stalled_judges_silence_only_after_sockets_were_read(database: str) -> None:
    async with a_cluster(database, Terms(0.2, 0.4), heartbeat=0.05) as cluster:
        agent = await cluster.agent()
        await cluster.register(a_task("a"))
        run_id = await cluster.submit()
        order = await agent.orders.get()
        agent.start(order)
        while order.attempt.started_at is None:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        time.sleep(1.5)  # noqa: ASYNC251 - the process stalls
        for _ in range(20):  # the review that was due meanwhile rings, and nothing was heard yet
            await asyncio.sleep(0.01)
        agent.finish(order)
        assert (await cluster.ended(run_id)).state is RunState.SUCCEEDED
        assert order.attempt.number == 1


async def test_a_new_owner_goes_on_where_the_old_one_ended(database: str) -> None:
    async with a_cluster(database) as first:
        agent = await first.agent()
        await first.register(a_task("a"), a_task("b", uses=("a",)), a_task("c", "b", trigger_rule=TriggerRule.ALL_DONE))
        run_id = await first.submit()
        order = await agent.orders.get()
        agent.finish(order, b'"from before"')
        held = await agent.orders.get()
        agent.start(held)
        version = first.version
    async with a_cluster(database) as second:
        second.version = version
        again = await second.agent()
        assert again.epoch > agent.epoch
        reborn = type(agent)(second, "a1", agent_id=agent.agent_id)
        again.hang_up()
        await reborn.connect(Held(held.name, held.attempt.started_at))
        reborn.finish(held)
        await reborn.work_off("c")
        record = await second.ended(run_id)
        assert record.counts == {TaskRunState.SUCCEEDED: 3}


async def test_a_fenced_owner_stops_and_comes_back_with_a_new_epoch(database: str) -> None:
    async with a_cluster(database) as cluster:
        agent = await cluster.agent()
        await cluster.register(a_task("a"))
        async with cluster.writes.connection() as conn:
            await conn.execute("UPDATE leadership SET epoch = epoch + 1")
        run_id = await cluster.submit()
        await agent.closed.wait()
        await cluster.owner.took_over.wait()
        await agent.connect()
        assert agent.epoch >= 3
        await agent.work_off("a")
        assert (await cluster.ended(run_id)).state is RunState.SUCCEEDED


@pytest.mark.parametrize("kind", [FailureKind.AGENT_LOST, FailureKind.PREEMPTED, FailureKind.INTERNAL])
async def test_losses_of_the_infrastructure_cost_none_of_the_tasks_own_retries(
    database: str, kind: FailureKind
) -> None:
    async with a_cluster(database) as cluster:
        agent = await cluster.agent()
        await cluster.register(a_task("a"))
        run_id = await cluster.submit()
        for _ in range(3):
            agent.fail(await agent.orders.get(), kind)
        agent.finish(await agent.orders.get())
        assert (await cluster.ended(run_id)).state is RunState.SUCCEEDED


async def test_waiting_attempts_are_taken_back_for_an_idle_agent(database: str) -> None:
    async with a_cluster(database) as cluster:
        await cluster.register(a_task("warm"), *(a_task(f"t{i}", "warm") for i in range(8)))
        busy = await cluster.agent("busy", cpu_millis=1000)
        run_id = await cluster.submit()
        busy.finish(await busy.orders.get(), seconds=0.001)
        orders = [await busy.orders.get() for _ in range(8)]
        busy.start(orders[0])
        idle = await cluster.agent("idle", cpu_millis=1000)
        first = await busy.recalled.get()
        busy.say(returned=(first,))
        moved = await idle.orders.get()
        assert moved.attempt.number == 2
        idle.finish(moved)
        for order in orders:
            if order.name.task != moved.name.task:
                busy.finish(order)
        assert (await cluster.ended(run_id)).state is RunState.SUCCEEDED


async def test_waiting_attempts_move_though_something_waits_that_nobody_has_room_for(database: str) -> None:
    async with a_cluster(database) as cluster:
        huge = a_task("huge", resources=Resources(64_000))
        await cluster.register(a_task("warm"), huge, *(a_task(f"t{i}", "warm") for i in range(4)))
        busy = await cluster.agent("busy", cpu_millis=1000)
        await cluster.submit()
        busy.finish(await busy.orders.get(), seconds=0.001)
        busy.start(await busy.orders.get())
        await cluster.agent("too-small", cpu_millis=500)
        idle = await cluster.agent("idle", cpu_millis=1000)
        taken = await busy.recalled.get()
        busy.say(returned=(taken,))
        assert (await idle.orders.get()).name.task == taken.task


async def test_attempts_that_an_idle_agent_could_not_take_are_left_where_they_are(database: str) -> None:
    async with a_cluster(database) as cluster:
        await cluster.register(a_task("warm"), *(a_task(f"t{i}", "warm") for i in range(4)))
        busy = await cluster.agent("busy", cpu_millis=1000)
        await cluster.submit()
        busy.finish(await busy.orders.get(), seconds=0.001)
        orders = [await busy.orders.get() for _ in range(4)]
        await cluster.agent("too-small", cpu_millis=500)
        board = cluster.owner.current().board
        assert board.recall(datetime.now(UTC) + timedelta(seconds=9), 0.05) == []
        await cluster.agent("idle", cpu_millis=1000)
        movable = board.recall(datetime.now(UTC) + timedelta(seconds=9), 0.05)
        assert {name for _, name in movable} <= {order.name for order in orders}
        assert len(movable) == 2


async def test_an_agent_that_comes_back_to_a_new_owner_as_it_was_writes_nothing(database: str) -> None:
    async with a_cluster(database) as first:
        agent = await first.agent()
    async with a_cluster(database) as second:
        written = await agent_rows(second)
        returning = type(agent)(second, "a1", agent_id=agent.agent_id)
        moved = asyncio.create_task(second.owner.agents_changed(0))
        await returning.connect()
        await moved
        assert await agent_rows(second) == written
        returning.hang_up()
        await second.owner.agents_changed(1)
        assert await agent_rows(second) != written


async def agent_rows(cluster: Cluster) -> list[AgentRecord]:
    async with cluster.pool.connection() as conn:
        return await agents.list_agents(conn)

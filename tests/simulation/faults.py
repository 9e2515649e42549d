"""All that goes wrong, and how often. Each fault ends by itself, or at the latest when faults stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from podium_coordinator.app.events import AttemptName
from podium_coordinator.domain.lifecycle import Finish
from podium_coordinator.domain.states import AttemptState
from tests.simulation.adapter import ring_old_timers
from tests.simulation.coordinator import Coordinator
from tests.simulation.messages import FromAgent
from tests.simulation.tables import LIVE_ATTEMPT

if TYPE_CHECKING:
    from tests.simulation.world import World

FOR_GOOD = 1e9
Fault = Callable[["World"], None]


def a_coordinator_dies(world: World) -> None:
    node = _one(world)
    if node is not None:
        node.kill()
        _replace(world, node, world.chance.pick([0.05, 0.5, 3.0, 20.0]))


def a_coordinator_is_stopped(world: World) -> None:
    """It hands the shard over."""
    node = _one(world)
    if node is not None and not node.frozen:
        node.shut_down()
        _replace(world, node, world.chance.pick([0.5, 3.0]))


def a_coordinator_freezes(world: World) -> None:
    node = _one(world)
    if node is not None and not node.frozen:
        node.freeze()
        world.later(world.chance.pick([0.3, 2.0, 8.0, 14.0, 35.0, 60.0]), node.thaw)


def an_owner_sleeps_and_meets_its_agents(world: World) -> None:
    """It freezes until another has taken over; when it thaws, agents that lost that other one knock at its door."""
    node = world.owning()
    if node is not None and not node.frozen and world.coordinator_count > 1:
        node.freeze()
        world.later(0.1, world.break_all_streams)
        asleep = world.chance.between(10.5, 16.0)
        world.later(asleep, node.thaw)
        world.later(asleep - world.chance.between(0.01, 2.0), world.break_all_streams)


def an_owner_sleeps_until_an_agent_is_back(world: World) -> None:
    """The agent was away for nearly as long as makes it lost; when the only owner wakes, its words wait there."""
    node = world.owning()
    if node is not None and not node.frozen and world.coordinator_count == 1:
        node.freeze()
        world.later(33.0, node.thaw)
        world.chance.pick(world.agents).restart_session(world.chance.between(30.0, 32.0))


def a_coordinator_is_cut_from_the_store(world: World) -> None:
    node = _one(world)
    if node is not None and not node.wire.cut:
        node.wire.cut = True
        world.later(world.chance.pick([0.1, 1.0, 6.0, 14.0, 30.0]), lambda: _join(node))


def connections_to_the_store_break(world: World) -> None:
    node = _one(world)
    if node is not None:
        world.store.free(node.candidate)
        node.wire.reset()


def commits_go_wrong(world: World) -> None:
    world.store.unlucky = world.chance.pick([0.05, 0.3, 1.0])
    world.later(world.chance.pick([0.05, 1.0, 4.0]), lambda: setattr(world.store, "unlucky", 0.0))


def an_agent_crashes(world: World) -> None:
    world.chance.pick(world.agents).crash(world.chance.pick([0.01, 1.0, 12.0, 45.0]))


def an_agent_is_gone_for_good(world: World) -> None:
    """One of those whose work others can do."""
    if len(world.agents) > world.fewest_agents:
        world.agents.pop(world.chance.below(len(world.agents) - world.fewest_agents) + world.fewest_agents).crash(
            FOR_GOOD
        )


def an_agents_session_dies(world: World) -> None:
    world.chance.pick(world.agents).restart_session(world.chance.pick([0.01, 0.3, 3.0]))


def an_agent_freezes(world: World) -> None:
    agent = world.chance.pick(world.agents)
    if not agent.frozen:
        agent.freeze()
        world.later(world.chance.pick([0.5, 5.0, 12.0, 40.0]), agent.thaw)


def an_agent_drains(world: World) -> None:
    agent = world.chance.pick(world.agents)
    if agent.up and not agent.draining and not agent.frozen:
        agent.drain()
        world.later(world.chance.pick([1.0, 10.0]), agent.reopen)


def the_network_parts(world: World) -> None:
    """One agent or all of them cannot reach a coordinator, or hear it, or both."""
    chance = world.chance
    number = chance.below(world.coordinator_count)
    agents = world.agents if chance.happens(0.2) else [chance.pick(world.agents)]
    up, down = chance.pick([(True, True), (True, False), (False, True)])
    pairs = [(agent.number, number) for agent in agents]
    for pair in pairs:
        world.network.partition(pair, up, down)
    world.later(chance.pick([0.2, 2.0, 12.0, 20.0, 50.0]), lambda: world.network.heal_all(pairs))


def a_session_breaks(world: World) -> None:
    streams = world.streams()
    if streams:
        world.chance.pick(streams).break_off()


def the_network_is_slow(world: World) -> None:
    world.network.slow = world.chance.pick([0.02, 0.3])
    world.later(world.chance.pick([1.0, 5.0]), lambda: setattr(world.network, "slow", 0.002))


def an_agent_lies(world: World) -> None:
    """It speaks for an attempt under a wrong token, number or task, or for one that is not its own."""
    chance = world.chance
    rows = [row for runs in world.store.tables.runs.values() for rows in runs.attempts for row in rows[-1:]]
    live = [row for row in rows if row.state in LIVE_ATTEMPT]
    if not live:
        return
    row = chance.pick(live)
    owner = next((agent for agent in world.agents if agent.agent_id == row.agent_id), world.agents[0])
    run_id = world.store.tables.places[row.token][0]
    name = AttemptName(run_id, row.task, row.map_index, row.number, row.token)
    speaker, forged = chance.pick(
        [
            (chance.pick([agent for agent in world.agents if agent is not owner] or [owner]), name),
            (owner, name._replace(token=chance.bytes(16))),
            (owner, name._replace(number=name.number + chance.pick([-1, 1]))),
            (owner, name._replace(task=name.task + chance.pick([-1, 1, 100]))),
        ]
    )
    if forged == name and speaker is owner:
        return
    said = chance.below(3)
    finish = Finish(AttemptState.SUCCEEDED, output=b"forged")
    at = world.timeline.instant
    speaker.forge(
        FromAgent(
            started=[(forged, at)] if said == 0 else [],
            finished=[(forged, finish, 1.0)] if said == 1 else [],
            returned=[forged] if said == 2 else [],
        )
    )


def an_agent_returns_what_it_executes(world: World) -> None:
    """Its word comes too late: the attempt has begun."""
    for agent in world.chance.shuffled(world.agents):
        begun = [held.order.name for held in agent.attempts.values() if held.started_at and not held.report]
        running = [name for name in begun if world.runs_by_its_row(name.token)]
        if running:
            agent.forge(FromAgent(returned=[world.chance.pick(running)]))
            return


def old_timers_ring(world: World) -> None:
    """Timers set for attempts that are no longer the newest are void, and so are those whose wait is over."""
    node = world.owning()
    shard = node.shard if node is not None and not node.frozen else None
    if shard is None:
        return
    for live in list(shard.board.runs.values()):
        for index, newest in enumerate(live.run.numbers):
            for number in range(max(0, newest - 1), newest + 1):
                ring_old_timers(shard, live.run, index, number)


def _one(world: World) -> Coordinator | None:
    """Return a coordinator to harm: mostly the one that owns the shard."""
    return world.owning() if world.chance.happens(0.7) else world.some_coordinator()


def _replace(world: World, node: Coordinator, away: float) -> None:
    """Start another process in its place."""
    world.later(away, lambda: world.start_coordinator(node.number))


def _join(node: Coordinator) -> None:
    node.wire.cut = False
    node.wire.reset()


LIKELIHOOD: dict[Fault, int] = {
    a_coordinator_dies: 3,
    a_coordinator_is_stopped: 2,
    a_coordinator_freezes: 3,
    an_owner_sleeps_and_meets_its_agents: 2,
    an_owner_sleeps_until_an_agent_is_back: 1,
    a_coordinator_is_cut_from_the_store: 3,
    connections_to_the_store_break: 2,
    commits_go_wrong: 8,
    an_agent_crashes: 5,
    an_agent_is_gone_for_good: 2,
    an_agents_session_dies: 4,
    an_agent_freezes: 4,
    an_agent_drains: 2,
    the_network_parts: 6,
    a_session_breaks: 6,
    the_network_is_slow: 2,
    an_agent_lies: 14,
    an_agent_returns_what_it_executes: 6,
    old_timers_ring: 12,
}

"""Liveness: once faults stop and everything is answered, every run ends and nobody holds anything."""

from __future__ import annotations

from tests.unit.domain.simulation.agents import SimulatedAgent, a_random_finish
from tests.unit.domain.simulation.chance import Chance
from tests.unit.domain.simulation.happenings import MOST_RUNS, a_run_is_taken_up, tasks_are_placed
from tests.unit.domain.simulation.ledger import demand
from tests.unit.domain.simulation.world import World

MOST_ROUNDS = 300


def calm_down(world: World, chance: Chance) -> None:
    """Go on without faults; raises ViolationError if that does not bring everything to its end."""
    for _ in range(MOST_ROUNDS):
        if not world.database.unfinished() and not _busy(world):
            break
        _one_round(world, chance)
    left = {record.run_id: record.state for record in world.database.unfinished()}
    demand(not left, f"without faults, runs do not end: {left}")
    demand(not _busy(world), "without faults, agents still hold attempts")
    demand(not world.owner.runs and not world.owner.queue, "the owner still holds runs")


def _busy(world: World) -> bool:
    return any(agent.held or agent.inbox or agent.outbox for agent in world.agents)


def _one_round(world: World, chance: Chance) -> None:
    for agent in world.agents:
        if not agent.connected:
            world.connect(agent, chance)
        world.beat(agent)
    for _ in range(MOST_RUNS):
        a_run_is_taken_up(world, chance)
    world.judge()
    tasks_are_placed(world, chance)
    world.judge()
    world.commit()
    for agent in world.agents:
        _work(world, agent, chance)
    while world.reports:
        world.hear(world.reports.pop(0))
        world.judge()
    world.commit()
    if not _busy(world) and world.timers:
        world.instant = max(world.instant, world.timers[0][0])
    world.ring(chance)
    world.judge()


def _work(world: World, agent: SimulatedAgent, chance: Chance) -> None:
    """Obey, start and end everything, and tell it."""
    while agent.inbox:
        agent.read(world.now)
    for held in agent.waiting():
        if not held.stopping:
            agent.begin(held, world.now)
    for held in list(agent.held.values()):
        if held.finish is None:
            agent.end(held, a_random_finish(held, chance), world.now)
    agent.say_again(world.now)
    world.reports += agent.outbox
    agent.outbox.clear()

"""Everything that can happen to a world, good and bad. `LIKELIHOOD` lists it all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from podium_coordinator.domain import lifecycle
from podium_coordinator.domain.ids import RANDOM_BITS, uuid7
from podium_coordinator.domain.lifecycle import IllegalTransitionError
from podium_coordinator.domain.run import Effects, new_run
from podium_coordinator.domain.states import AttemptState, RunState, TaskRunState
from tests.unit.domain.simulation.agents import Name, Report, Said, Word, a_random_finish
from tests.unit.domain.simulation.chance import Chance
from tests.unit.domain.simulation.definitions import a_random_workflow
from tests.unit.domain.simulation.ledger import demand, seen
from tests.unit.domain.simulation.owner import name_of
from tests.unit.domain.simulation.world import World

MOST_RUNS = 3


def a_run_is_submitted(world: World, chance: Chance) -> None:
    if len(world.database.unfinished()) < MOST_RUNS:
        run_id = uuid7(int(world.now.timestamp() * 1000), chance.below(2**RANDOM_BITS))
        world.database.insert_run(run_id, a_random_workflow(chance), world.now)


def a_run_is_taken_up(world: World, chance: Chance) -> None:
    """The owner finds queued runs, and starts one of those it has found."""
    runs = world.owner.runs
    for run_id, record in world.database.runs.items():
        if record.state is RunState.QUEUED and run_id not in runs:
            runs[run_id] = new_run(run_id, world.database.workflows[run_id].graph)
    queued = [run for run in runs.values() if run.state is RunState.QUEUED]
    if queued:
        lifecycle.start(chance.pick(queued), world.now, world.owner.effects)


def a_run_is_cancelled(world: World, chance: Chance) -> None:
    if world.owner.runs:
        world.cancel(chance.pick(list(world.owner.runs.values())))


def tasks_are_placed(world: World, chance: Chance) -> None:
    world.owner.fill(world.now, 1 + chance.below(8), chance)


def a_batch_is_committed(world: World, _: Chance) -> None:
    world.commit()


def a_commits_outcome_is_unknown(world: World, chance: Chance) -> None:
    """The connection breaks: the batch is stored or not, nobody is told, and the memory is dropped."""
    if chance.happens(0.5):
        world.database.apply(world.owner.epoch, world.owner.effects)
    the_owner_dies(world, chance)


def the_owner_dies(world: World, chance: Chance) -> None:
    """Another takes over; timers of the old one may still ring."""
    if chance.happens(0.5):
        world.timers.clear()
    world.take_over()


def time_passes(world: World, chance: Chance) -> None:
    """Most agents in session give a sign of life."""
    world.instant += chance.pick([0.1, 0.9, 1.0, 3.0, 3.0, 9.0, 31.0])
    for agent in world.agents:
        if agent.connected and chance.happens(0.8):
            world.beat(agent)
    world.ring(chance)
    world.review()


def old_timers_ring(world: World, chance: Chance) -> None:
    """Timers set for attempts that are no longer the newest are void."""
    attempted = [(run, index) for run in world.owner.runs.values() for index, n in enumerate(run.numbers) if n]
    for run, index in attempted:
        number = chance.below(run.numbers[index])
        before, effects = seen(run), Effects()
        if number:
            lifecycle.retry_due(run, index, number, effects)
        if run.graph.terms_for(index).start_timeout is not None:
            lifecycle.start_expired(run, index, number, world.now, effects)
        demand((before, effects) == (seen(run), Effects()), f"an old timer moved {index}")


def an_agent_connects(world: World, chance: Chance) -> None:
    apart = [agent for agent in world.agents if not agent.connected]
    if apart:
        world.connect(chance.pick(apart), chance)


def a_session_breaks(world: World, chance: Chance) -> None:
    world.disconnect(chance.pick(world.agents), chance)


def an_agent_crashes(world: World, chance: Chance) -> None:
    agent = chance.pick(world.agents)
    world.disconnect(agent, chance)
    agent.crash()


def an_agent_reads(world: World, chance: Chance) -> None:
    agents = [agent for agent in world.agents if agent.inbox]
    if not agents:
        return
    agent = chance.pick(agents)
    for word, name in agent.inbox:
        born = world.database.attempts.get((name.run_id, name.index, name.number))
        stored = word is not Word.EXECUTE or (born is not None and born.token == name.token)
        demand(stored, "an order left before its commit")
    for _ in range(1 + chance.below(len(agent.inbox))):
        agent.read(world.now)


def an_agent_starts(world: World, chance: Chance) -> None:
    agent = chance.pick(world.agents)
    if agent.waiting():
        agent.begin(chance.pick(agent.waiting()), world.now)


def an_attempt_ends(world: World, chance: Chance) -> None:
    agent = chance.pick(world.agents)
    ready = [*agent.executing(), *agent.stopping()]
    if ready:
        held = chance.pick(ready)
        agent.end(held, a_random_finish(held, chance), world.now)
    elif agent.waiting() and chance.happens(0.1):
        agent.give_back(chance.pick(agent.waiting()), world.now)


def an_agent_tells(world: World, chance: Chance) -> None:
    """What an agent has to say goes on its way; some of it twice."""
    agent = chance.pick(world.agents)
    if chance.happens(0.1):
        agent.say_again(world.now)
    world.reports += agent.outbox + chance.some(agent.outbox, 1)
    agent.outbox.clear()


def an_attempt_is_asked_back(world: World, chance: Chance) -> None:
    live = [(run, index) for run in world.owner.runs.values() for index in run.attempts]
    if live:
        run, index = chance.pick(live)
        attempt = run.attempts[index]
        world.owner.words.append((attempt.agent_id, Word.GIVE_BACK, name_of(run, index, attempt)))


def a_report_arrives(world: World, chance: Chance) -> None:
    """Any of those under way: late ones after newer ones, some more than once."""
    if world.reports:
        position = chance.below(len(world.reports))
        world.hear(world.reports[position] if chance.happens(0.2) else world.reports.pop(position))


def a_forged_report_arrives(world: World, chance: Chance) -> None:
    """It names a stored attempt and is right but for one thing, or gives back what executes."""
    stored = [(run_id, task, row) for (run_id, task, _), row in world.database.attempts.items()]
    live = [found for found in stored if found[2].state in (AttemptState.ASSIGNED, AttemptState.RUNNING)]
    if not stored:
        return
    run_id, task, row = chance.pick(live or stored)
    name = Name(run_id, task, row.number, row.token)
    said = chance.pick([*Said])
    finish = lifecycle.Finish(AttemptState.SUCCEEDED, output=b"2") if said is Said.FINISHED else None
    report = Report(row.agent_id, said, name, world.now, finish)
    forged = [
        replace(report, agent_id=chance.uuid()),
        replace(report, name=replace(name, token=chance.uuid().bytes)),
        replace(report, name=replace(name, number=name.number + chance.pick([-1, 1]))),
        replace(report, name=replace(name, index=task + chance.pick([-1, 1, 100]))),
    ]
    if row.state is AttemptState.RUNNING:
        forged.append(replace(report, said=Said.RETURNED, finish=None))
    world.hear(chance.pick(forged))


def the_impossible_is_asked(world: World, chance: Chance) -> None:
    """A fault elsewhere asks for an attempt that must not be: it is refused, and nothing changes."""
    candidates = [
        (run, index)
        for run in world.owner.runs.values()
        for index in range(len(run.states))
        if run.state is not RunState.RUNNING or run.state_of(index) is not TaskRunState.SCHEDULED
    ]
    if not candidates:
        return
    run, index = chance.pick(candidates)
    before, effects = seen(run), Effects()
    try:
        lifecycle.assign(run, index, chance.uuid().bytes, world.agents[0].agent_id, world.now, effects)
    except IllegalTransitionError:
        demand((before, effects) == (seen(run), Effects()), "a refused order left traces")
    else:
        demand(False, f"an attempt of {index} was born though it is {before.states[index]} in {before.state}")


LIKELIHOOD: dict[Callable[[World, Chance], None], int] = {
    a_run_is_submitted: 6,
    a_run_is_taken_up: 6,
    a_run_is_cancelled: 1,
    tasks_are_placed: 14,
    a_batch_is_committed: 16,
    a_commits_outcome_is_unknown: 1,
    the_owner_dies: 1,
    time_passes: 10,
    old_timers_ring: 4,
    an_agent_connects: 8,
    a_session_breaks: 2,
    an_agent_crashes: 2,
    an_agent_reads: 14,
    an_agent_starts: 12,
    an_attempt_ends: 14,
    an_agent_tells: 14,
    an_attempt_is_asked_back: 4,
    a_report_arrives: 20,
    a_forged_report_arrives: 8,
    the_impossible_is_asked: 4,
}

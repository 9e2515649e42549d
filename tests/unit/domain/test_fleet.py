"""How agents' standing follows from when they were last heard."""

from __future__ import annotations

from uuid import UUID

import pytest

from podium_coordinator.domain.fleet import BRAKE_TERMS, Agent, Fleet, Terms
from podium_coordinator.domain.seating import Seat
from podium_coordinator.domain.states import AgentState
from tests.unit.domain.builders import RUN_ID, needs

CONNECTED, DISCONNECTED, LOST = AgentState.CONNECTED, AgentState.DISCONNECTED, AgentState.LOST
TERMS = Terms(disconnected_after=10.0, lost_after=30.0)


def a_fleet(connected: int = 0, now: float = 0.0) -> Fleet:
    """Return a fleet of so many agents in session, each with a live attempt."""
    fleet = Fleet(TERMS)
    for number in range(connected):
        busy(an_agent(fleet, number, now))
    return fleet


def an_agent(fleet: Fleet, number: int, now: float = 0.0) -> Agent:
    agent = fleet.expect(UUID(int=0xA0 + number), f"agent-{number}", now)
    fleet.connect(agent, now)
    return agent


def busy(agent: Agent) -> Agent:
    agent.seat.take(RUN_ID, agent.agent_id.int, needs())
    return agent


def standing(fleet: Fleet) -> list[AgentState]:
    return [agent.state for agent in fleet.agents.values()]


def hear_all_but(fleet: Fleet, silent: int, now: float) -> None:
    """Hear all agents but the first `silent`."""
    for agent in list(fleet.agents.values())[silent:]:
        fleet.hear(agent, now)


def review_whenever_due(fleet: Fleet, until: float) -> list[tuple[float, list[str]]]:
    """Review at each instant the fleet names; return when whose state changed."""
    changes: list[tuple[float, list[str]]] = []
    now = 0.0
    for _ in range(100):
        due = fleet.next_review()
        if due is None or due > until:
            return changes
        assert due > now or not changes, "asked for the same review again"
        now = due
        changes.append((now, [f"{agent.seat.name} {agent.state}" for agent in fleet.review(now)]))
    raise AssertionError("the fleet asks for reviews without end")


def open_seats(fleet: Fleet) -> list[Seat]:
    return [agent.seat for agent in fleet.agents.values() if agent.seat.open]


def test_an_agent_that_connects_is_in_session_and_can_be_given_work() -> None:
    fleet = a_fleet()
    agent = fleet.expect(UUID(int=1), "agent-1", 5.0)
    assert (agent.state, agent.session, open_seats(fleet)) == (DISCONNECTED, 0, [])
    assert fleet.connect(agent, 6.0) == 1
    assert (agent.state, agent.last_heard, open_seats(fleet)) == (CONNECTED, 6.0, [agent.seat])


def test_an_agent_that_is_known_is_expected_only_once() -> None:
    fleet = a_fleet()
    agent = an_agent(fleet, 1, now=5.0)
    assert fleet.expect(agent.agent_id, "", 99.0) is agent
    assert (agent.seat.name, agent.last_heard, agent.state) == ("agent-1", 5.0, CONNECTED)


def test_each_connection_is_a_session_of_its_own() -> None:
    fleet = a_fleet()
    agent = an_agent(fleet, 1)
    fleet.disconnect(agent)
    assert (fleet.connect(agent, 1.0), agent.session) == (2, 2)


def test_a_silent_agent_is_disconnected_after_its_term_and_not_before() -> None:
    fleet = a_fleet(3)
    hear_all_but(fleet, 1, 9.0)
    assert fleet.review(9.999) == []
    (changed,) = fleet.review(10.0)
    assert (changed.seat.name, standing(fleet)) == ("agent-0", [DISCONNECTED, CONNECTED, CONNECTED])
    assert changed.seat not in open_seats(fleet)
    assert fleet.review(10.1) == []


def test_a_silent_agent_is_lost_after_a_longer_term_and_not_before() -> None:
    fleet = a_fleet(3)
    hear_all_but(fleet, 1, 29.0)
    fleet.review(29.999)
    assert standing(fleet) == [DISCONNECTED, CONNECTED, CONNECTED]
    (changed,) = fleet.review(30.0)
    assert (changed.seat.name, standing(fleet)) == ("agent-0", [LOST, CONNECTED, CONNECTED])
    assert fleet.review(31.0) == []


def test_a_late_review_names_an_agent_once_that_went_all_the_way() -> None:
    fleet = a_fleet(3)
    hear_all_but(fleet, 1, 50.0)
    (changed,) = fleet.review(50.0)
    assert (changed.seat.name, changed.state) == ("agent-0", LOST)


def test_a_sign_of_life_brings_a_silent_agent_back() -> None:
    fleet = a_fleet(3)
    hear_all_but(fleet, 1, 15.0)
    fleet.review(15.0)
    agent = fleet.agents[UUID(int=0xA0)]
    assert fleet.hear(agent, 16.0)
    assert (agent.state, agent.seat in open_seats(fleet)) == (CONNECTED, True)
    assert not fleet.hear(agent, 17.0)
    assert agent.last_heard == 17.0


def test_an_agent_whose_session_ended_is_disconnected_at_once_and_lost_after_its_term() -> None:
    fleet = a_fleet(3)
    agent = fleet.agents[UUID(int=0xA0)]
    fleet.disconnect(agent)
    assert (agent.state, agent.seat in open_seats(fleet)) == (DISCONNECTED, False)
    hear_all_but(fleet, 1, 29.0)
    assert fleet.review(29.0) == []
    assert fleet.review(30.0) == [agent]
    assert agent.state is LOST


def test_the_end_of_a_lost_agents_session_does_not_bring_it_back() -> None:
    fleet = a_fleet(3)
    hear_all_but(fleet, 1, 30.0)
    (agent,) = fleet.review(30.0)
    fleet.disconnect(agent)
    assert agent.state is LOST


def test_a_lost_agent_may_connect_again() -> None:
    fleet = a_fleet(3)
    hear_all_but(fleet, 1, 30.0)
    (agent,) = fleet.review(30.0)
    fleet.connect(agent, 31.0)
    assert (agent.state, agent.last_heard, agent.seat in open_seats(fleet)) == (CONNECTED, 31.0, True)


def test_a_draining_agent_is_given_nothing_until_it_connects_anew() -> None:
    fleet = a_fleet(2)
    agent = fleet.agents[UUID(int=0xA0)]
    fleet.drain(agent)
    fleet.hear(agent, 1.0)
    assert (agent.state, agent.draining, agent.seat in open_seats(fleet)) == (CONNECTED, True, False)
    hear_all_but(fleet, 1, 11.0)
    fleet.review(11.0)
    fleet.hear(agent, 12.0)
    assert (agent.state, agent.seat in open_seats(fleet)) == (CONNECTED, False)
    fleet.connect(agent, 13.0)
    assert (agent.draining, agent.seat in open_seats(fleet)) == (False, True)


def test_agents_from_before_a_takeover_have_a_full_term_from_then_on() -> None:
    fleet = a_fleet()
    expected = busy(fleet.expect(UUID(int=1), "agent-1", 1000.0))
    for number in (2, 3):
        an_agent(fleet, number, 1000.0)
    hear_all_but(fleet, 1, 1029.0)
    assert fleet.review(1029.999) == []
    assert fleet.review(1030.0) == [expected]
    assert expected.state is LOST


@pytest.mark.parametrize(("silent", "declared"), [(1, True), (2, True), (3, False), (4, False)])
def test_losses_are_declared_unless_more_agents_are_silent_than_in_session(silent: int, declared: bool) -> None:
    fleet = a_fleet(4)
    hear_all_but(fleet, silent, 30.0)
    fleet.review(30.0)
    assert fleet.braked(30.0) is not declared
    assert standing(fleet)[:silent] == [LOST if declared else DISCONNECTED] * silent


def test_the_brake_is_off_while_nobody_is_overdue() -> None:
    fleet = a_fleet(4)
    hear_all_but(fleet, 4, 0.0)
    fleet.review(29.0)
    assert standing(fleet) == [DISCONNECTED] * 4
    assert not fleet.braked(29.0)


def test_agents_that_hold_nothing_do_not_pull_the_brake() -> None:
    fleet = a_fleet(1)
    for number in range(1, 5):
        an_agent(fleet, number)
    busy(an_agent(fleet, 5, now=30.0))
    assert len(fleet.review(30.0)) == 5
    assert standing(fleet) == [LOST] * 5 + [CONNECTED]


def test_the_brake_ends_when_enough_agents_are_back() -> None:
    fleet = a_fleet(4)
    hear_all_but(fleet, 3, 40.0)
    fleet.review(40.0)
    assert fleet.braked(40.0)
    agents = list(fleet.agents.values())
    fleet.connect(agents[0], 41.0)
    assert fleet.next_review() == 30.0
    fleet.hear(agents[3], 41.0)
    assert fleet.review(41.0) == [agents[1], agents[2]]
    assert standing(fleet) == [CONNECTED, LOST, LOST, CONNECTED]


def test_the_brake_ends_after_some_terms_though_nobody_came_back() -> None:
    fleet = a_fleet(3)
    limit = BRAKE_TERMS * TERMS.lost_after
    fleet.review(limit - 0.001)
    assert standing(fleet) == [DISCONNECTED] * 3
    fleet.review(limit)
    assert standing(fleet) == [LOST] * 3
    assert fleet.next_review() is None


def test_reviews_are_due_exactly_when_silence_can_change_something_and_not_while_the_brake_holds() -> None:
    fleet = a_fleet(4)
    for number in (0xA1, 0xA2, 0xA3):
        fleet.hear(fleet.agents[UUID(int=number)], 4.0)
    assert review_whenever_due(fleet, until=1000.0) == [
        (10.0, ["agent-0 disconnected"]),
        (14.0, ["agent-1 disconnected", "agent-2 disconnected", "agent-3 disconnected"]),
        (30.0, []),
        (34.0, []),
        (150.0, ["agent-0 lost"]),
        (154.0, ["agent-1 lost", "agent-2 lost", "agent-3 lost"]),
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_so_few_agents_pull_no_brake(count: int) -> None:
    fleet = a_fleet(count)
    fleet.review(TERMS.lost_after)
    assert standing(fleet) == [LOST] * count


def test_a_fleet_of_nobody_needs_no_review() -> None:
    assert a_fleet().next_review() is None
    assert a_fleet().review(1e9) == []


@pytest.mark.parametrize("heard", [0.1, 1 / 3, 7.7, 123456.789, 1e9 + 0.1])
def test_a_review_at_the_instant_it_is_due_always_finds_what_it_is_due_for(heard: float) -> None:
    fleet = a_fleet()
    an_agent(fleet, 1, heard)
    for state in (DISCONNECTED, LOST):
        due = fleet.next_review()
        assert due is not None
        assert [agent.state for agent in fleet.review(due)] == [state]

"""Which agent gets which ready task run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.model.spec import Resources, TaskSpec
from podium_coordinator.domain.graph import SchedulingClass
from podium_coordinator.domain.lifecycle import assign, cancel
from podium_coordinator.domain.placement import Placement, ReadyQueue, Window, place
from podium_coordinator.domain.run import Effects, Run
from podium_coordinator.domain.seating import MOST_LIVE_ATTEMPTS, Seat, Seating
from tests.unit.domain.builders import NOW, RUN_ID, a_run, a_seat, a_task, needs, token

ENOUGH = 1_000


def always(window: float) -> Window:
    return lambda *_: window


ALONE = always(1.0)


def a_run_of(count: int, task: TaskSpec | None = None, number: int = 1) -> Run:
    """Return a run of so many ready tasks, all like the given one."""
    like = task or a_task("t")
    resources = Resources(like.resources.cpu_millis, like.resources.memory_bytes)
    tasks = [
        a_task(f"t{i}", resources=resources, priority=like.priority, labels=like.agent_labels) for i in range(count)
    ]
    return a_run(*tasks, run_id=UUID(int=RUN_ID.int + number))


def a_queue(*runs: Run) -> ReadyQueue:
    queue = ReadyQueue()
    for run in runs:
        for index in range(len(run.states)):
            queue.push(run, index)
    return queue


def made_true(placement: Placement) -> Placement:
    """Do what the caller of `place` does before it asks for the next."""
    run, index, seat = placement.run, placement.index, placement.seat
    assign(run, index, token(1), seat.agent_id, NOW, Effects())
    seat.take(run.run_id, index, run.graph.scheduling_class(index))
    return placement


def placed(queue: ReadyQueue, seats: Iterable[Seat], window: Window = ALONE, most: int = ENOUGH) -> list[Placement]:
    return [made_true(placement) for placement in place(queue, Seating(seats), window, most)]


def release_all(seats: Iterable[Seat]) -> None:
    for seat in seats:
        for run_id, index in list(seat.live):
            seat.release(run_id, index)


# Seats.


def test_a_seats_usage_is_that_of_the_attempts_it_holds() -> None:
    seat = a_seat(cpu_millis=4000, memory_bytes=1000)
    seat.take(RUN_ID, 0, needs(1500, 250))
    seat.take(RUN_ID, 1, needs(500, 500))
    assert (seat.cpu_used, seat.memory_used, seat.load) == (2000, 750, 0.75)
    seat.release(RUN_ID, 0)
    assert (seat.cpu_used, seat.memory_used, seat.load) == (500, 500, 0.5)


def test_letting_go_of_what_is_not_held_changes_nothing() -> None:
    seat = a_seat()
    seat.take(RUN_ID, 0, needs(1500))
    seat.release(RUN_ID, 0)
    seat.release(RUN_ID, 0)
    seat.release(RUN_ID, 1)
    assert (seat.cpu_used, seat.memory_used, seat.live) == (0, 0, {})


def test_taking_a_task_run_twice_books_it_once() -> None:
    seat = a_seat()
    seat.take(RUN_ID, 0, needs(1500, 7))
    seat.take(RUN_ID, 0, needs(1000, 5))
    assert (seat.cpu_used, seat.memory_used) == (1000, 5)
    seat.release(RUN_ID, 0)
    assert (seat.cpu_used, seat.memory_used) == (0, 0)


def test_an_agent_without_capacity_has_no_load() -> None:
    assert a_seat(cpu_millis=0, memory_bytes=0).load == 0.0


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        (needs(4000, 8000), True),
        (needs(4001), False),
        (needs(0, 8001), False),
        (needs(0, 0), True),
        (needs(labels=(("zone", "a"),)), True),
        (needs(labels=(("zone", "a"), ("gpu", "yes"))), True),
        (needs(labels=(("zone", "b"),)), False),
        (needs(labels=(("zone", "a"), ("disk", "ssd"))), False),
    ],
)
def test_what_an_empty_agent_could_take(asked: SchedulingClass, fits: bool) -> None:
    seat = a_seat(cpu_millis=4000, memory_bytes=8000, labels=(("zone", "a"), ("gpu", "yes")))
    assert seat.could_ever_fit(asked) is fits


@pytest.mark.parametrize(
    ("asked", "window", "room"),
    [
        (needs(1000), 1.0, True),
        (needs(1001), 1.0, False),
        (needs(1001), 1.5, True),
        (needs(3000), 1.5, True),
        (needs(3001), 1.5, False),
        (needs(0, 200), 1.0, True),
        (needs(0, 201), 1.0, False),
        (needs(0, 201), 1.5, True),
    ],
)
def test_the_window_says_how_many_times_its_capacity_an_agent_may_be_sent(
    asked: SchedulingClass, window: float, room: bool
) -> None:
    seat = a_seat(cpu_millis=4000, memory_bytes=1000)
    seat.take(RUN_ID, 0, needs(3000, 800))
    assert seat.room(asked, window) is room


def test_what_asks_for_nothing_of_a_resource_is_not_kept_out_by_a_queue_for_it() -> None:
    seat = a_seat(cpu_millis=1000, memory_bytes=1000)
    for index in range(3):
        seat.take(RUN_ID, index, needs(1000))
    assert seat.load == 3.0
    assert seat.room(needs(0, 500), 1.0)
    assert seat.room(needs(0, 0), 1.0)
    assert not seat.room(needs(1, 0), 1.0)


def test_an_agent_holds_a_bounded_number_of_attempts_whatever_they_ask_for() -> None:
    run, seat = a_run_of(MOST_LIVE_ATTEMPTS + 5, a_task("t", resources=Resources(0, 0))), a_seat()
    queue = a_queue(run)
    assert len(placed(queue, [seat], most=10_000)) == MOST_LIVE_ATTEMPTS
    assert not seat.room(needs(0, 0), 64.0)
    seat.release(run.run_id, 0)
    assert len(placed(queue, [seat], most=10_000)) == 1


# The queue.


def taken(queue: ReadyQueue) -> list[tuple[Run, int]]:
    """Take all that waits in the queue's one class."""
    found = []
    while (first := queue.first(needs())) is not None:
        found.append(first)
        queue.pop(needs())
    return found


def test_a_queue_gives_each_ready_task_run_once() -> None:
    run = a_run_of(3)
    assert taken(a_queue(run)) == [(run, 0), (run, 1), (run, 2)]


def test_looking_at_what_comes_first_does_not_take_it() -> None:
    first, second = a_run_of(2, number=1), a_run_of(2, number=2)
    queue = a_queue(first, second)
    assert [queue.first(needs()), queue.first(needs())] == [(first, 0), (first, 0)]
    assert taken(queue) == [(first, 0), (second, 0), (first, 1), (second, 1)]


def test_a_queue_is_true_exactly_while_something_is_in_it() -> None:
    run = a_run_of(1)
    queue = ReadyQueue()
    assert not queue
    queue.push(run, 0)
    assert queue
    queue.pop(needs())
    assert not queue
    queue.push(run, 0)
    queue.discard(run.run_id)
    assert not queue
    assert (queue.first(needs()), queue.classes()) == (None, [])


def test_what_is_no_longer_ready_is_passed_over() -> None:
    gone, stays = a_run_of(3, number=1), a_run_of(3, number=2)
    queue = a_queue(gone, stays)
    cancel(gone, "", NOW, Effects())
    assign(stays, 1, token(1), a_seat().agent_id, NOW, Effects())
    assert taken(queue) == [(stays, 0), (stays, 2)]
    assert not queue


def test_a_run_can_be_dropped_from_all_classes() -> None:
    mixed = a_run(a_task("a"), a_task("b", priority=1), run_id=UUID(int=RUN_ID.int + 9))
    other = a_run_of(1)
    queue = a_queue(mixed, other)
    queue.discard(mixed.run_id)
    assert queue.classes() == [needs()]
    assert taken(queue) == [(other, 0)]


# Placement.


def test_ready_tasks_fill_an_agent_up_to_its_capacity() -> None:
    queue, seat = a_queue(a_run_of(9)), a_seat(cpu_millis=4000)
    assert [placement.index for placement in placed(queue, [seat])] == [0, 1, 2, 3]
    assert seat.cpu_used == 4000
    release_all([seat])
    assert [placement.index for placement in placed(queue, [seat])] == [4, 5, 6, 7]
    release_all([seat])
    assert [placement.index for placement in placed(queue, [seat])] == [8]
    assert not queue


def test_a_call_makes_at_most_as_many_placements_as_it_may() -> None:
    queue = a_queue(a_run_of(9), a_run_of(9, a_task("t", priority=1), number=2))
    assert len(placed(queue, [a_seat(cpu_millis=100_000)], most=11)) == 11
    assert len(placed(queue, [a_seat(cpu_millis=100_000)], most=0)) == 0
    assert len(placed(queue, [a_seat(cpu_millis=100_000)])) == 7


def test_the_least_loaded_agent_goes_first() -> None:
    small, large = a_seat(1, cpu_millis=2000), a_seat(2, cpu_millis=6000)
    given_out = Counter(placement.seat.name for placement in placed(a_queue(a_run_of(4)), [small, large]))
    assert given_out == {"agent-1": 1, "agent-2": 3}


def test_tasks_that_ask_for_nothing_are_spread_over_agents_too() -> None:
    queue = a_queue(a_run_of(30, a_task("t", resources=Resources(0, 0))))
    given_out = Counter(placement.seat.name for placement in placed(queue, [a_seat(1), a_seat(2), a_seat(3)]))
    assert given_out == {"agent-1": 10, "agent-2": 10, "agent-3": 10}


def test_a_closed_agent_is_given_nothing() -> None:
    closed, opened = a_seat(1), a_seat(2)
    closed.open = False
    queue = a_queue(a_run_of(8))
    assert {placement.seat.name for placement in placed(queue, [closed, opened])} == {"agent-2"}
    assert closed.live == {}


def test_without_agents_everything_waits() -> None:
    queue = a_queue(a_run_of(2))
    assert placed(queue, []) == []
    assert len(placed(queue, [a_seat()])) == 2


def test_higher_priorities_go_first() -> None:
    tasks = [a_task("low", priority=-5), a_task("normal"), a_task("high", priority=7), a_task("higher", priority=8)]
    run = a_run(*tasks)
    queue = a_queue(run)
    order = []
    for _ in tasks:
        seat = a_seat(cpu_millis=1000)
        order += [run.graph.keys[placement.index] for placement in placed(queue, [seat])]
    assert order == ["higher", "high", "normal", "low"]


def test_a_small_run_does_not_wait_behind_all_of_a_large_one() -> None:
    large, small = a_run_of(50, number=1), a_run_of(2, number=2)
    given_out = placed(a_queue(large, small), [a_seat(cpu_millis=6000)])
    assert [placement.run is small for placement in given_out] == [False, True, False, True, False, False]


def test_runs_keep_their_turns_from_call_to_call() -> None:
    runs = [a_run_of(10, number=number) for number in range(1, 4)]
    queue, seat = a_queue(*runs), a_seat(cpu_millis=1000)
    order = []
    for _ in range(6):
        order += [runs.index(placement.run) for placement in placed(queue, [seat])]
        release_all([seat])
    assert order == [0, 1, 2, 0, 1, 2]


def test_classes_of_one_priority_take_turns_so_that_none_starves_the_others() -> None:
    wide, narrow = a_run_of(50, number=1), a_run_of(2, a_task("t", resources=Resources(900, 1)), number=2)
    queue, seat = a_queue(wide, narrow), a_seat(cpu_millis=1000)
    order = []
    for _ in range(5):
        order += [placement.run is narrow for placement in placed(queue, [seat])]
        release_all([seat])
    assert order == [False, True, False, True, False]


def test_a_class_that_found_no_room_keeps_its_turn() -> None:
    big, small = a_run_of(1, a_task("t", resources=Resources(2000)), number=1), a_run_of(9, number=2)
    queue, seat = a_queue(big, small), a_seat(cpu_millis=2000)
    seat.take(RUN_ID, 0, needs(1000))
    assert [placement.run is big for placement in placed(queue, [seat])] == [False]
    release_all([seat])
    assert [placement.run is big for placement in placed(queue, [seat])] == [True]


def test_a_task_no_agent_has_room_for_is_passed_over() -> None:
    run = a_run(
        a_task("huge", resources=Resources(64_000), priority=9),
        a_task("labelled", labels=(("gpu", "yes"),), priority=8),
        a_task("usual"),
    )
    queue = a_queue(run)
    assert [placement.index for placement in placed(queue, [a_seat()])] == [2]
    assert [placement.index for placement in placed(queue, [a_seat(2, labels=(("gpu", "yes"),))])] == [1]
    assert [placement.index for placement in placed(queue, [a_seat(3, cpu_millis=64_000)])] == [0]


def test_labels_are_all_asked_for_and_others_do_not_matter() -> None:
    queue = a_queue(a_run_of(3, a_task("t", labels=(("gpu", "yes"), ("zone", "a")))))
    seats = [
        a_seat(1, labels=(("gpu", "yes"), ("zone", "b"))),
        a_seat(2, labels=(("gpu", "yes"), ("zone", "a"), ("disk", "ssd"))),
    ]
    assert {placement.seat.name for placement in placed(queue, seats)} == {"agent-2"}


def test_short_tasks_are_sent_ahead_as_far_as_their_window_allows() -> None:
    queue, seats = a_queue(a_run_of(50)), [a_seat(1, cpu_millis=2000), a_seat(2, cpu_millis=2000)]
    assert len(placed(queue, seats, always(2.5))) == 10
    assert [seat.load for seat in seats] == [2.5, 2.5]


def test_a_task_that_must_not_be_sent_ahead_waits_and_goes_first_next_time() -> None:
    run, seat = a_run_of(4), a_seat(cpu_millis=1000)
    queue = a_queue(run)

    def window(_: Run, index: int) -> float:
        return 1.0 if index == 2 else 8.0

    assert [placement.index for placement in placed(queue, [seat], window)] == [0, 1]
    release_all([seat])
    assert [placement.index for placement in placed(queue, [seat], window)] == [2, 3]


amounts = st.integers(0, 5).map(lambda n: n * 500)
tasks = st.builds(lambda cpu, memory, priority: (cpu, memory, priority), amounts, st.integers(0, 4), st.integers(-1, 1))
seat_sizes = st.lists(st.tuples(amounts, st.integers(0, 8)), min_size=1, max_size=4)


@given(st.lists(tasks, min_size=1, max_size=30), seat_sizes, st.sampled_from([1.0, 1.5, 3.0]))
def test_no_agent_is_overfilled_and_nothing_with_room_is_left_waiting(
    asked: list[tuple[int, int, int]], sizes: list[tuple[int, int]], window: float
) -> None:
    run = a_run(
        *(a_task(f"t{i}", resources=Resources(cpu, memory), priority=p) for i, (cpu, memory, p) in enumerate(asked))
    )
    seats = [a_seat(i, cpu_millis=cpu, memory_bytes=memory) for i, (cpu, memory) in enumerate(sizes)]
    queue = a_queue(run)
    given_out = placed(queue, seats, always(window))
    for seat in seats:
        held = [run.graph.scheduling_class(index) for _, index in seat.live]
        assert (seat.cpu_used, seat.memory_used) == (
            sum(needs.cpu_millis for needs in held),
            sum(needs.memory_bytes for needs in held),
        )
        assert seat.cpu_used <= seat.cpu_millis * window
        assert seat.memory_used <= seat.memory_bytes * window
    waiting = set(range(len(asked))) - {placement.index for placement in given_out}
    for index in waiting:
        wanted = run.graph.scheduling_class(index)
        assert not any(seat.could_ever_fit(wanted) and seat.room(wanted, window) for seat in seats)
    assert len({placement.index for placement in given_out}) == len(given_out)
    assert bool(queue) == bool(waiting)

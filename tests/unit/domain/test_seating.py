"""The benches find the seat that looking through all of them would find, and do not look through all of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium_coordinator.domain.graph import SchedulingClass
from podium_coordinator.domain.seating import LONGEST_LOG, Seat, Seating
from tests.unit.domain.builders import RUN_ID, a_seat, needs

KINDS = ((needs(500), 1.0), (needs(500), 3.0), (needs(1000, 2), 1.0), (needs(0, 1, priority=3), 2.0))

steps = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.integers(0, len(KINDS) - 1), st.just(0)),
        st.tuples(st.just("release"), st.integers(0, 5), st.integers(0, 30)),
        st.tuples(st.just("open"), st.integers(0, 5), st.integers(0, 1)),
        st.tuples(st.just("resize"), st.integers(0, 5), st.integers(0, 4)),
        st.tuples(st.just("look"), st.just(0), st.just(0)),
    ),
    max_size=80,
)


def looked_through(seats: Sequence[Seat], kind: SchedulingClass, window: float) -> Seat | None:
    fitting = [seat for seat in seats if seat.open and seat.could_ever_fit(kind) and seat.room(kind, window)]
    return min(fitting, key=lambda seat: (seat.load, len(seat.live), seats.index(seat)), default=None)


@given(steps)
def test_the_best_seat_is_the_one_that_looking_through_all_finds(todo: list[tuple[str, int, int]]) -> None:
    seats = [a_seat(number, cpu_millis=1000 * (1 + number % 3), memory_bytes=4) for number in range(6)]
    seating = Seating(seats)
    for count, (what, which, amount) in enumerate(todo):
        seat = seats[which]
        if what == "place":
            kind, window = KINDS[which]
            found = seating.best(kind, window)
            assert found is looked_through(seats, kind, window)
            if found is not None:
                found.take(RUN_ID, count, kind)
        elif what == "release" and seat.live:
            seat.release(*list(seat.live)[amount % len(seat.live)])
        elif what == "open":
            seat.open = bool(amount)
            seat.note()
        elif what == "resize":
            seat.cpu_millis = 1000 * amount
            seat.note()
        else:
            seating.look()
    seating.look()
    assert seating.idle == {seat for seat in seats if seat.open and seat.load < 1.0}
    assert seating.crowded == {seat for seat in seats if seat.load > 1.0}


def test_the_best_seat_is_found_after_more_changes_than_are_remembered() -> None:
    seats = [a_seat(1, cpu_millis=1000), a_seat(2, cpu_millis=1000)]
    seating = Seating(seats)
    for _ in range(LONGEST_LOG):
        found = seating.best(needs(1000), 1.0)
        assert found is not None
        found.take(RUN_ID, 0, needs(1000))
        found.release(RUN_ID, 0)
    seats[0].take(RUN_ID, 1, needs(1000))
    assert seating.best(needs(1000), 1.0) is seats[1]


def test_a_turn_looks_at_the_seats_that_changed_and_not_at_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    load: property = vars(Seat)["load"]

    def counted(seat: Seat) -> float:
        nonlocal looks
        looks += 1
        assert load.fget is not None
        value: float = load.fget(seat)
        return value

    seats = [a_seat(number, cpu_millis=1000) for number in range(1000)]
    seating = Seating(seats)
    for index in range(1000):
        found = seating.best(needs(1000), 1.0)
        assert found is not None
        found.take(RUN_ID, index, needs(1000))
    assert seating.best(needs(1000), 1.0) is None
    monkeypatch.setattr(Seat, "load", property(counted))
    seats[500].release(*next(iter(seats[500].live)))
    found = seating.best(needs(1000), 1.0)
    assert found is seats[500]
    found.take(RUN_ID, 1000, needs(1000))
    assert seating.best(needs(1000), 1.0) is None
    assert looks <= 10

from __future__ import annotations

from uuid import RFC_4122

from hypothesis import given
from hypothesis import strategies as st

from podium_coordinator.domain.ids import RANDOM_BITS, fraction, uuid7

instants = st.integers(0, 2**48 - 1)
draws = st.integers(0, 2**RANDOM_BITS - 1)


@given(instants, draws)
def test_a_run_id_is_a_uuid_of_version_7_that_holds_its_instant_and_its_draw(unix_ms: int, random: int) -> None:
    made = uuid7(unix_ms, random)
    high, low = made.int >> 64 & 0xFFF, made.int & (1 << 62) - 1
    assert (made.version, made.variant, made.int >> 80, high << 62 | low) == (7, RFC_4122, unix_ms, random)


@given(st.lists(st.tuples(instants, draws), min_size=2))
def test_run_ids_are_ordered_by_instant_then_by_draw(made_from: list[tuple[int, int]]) -> None:
    ordered = sorted(made_from)
    assert sorted(uuid7(*pair) for pair in made_from) == [uuid7(*pair) for pair in ordered]
    assert sorted(str(uuid7(*pair)) for pair in made_from) == [str(uuid7(*pair)) for pair in ordered]


@given(st.lists(st.binary()))
def test_a_fraction_is_repeatable_and_below_one(parts: list[bytes]) -> None:
    assert 0 <= fraction(*parts) < 1
    assert fraction(*parts) == fraction(*parts)


def test_fractions_are_spread_evenly() -> None:
    drawn = [fraction(number.to_bytes(4, "big")) for number in range(1000)]
    assert all(abs(sum(a <= value < a + 0.1 for value in drawn) - 100) < 40 for a in (0, 0.3, 0.6, 0.9))

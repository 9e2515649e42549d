from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from podium_agent import records
from podium_agent.records import Name

TOKENS = st.binary(min_size=16, max_size=16)
NAMES = st.builds(
    Name, TOKENS, st.integers(0, 2**32 - 1), st.integers(0, 2**31 - 1), st.integers(-1, 2**31 - 1), st.integers(1, 999)
)
NUMBERS = st.integers(0, 2**62)
FACTS = st.dictionaries(st.text(), st.none() | st.integers() | st.text())


@settings(deadline=None)
@given(NAMES, st.tuples(*[NUMBERS] * 5), st.binary(), st.binary(), st.text(), FACTS)
def test_records_come_out_as_they_went_in(
    name: Name, figures: tuple[int, int, int, int, int], output: bytes, log: bytes, key: str, facts: dict[str, object]
) -> None:
    facts.pop("output", None)
    stream = b"".join(
        (
            records.pack_order(name.order, records.FACTS(facts).encode()),
            records.pack_start(name, figures[0], key.encode()),
            records.pack_success(name, figures, output, log),
            records.pack_end(name, figures[0], facts, output, log),
        )
    )
    found = [record for record, _ in records.unpack(stream)]
    assert found == [
        records.Order(name.order, facts),
        records.Start(*name, figures[0], key),
        records.Success(*name, *figures, output, log),
        records.End(*name, figures[0], facts, output, log),
    ]


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, st.integers(0, 2**32 - 1), st.binary(), st.binary(), st.binary()), max_size=5))
def test_tasks_come_out_under_their_tickets(tasks: list[tuple[Name, int, bytes, bytes, bytes]]) -> None:
    frame = b"".join(records.pack_task(ticket, *task) for ticket, task in enumerate(tasks, 1))
    assert list(records.unpack_tasks(frame).items()) == list(enumerate(tasks, 1))

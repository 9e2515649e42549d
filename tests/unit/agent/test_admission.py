from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from podium_agent.domain.admission import Admission, Demand, Verdict


def an_admission(cpu: int = 2000, memory: int = 1000, queue: int = 10) -> Admission:
    return Admission(Demand(cpu, memory), queue)


def test_attempts_begin_in_the_order_they_came_as_far_as_they_fit() -> None:
    admission = an_admission()
    for token in "abc":
        assert admission.offer(token, Demand(1000, 0)) is Verdict.QUEUED
    assert admission.begin(room=10) == ["a", "b"]
    assert admission.begin(room=10) == []
    admission.release("a")
    assert admission.begin(room=10) == ["c"]


def test_a_large_one_is_not_passed_over() -> None:
    admission = an_admission()
    for token, cpu in (("small", 500), ("large", 2000), ("late", 500)):
        admission.offer(token, Demand(cpu, 0))
    assert admission.begin(room=10) == ["small"]
    admission.release("small")
    assert admission.begin(room=10) == ["large"]


def test_memory_counts_as_cpu_does() -> None:
    admission = an_admission()
    admission.offer("a", Demand(0, 800))
    admission.offer("b", Demand(0, 300))
    assert admission.begin(room=10) == ["a"]


def test_what_can_never_fit_and_what_is_too_much_is_refused() -> None:
    admission = an_admission(queue=1)
    assert admission.offer("a", Demand(2001, 0)) is Verdict.TOO_LARGE
    assert admission.offer("b", Demand(0, 1001)) is Verdict.TOO_LARGE
    assert admission.offer("c", Demand(1, 1)) is Verdict.QUEUED
    assert admission.offer("d", Demand(1, 1)) is Verdict.QUEUE_FULL
    admission.close()
    admission.release("c")
    assert admission.offer("e", Demand(1, 1)) is Verdict.CLOSED
    admission.reopen()
    assert admission.offer("e", Demand(1, 1)) is Verdict.QUEUED


def test_nothing_begins_without_room() -> None:
    admission = an_admission()
    admission.offer("a", Demand(1, 0))
    assert admission.begin(room=0) == []
    assert admission.begin(room=-3) == []
    assert admission.begin(room=1) == ["a"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 1000)), max_size=40))
def test_what_is_held_never_exceeds_what_there_is_and_all_begin_in_the_end(
    demands: list[tuple[int, int]],
) -> None:
    admission = an_admission(queue=100)
    for number, (cpu, memory) in enumerate(demands):
        admission.offer(str(number), Demand(cpu, memory))
    begun: list[str] = []
    running: list[str] = []
    while admission.waiting or running:
        new = admission.begin(room=3)
        begun += new
        running += new
        used = admission.used
        assert used.cpu_millis <= 2000
        assert used.memory_bytes <= 1000
        admission.release(running.pop(0))
    assert begun == [str(number) for number in range(len(demands))]
    assert admission.used == Demand(0, 0)

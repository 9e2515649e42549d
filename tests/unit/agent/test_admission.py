from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from podium_agent.domain.admission import Admission, Demand, Verdict


def an_admission(cpu: int = 2000, memory: int = 1000, queue: int = 10) -> Admission:
    return Admission(Demand(cpu, memory), queue)


def begin(admission: Admission, demands: dict[bytes, Demand]) -> list[bytes]:
    """Admit whoever fits, in order."""
    begun = []
    while (token := admission.first()) is not None and admission.fits(demands[token]):
        admission.admit(token)
        begun.append(token)
    return begun


def offered(admission: Admission, **cpu: int) -> dict[bytes, Demand]:
    demands = {name.encode(): Demand(millis, 0) for name, millis in cpu.items()}
    for token, demand in demands.items():
        assert admission.offer(token, demand) is Verdict.QUEUED
    return demands


def test_attempts_begin_in_the_order_they_came_as_far_as_they_fit() -> None:
    admission = an_admission()
    demands = offered(admission, a=1000, b=1000, c=1000)
    assert begin(admission, demands) == [b"a", b"b"]
    assert begin(admission, demands) == []
    admission.leave(b"a")
    assert begin(admission, demands) == [b"c"]


def test_a_large_one_is_not_passed_over() -> None:
    admission = an_admission()
    demands = offered(admission, small=500, large=2000, late=500)
    assert begin(admission, demands) == [b"small"]
    admission.leave(b"small")
    assert begin(admission, demands) == [b"large"]


def test_memory_counts_as_cpu_does() -> None:
    admission = an_admission()
    demands = {b"a": Demand(0, 800), b"b": Demand(0, 300)}
    for token, demand in demands.items():
        admission.offer(token, demand)
    assert begin(admission, demands) == [b"a"]


def test_what_can_never_fit_and_what_is_too_much_is_refused() -> None:
    admission = an_admission(queue=1)
    assert admission.offer(b"a", Demand(2001, 0)) is Verdict.TOO_LARGE
    assert admission.offer(b"b", Demand(0, 1001)) is Verdict.TOO_LARGE
    assert admission.offer(b"c", Demand(1, 1)) is Verdict.QUEUED
    assert admission.offer(b"d", Demand(1, 1)) is Verdict.QUEUE_FULL
    admission.close()
    admission.leave(b"c")
    assert admission.offer(b"e", Demand(1, 1)) is Verdict.CLOSED
    admission.reopen()
    assert admission.offer(b"e", Demand(1, 1)) is Verdict.QUEUED


def test_what_one_after_the_other_executes_is_held_once_by_the_worker() -> None:
    admission = an_admission()
    demands = offered(admission, a=1000, b=1000)
    begin(admission, demands)
    admission.pass_on(b"a", "w1")
    admission.pass_on(b"b", "w2")
    assert admission.used == Demand(2000, 0)
    offered(admission, c=1000)
    admission.leave(b"c")
    assert (admission.used, admission.waiting) == (Demand(2000, 0), 0)
    admission.release("w1")
    assert admission.used == Demand(1000, 0)


def test_what_is_put_back_is_before_all_others() -> None:
    admission = an_admission()
    offered(admission, a=1000, b=1000)
    admission.put_back(b"c", Demand(1, 0))
    assert admission.first() == b"c"


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 1000)), max_size=40))
def test_what_is_held_never_exceeds_what_there_is_and_all_begin_in_the_end(
    asked: list[tuple[int, int]],
) -> None:
    admission = an_admission(queue=100)
    demands = {str(number).encode(): Demand(cpu, memory) for number, (cpu, memory) in enumerate(asked)}
    for token, demand in demands.items():
        admission.offer(token, demand)
    begun: list[bytes] = []
    running: list[bytes] = []
    while admission.waiting or running:
        new = begin(admission, demands)
        begun += new
        running += new
        used = admission.used
        assert used.cpu_millis <= 2000
        assert used.memory_bytes <= 1000
        admission.leave(running.pop(0))
    assert begun == list(demands)
    assert admission.used == Demand(0, 0)

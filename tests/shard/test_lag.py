"""How late the coordinator's event loop is."""

from __future__ import annotations

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from podium_coordinator.app import lag
from podium_coordinator.app.lag import BOUNDS, INTERVAL, WINDOW, Lag, bound_of


def counted(*late: float) -> Lag:
    measured = Lag()
    for each in late:
        measured.note(each)
    return measured


def test_ticks_in_time_are_counted_below_the_first_bound() -> None:
    assert counted(0.0, 0.0005).late == [2] + [0] * len(BOUNDS)


def test_a_stall_counts_every_tick_that_it_held_up() -> None:
    measured = counted(1.0)
    assert measured.ticks == 1.0 / INTERVAL + 1
    assert measured.most == 1.0
    assert bound_of(measured.late, 0.5) == 0.5


def test_a_stall_of_hours_takes_no_longer_to_count_than_one_of_a_window() -> None:
    measured = counted(7200.0)
    assert measured.ticks == 7200 / INTERVAL + 1
    assert measured.late[-1] >= (7200 - WINDOW) / INTERVAL


@pytest.mark.parametrize(("share", "bound"), [(0.5, 0.001), (0.9, 0.001), (0.95, 0.02), (1.0, 0.02)])
def test_a_share_of_the_ticks_keeps_a_bound(share: float, bound: float) -> None:
    assert bound_of(counted(*[0.0] * 9, 0.015).late, share) == bound


def test_what_is_later_than_all_bounds_keeps_none() -> None:
    assert bound_of(counted(9.0).late, 1.0) == float("inf")


async def test_a_blocked_loop_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag, "WINDOW", 0.2)
    monkeypatch.setattr(lag, "NOTABLE", 0.1)
    told = asyncio.Event()
    monkeypatch.setattr(lag, "_tell", lambda *_: told.set())
    async with lag.lag_told():
        await asyncio.sleep(0)
        time.sleep(0.6)  # noqa: ASYNC251 - this is what is measured
        await asyncio.wait_for(told.wait(), 10)


def test_the_line_of_the_log_has_the_bounds_and_the_counts() -> None:
    with capture_logs() as lines:
        lag._tell(counted(0.0, 0.03), 5.04)
    (line,) = lines
    assert line == {
        "event": "process.loop_lagged",
        "log_level": "info",
        "seconds": 5.0,
        "ticks": 2,
        "p99_ms": 30.0,
        "most_ms": 30.0,
        "late": [1, 0, 0, 0, 0, 1] + [0] * (len(BOUNDS) - 5),
    }

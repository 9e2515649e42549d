"""Times, durations and sizes as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from podium.cli.show import quantity

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0ms"),
        (0.0124, "12ms"),
        (3.44, "3.4s"),
        (59.94, "59.9s"),
        (59.96, "1m00s"),
        (0.9999, "1.0s"),
        (125, "2m05s"),
        (3600 + 240, "1h04m"),
        (3 * 86400 + 7200, "3d02h"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert quantity.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3_758_096_384, "3.5 GiB"), (2**60, "1048576.0 TiB")],
)
def test_a_size_has_a_binary_unit(count: int, text: str) -> None:
    assert quantity.size(count) == text


def test_what_is_under_way_is_measured_up_to_now() -> None:
    assert quantity.between(NOON, None, NOON + timedelta(seconds=2)) == "2.0s"
    assert quantity.between(NOON, NOON + timedelta(seconds=1), NOON + timedelta(seconds=9)) == "1.0s"
    assert not quantity.between(None, None, NOON)

"""Figures and their bars."""

from __future__ import annotations

import random
import statistics

import pytest

from benchmarks.spread import Figure, at_least, at_most, figure, quantile


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([7.0], 0.99, 7.0), ([1.0, 3.0], 0.5, 2.0), ([3.0, 1.0, 2.0], 0.0, 1.0), ([3.0, 1.0, 2.0], 1.0, 3.0)],
)
def test_a_quantile_lies_between_its_neighbours(values: list[float], share: float, expected: float) -> None:
    assert quantile(values, share) == expected


def test_quantiles_are_those_of_the_standard_library() -> None:
    values = [random.Random(7).random() for _ in range(101)]  # noqa: S311 - it guards nothing
    expected = statistics.quantiles(values, n=100, method="inclusive")
    assert [quantile(values, number / 100) for number in range(1, 100)] == pytest.approx(expected)


def test_there_is_no_quantile_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        quantile([], 0.5)


@pytest.mark.parametrize(
    ("bar", "median", "met"),
    [(at_least(10), 10, True), (at_least(10), 9.9, False), (at_most(5), 5, True), (at_most(5), 5.1, False)],
)
def test_a_bar_is_met_by_what_reaches_it(bar: object, median: float, met: bool) -> None:
    assert figure("x", median, bar).to_json()["met"] is met  # type: ignore[arg-type]  # a Bar, as the rows above say


def test_a_figure_tells_its_median_its_spread_and_its_number() -> None:
    told = Figure("ms", (4.0, 1.0, 2.0, 3.0, 10.0), at_most(2.5)).to_json()
    assert told == {
        "unit": "ms",
        "median": 3.0,
        "min": 1.0,
        "max": 10.0,
        "q1": 2.0,
        "q3": 4.0,
        "n": 5,
        "bar": "<= 2.5",
        "met": False,
    }


def test_a_figure_without_a_bar_has_no_verdict() -> None:
    assert "met" not in figure("ms", [1, 2]).to_json()

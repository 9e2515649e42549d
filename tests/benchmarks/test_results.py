"""How results are told and compared."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.results import Result, number, ratios, table
from benchmarks.spread import at_least, figure


def a_result(rate: float = 200.0, cost: float = 50.0) -> dict[str, Any]:
    return Result(
        {"tasks": figure("tasks/s", [rate, rate, 2 * rate], at_least(100)), "submit": figure("s", 0.5)},
        {
            100: {"coordinator CPU": figure("us", cost)},
            1000: {"coordinator CPU": figure("us", 40), "WAL": figure("B", 9)},
        },
        ["A note."],
    ).to_json("a title")


def lines_of(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_table_has_a_row_per_figure_and_a_column_per_number_of_tasks() -> None:
    text = table("W1", a_result())
    assert text.splitlines()[0] == "W1  a title"
    assert ["tasks,", "tasks/s", "200", "200", "400", "100", "3", ">=", "100", "met"] in lines_of(text)
    assert ["submit,", "s", "0.50", "0.50", "0.50", "0", "1"] in lines_of(text)
    assert ["per", "task,", "by", "number", "of", "tasks", "100", "1,000"] in lines_of(text)
    assert ["coordinator", "CPU,", "us", "50.0", "40.0"] in lines_of(text)
    assert ["WAL,", "B", "-", "9.00"] in lines_of(text)
    assert text.endswith("A note.")


def test_a_bar_that_was_missed_is_told_loudly() -> None:
    assert "MISSED" in table("W1", a_result(rate=10))


def test_a_table_beside_an_earlier_result_has_ratios() -> None:
    text = table("W1", a_result(rate=300, cost=25), a_result())
    assert ["tasks,", "tasks/s", "300", "300", "600", "150", "3", ">=", "100", "met", "1.50"] in lines_of(text)
    assert ["coordinator", "CPU,", "us", "25.0", "(x0.50)", "40.0", "(x1.00)"] in lines_of(text)


def test_ratios_are_of_what_both_results_have() -> None:
    now = {"workloads": {"W1": a_result(rate=300), "W2": a_result()}}
    before = {"workloads": {"W1": a_result()}}
    del before["workloads"]["W1"]["figures"]["submit"]
    assert ratios(now, before) == {"W1": {"tasks": 1.5}, "W2": {}}


def test_nothing_is_compared_with_zero() -> None:
    before, now = ({"workloads": {"W7": Result({"lost": figure("count", 0)}).to_json("")}} for _ in range(2))
    assert ratios(now, before) == {"W7": {}}


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (0.1234, "0.12"), (12.34, "12.3"), (12345.6, "12,346"), (-15.04, "-15.0")]
)
def test_numbers_are_shown_with_the_digits_that_mean_something(value: float, shown: str) -> None:
    assert number(value) == shown

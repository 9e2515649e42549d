"""The whole example in this process, through the SDK: same tasks, same hand-over of files, no cluster."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from flights import delays, sources
from flights.cleaning import CleanTables
from flights.report import Report
from pipeline import nyc_flights
from podium.local_run import LocalRun
from podium.model.states import RunState, TaskRunState
from tests.example.by_hand import Figures, figures


@pytest.fixture(scope="module")
def run() -> LocalRun:
    return nyc_flights.test()


@pytest.fixture(scope="module")
def by_hand() -> Figures:
    return figures(sources.data_folder())


def test_the_pipeline_names_the_pairs_that_the_raw_text_gives(run: LocalRun, by_hand: Figures) -> None:
    worst = [(row["carrier"], row["origin"], row["departed"], row["mean_delay"]) for row in report(run)["worst"]]
    assert worst == by_hand.worst(3, least_departed=1000)
    assert worst[0] == ("EV", "EWR", 41775, 20.16)


def test_the_pipelines_totals_are_those_of_the_raw_text(run: LocalRun, by_hand: Figures) -> None:
    assert report(run)["totals"] == vars(by_hand.total)


def test_each_row_of_the_pipelines_table_is_that_of_the_raw_text(run: LocalRun, by_hand: Figures) -> None:
    with report(run)["table"].open(newline="") as file:
        table = {(row["carrier"], row["origin"], int(row["hour"])): row for row in csv.DictReader(file)}
    assert table.keys() == by_hand.by_pair_and_hour.keys()
    for key, sums in by_hand.by_pair_and_hour.items():
        assert {name: int(table[key][name]) for name in vars(sums)} == vars(sums)


def test_the_months_are_worked_on_side_by_side(run: LocalRun) -> None:
    tasks = {task.key: task for task in nyc_flights.spec().tasks}
    months = [task for key, task in tasks.items() if key.startswith("delays_")]
    assert len(months) == 12
    assert {task.upstream for task in months} == {("clean",)}
    assert "check_quality" in tasks["merge"].upstream


def test_another_bar_gives_other_pairs(by_hand: Figures) -> None:
    result = nyc_flights.test(least_departed=1)
    worst = [(row["carrier"], row["origin"]) for row in report(result)["worst"]]
    assert worst == [pair[:2] for pair in by_hand.worst(3, least_departed=1)]


def test_nothing_is_reported_when_a_rule_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_december(tables: CleanTables, month: int, into: Path) -> Path:
        return of_month(tables, min(month, 11), into)

    of_month = delays.of_month
    monkeypatch.setattr(delays, "of_month", lose_december)
    run = nyc_flights.test()
    assert run.state is RunState.FAILED
    assert run.states["check_quality"] is TaskRunState.FAILED
    assert run.states["write_report"] is TaskRunState.UPSTREAM_FAILED
    assert "11 months have flights, not 12." in run.failures["check_quality"].message


def report(run: LocalRun) -> Report:
    result: Report = run.result()["write_report"]
    return result

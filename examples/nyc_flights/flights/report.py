"""What people get: a table, a chart and a page."""

from pathlib import Path
from typing import TypedDict

from flights import chart, page
from flights.delays import worst_pairs
from flights.tables import records, save

BY_PAIR_AND_HOUR = """
    SELECT carrier, origin, hour, sum(flights)::BIGINT AS flights, sum(departed)::BIGINT AS departed,
        sum(late)::BIGINT AS late, sum(delay_minutes)::BIGINT AS delay_minutes,
        round(sum(delay_minutes) / nullif(sum(departed), 0), 2) AS mean_delay,
        sum(seat_minutes)::BIGINT AS seat_minutes
    FROM read_parquet($delays)
    GROUP BY carrier, origin, hour
    ORDER BY carrier, origin, hour
"""

TOTALS = """
    SELECT sum(flights)::BIGINT AS flights, sum(departed)::BIGINT AS departed, sum(late)::BIGINT AS late,
        sum(delay_minutes)::BIGINT AS delay_minutes, sum(seat_minutes)::BIGINT AS seat_minutes
    FROM read_parquet($delays)
"""


class Report(TypedDict):
    """The totals, the worst pairs of carrier and origin, and the files."""

    totals: dict[str, int]
    worst: list[dict[str, object]]
    table: Path
    chart: Path
    page: Path


def write(delays: Path, raw: dict[str, Path], into: Path, *, least_departed: int) -> Report:
    """Write the report's files to a folder and say what is in them."""
    [sums] = records(TOTALS, delays=delays)
    totals = {name: int(str(value)) for name, value in sums.items()}
    worst = worst_pairs(delays, raw["airlines"], raw["airports"], pairs=3, least_departed=least_departed)
    picture = chart.draw(delays, into / "delays.png")
    return Report(
        totals=totals,
        worst=worst,
        table=save(BY_PAIR_AND_HOUR, into / "delays.csv", delays=delays),
        chart=picture,
        page=page.write(into / "report.html", totals=totals, pairs=worst, least_departed=least_departed, chart=picture),
    )

"""Delays by carrier, origin, hour and weather. Only sums are kept, so that months add up exactly."""

from collections.abc import Sequence
from pathlib import Path

from flights.cleaning import CleanTables
from flights.tables import records, save

ONE_MONTH = """
    SELECT month, carrier, flights.origin, hour, coalesce(sky, 'unknown') AS sky,
        count(*) AS flights,
        count(dep_delay) AS departed,
        count(*) FILTER (dep_delay > 15) AS late,
        coalesce(sum(dep_delay), 0)::BIGINT AS delay_minutes,
        coalesce(sum(seats * greatest(dep_delay, 0)), 0)::BIGINT AS seat_minutes
    FROM read_parquet($flights) AS flights
    LEFT JOIN read_parquet($weather) AS weather
        ON weather.origin = flights.origin AND weather.time_hour = flights.time_hour
    LEFT JOIN read_parquet($planes) AS planes ON planes.tailnum = flights.tailnum
    WHERE month = $month
    GROUP BY ALL
    ORDER BY ALL
"""

WORST_PAIRS = """
    SELECT totals.carrier, airlines.name AS airline, totals.origin, airports.name AS airport, departed,
        round(delay_minutes / departed, 2) AS mean_delay
    FROM (
        SELECT carrier, origin, sum(departed)::BIGINT AS departed, sum(delay_minutes)::BIGINT AS delay_minutes
        FROM read_parquet($delays)
        GROUP BY carrier, origin
        HAVING sum(departed) >= $least_departed
    ) AS totals
    JOIN read_csv($airlines, header = true) AS airlines ON airlines.carrier = totals.carrier
    JOIN read_csv($airports, header = true) AS airports ON airports.faa = totals.origin
    ORDER BY delay_minutes / departed DESC, totals.carrier, totals.origin
    LIMIT $pairs
"""


def of_month(tables: CleanTables, month: int, into: Path) -> Path:
    """Write one month's sums: a row per carrier, origin, hour of scheduled departure, and weather.

    A flight that never left counts in `flights` only. `late` is more than 15 minutes; `seat_minutes` are minutes late
    times seats, of the planes whose seats are known.
    """
    return save(
        ONE_MONTH,
        into / f"delays-{month:02}.parquet",
        month=month,
        flights=tables["flights"],
        weather=tables["weather"],
        planes=tables["planes"],
    )


def merge(months: Sequence[Path], into: Path) -> Path:
    """Write the rows of all months to one table."""
    return save("SELECT * FROM read_parquet($months) ORDER BY ALL", into / "delays.parquet", months=months)


def worst_pairs(
    delays: Path, airlines: Path, airports: Path, *, pairs: int, least_departed: int
) -> list[dict[str, object]]:
    """Return the carrier and origin pairs with the highest mean departure delay, in minutes, worst first.

    Only pairs with at least `least_departed` departures in the year are compared.
    """
    return records(
        WORST_PAIRS, delays=delays, airlines=airlines, airports=airports, pairs=pairs, least_departed=least_departed
    )

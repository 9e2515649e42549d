"""What must hold before anything is reported."""

from collections.abc import Sequence
from pathlib import Path

from flights.cleaning import CleanTables, rejected
from flights.tables import count, query

LARGEST_REJECTED_SHARE = 0.001
LEAST_WEATHER_SHARE = 0.98
PLAUSIBLE_MEAN_DELAY = (-5.0, 60.0)

SUMS = """
    SELECT count(DISTINCT month), sum(flights), sum(departed), sum(flights) FILTER (sky <> 'unknown'),
        sum(delay_minutes)
    FROM read_parquet($months)
"""

UNKNOWN_CARRIERS = """
    SELECT DISTINCT carrier FROM read_parquet($months)
    WHERE carrier NOT IN (SELECT carrier FROM read_csv($airlines, header = true))
    ORDER BY carrier
"""


def broken_rules(tables: CleanTables, months: Sequence[Path], airlines: Path) -> list[str]:
    """Return one sentence for each rule that does not hold; none when the data may be used."""
    [sums] = query(SUMS, months=months)
    found, flights, departed, with_weather, minutes = (int(str(value or 0)) for value in sums)
    kept = count(tables["flights"])
    unknown = [str(carrier) for (carrier,) in query(UNKNOWN_CARRIERS, months=months, airlines=airlines)]
    low, high = PLAUSIBLE_MEAN_DELAY
    rules = {
        f"{found} months have flights, not {len(months)}.": found == len(months),
        f"The months hold {flights} flights, the cleaned table {kept}.": flights == kept,
        f"{rejected(tables)} of {tables['flights_read']} flights were rejected, more than 1 in 1,000.": (
            rejected(tables) <= LARGEST_REJECTED_SHARE * tables["flights_read"]
        ),
        f"Weather is known for {with_weather} of {flights} flights only.": (
            with_weather >= LEAST_WEATHER_SHARE * flights
        ),
        f"The carriers {unknown} have no name.": not unknown,
        f"A mean delay of {minutes} minutes over {departed} departures is not plausible.": (
            low * departed <= minutes <= high * departed and departed > 0
        ),
    }
    return [sentence for sentence, holds in rules.items() if not holds]

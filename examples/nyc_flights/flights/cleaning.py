"""From text to typed tables; what cannot be used is left out and counted."""

from pathlib import Path
from typing import TypedDict

from flights.tables import count, query, save

FLIGHTS = """
    SELECT DISTINCT month, day, hour, carrier, flight, tailnum, origin, dest, dep_delay, arr_delay, time_hour
    FROM read_csv($source, header = true, nullstr = 'NA', timestampformat = '%Y-%m-%dT%H:%M:%SZ', columns = {
        year: 'INTEGER', month: 'INTEGER', day: 'INTEGER', dep_time: 'INTEGER', sched_dep_time: 'INTEGER',
        dep_delay: 'INTEGER', arr_time: 'INTEGER', sched_arr_time: 'INTEGER', arr_delay: 'INTEGER',
        carrier: 'VARCHAR', flight: 'INTEGER', tailnum: 'VARCHAR', origin: 'VARCHAR', dest: 'VARCHAR',
        air_time: 'INTEGER', distance: 'INTEGER', hour: 'INTEGER', minute: 'INTEGER', time_hour: 'TIMESTAMP'
    })
    WHERE month BETWEEN 1 AND 12
      AND carrier IS NOT NULL
      AND origin IS NOT NULL
      AND time_hour IS NOT NULL
      AND (dep_delay IS NULL OR dep_delay BETWEEN -120 AND 2880)
    ORDER BY time_hour, carrier, flight
"""

WEATHER = """
    SELECT origin, time_hour, CASE
        WHEN precip > 0 THEN 'rain or snow'
        WHEN visib < 3 THEN 'low visibility'
        WHEN wind_speed >= 20 THEN 'strong wind'
        ELSE 'fair'
    END AS sky
    FROM read_csv($source, header = true, nullstr = 'NA', timestampformat = '%Y-%m-%dT%H:%M:%SZ', columns = {
        origin: 'VARCHAR', year: 'INTEGER', month: 'INTEGER', day: 'INTEGER', hour: 'INTEGER', temp: 'DOUBLE',
        dewp: 'DOUBLE', humid: 'DOUBLE', wind_dir: 'INTEGER', wind_speed: 'DOUBLE', wind_gust: 'DOUBLE',
        precip: 'DOUBLE', pressure: 'DOUBLE', visib: 'DOUBLE', time_hour: 'TIMESTAMP'
    })
"""

PLANES = "SELECT tailnum, seats FROM read_csv($source, header = true, nullstr = 'NA') WHERE seats > 0"


class CleanTables(TypedDict):
    """Typed tables as Parquet files, and how many flights there were before."""

    flights: Path
    weather: Path
    planes: Path
    flights_read: int


def clean(raw: dict[str, Path], into: Path) -> CleanTables:
    """Write the typed tables to a folder.

    `weather` has one word for the sky per airport and hour; `planes` the seats of each known plane.
    """
    [[read]] = query("SELECT count(*) FROM read_csv($source, header = true)", source=raw["flights"])
    return CleanTables(
        flights=save(FLIGHTS, into / "flights.parquet", source=raw["flights"]),
        weather=save(WEATHER, into / "weather.parquet", source=raw["weather"]),
        planes=save(PLANES, into / "planes.parquet", source=raw["planes"]),
        flights_read=int(str(read)),
    )


def rejected(tables: CleanTables) -> int:
    """Return how many flights were left out."""
    return tables["flights_read"] - count(tables["flights"])

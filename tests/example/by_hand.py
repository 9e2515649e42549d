"""The example's figures worked out another way: the raw text, row by row, in plain Python."""

from __future__ import annotations

import csv
import io
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Row = dict[str, str]
PairAndHour = tuple[str, str, int]


@dataclass
class Sums:
    """What is added up over flights; minutes, and minutes times seats."""

    flights: int = 0
    departed: int = 0
    late: int = 0
    delay_minutes: int = 0
    seat_minutes: int = 0

    def add(self, delay: int | None, seats: int) -> None:
        """Count one flight; no delay means that it never left."""
        self.flights += 1
        if delay is None:
            return
        self.departed += 1
        self.late += delay > 15
        self.delay_minutes += delay
        self.seat_minutes += max(delay, 0) * seats


@dataclass(frozen=True)
class Figures:
    """All sums: in total, by carrier, origin and hour, and by weather."""

    total: Sums
    by_pair_and_hour: dict[PairAndHour, Sums]
    by_sky: dict[str, Sums]

    def worst(self, pairs: int, least_departed: int) -> list[tuple[str, str, int, float]]:
        """Return (carrier, origin, departures, mean delay in minutes), worst first."""
        sums: defaultdict[tuple[str, str], Sums] = defaultdict(Sums)
        for (carrier, origin, _), part in self.by_pair_and_hour.items():
            sums[carrier, origin].departed += part.departed
            sums[carrier, origin].delay_minutes += part.delay_minutes
        means = [
            (carrier, origin, pair.departed, round(pair.delay_minutes / pair.departed, 2))
            for (carrier, origin), pair in sums.items()
            if pair.departed >= least_departed
        ]
        return sorted(means, key=lambda row: -row[3])[:pairs]


@cache
def figures(folder: Path) -> Figures:
    """Work out the figures of the raw tables in a folder; takes a few seconds."""
    skies = {(row["origin"], row["time_hour"]): _sky(row) for row in _rows(folder / "weather.csv")}
    seats = {row["tailnum"]: int(row["seats"]) for row in _rows(folder / "planes.csv") if row["seats"] != "NA"}
    total, by_pair_and_hour, by_sky = Sums(), defaultdict[PairAndHour, Sums](Sums), defaultdict[str, Sums](Sums)
    for row in _rows(folder / "flights.csv"):
        delay = None if row["dep_delay"] == "NA" else int(row["dep_delay"])
        sky = skies.get((row["origin"], row["time_hour"]), "unknown")
        for sums in (total, by_pair_and_hour[row["carrier"], row["origin"], int(row["hour"])], by_sky[sky]):
            sums.add(delay, seats.get(row["tailnum"], 0))
    return Figures(total, dict(by_pair_and_hour), dict(by_sky))


def _sky(row: Row) -> str:
    if _number(row["precip"], 0) > 0:
        return "rain or snow"
    if _number(row["visib"], 10) < 3:
        return "low visibility"
    return "strong wind" if _number(row["wind_speed"], 0) >= 20 else "fair"


def _number(text: str, otherwise: float) -> float:
    return otherwise if text == "NA" else float(text)


def _rows(path: Path) -> Iterator[Row]:
    packed = path.with_suffix(".csv.zip")
    if packed.exists():
        with zipfile.ZipFile(packed) as archive, archive.open(path.name) as stream:
            yield from csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8"))
    else:
        with path.open(encoding="utf-8", newline="") as stream:
            yield from csv.DictReader(stream)

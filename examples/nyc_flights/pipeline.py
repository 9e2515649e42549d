"""Which flights out of New York were late in 2013, and where to be careful: a pipeline over 336,776 real flights.

Each task starts in an empty folder of its own, and hands files on by returning their paths: the task after it finds the
same bytes, on whatever agent it executes. The work itself is in the package `flights`.
"""

from pathlib import Path

from flights import cleaning, delays, quality, report, sources
from flights.cleaning import CleanTables
from flights.report import Report
from podium import Fail, task, workflow


@task(retries=2)
def extract() -> dict[str, Path]:
    """Unpack the five raw tables."""
    return sources.extract(Path.cwd())


@task(memory="512MiB")
def clean(raw: dict[str, Path]) -> CleanTables:
    """Type the tables, and leave out what cannot be used."""
    tables = cleaning.clean(raw, Path.cwd())
    print(f"{tables['flights_read']} flights read, {cleaning.rejected(tables)} of them left out")
    return tables


@task
def delays_of_month(tables: CleanTables, month: int) -> Path:
    """Add one month's delays up by carrier, origin, hour and weather."""
    return delays.of_month(tables, month, Path.cwd())


@task
def check_quality(tables: CleanTables, months: list[Path], airlines: Path) -> None:
    """Fail when a rule does not hold; nothing is reported then."""
    broken = quality.broken_rules(tables, months, airlines)
    if broken:
        raise Fail(" ".join(broken))
    print(f"{len(months)} months follow all rules")


@task
def merge(months: list[Path]) -> Path:
    """Put the months together."""
    return delays.merge(months, Path.cwd())


@task
def write_report(merged: Path, raw: dict[str, Path], least_departed: int) -> Report:
    """Write the table, the chart and the page, and name the worst pairs of carrier and origin."""
    return report.write(merged, raw, Path.cwd(), least_departed=least_departed)


@workflow
def nyc_flights(least_departed: int = 1000) -> None:
    """Find the most delay-prone pairs of carrier and origin, by mean departure delay over the year 2013.

    Only pairs with at least `least_departed` departures are compared.
    """
    raw = extract()
    tables = clean(raw)
    months = [delays_of_month.options(key=f"delays_{month:02}")(tables, month) for month in range(1, 13)]
    checked = check_quality(tables, months, raw["airlines"])
    merged = merge(months).after(checked)
    write_report(merged, raw, least_departed)

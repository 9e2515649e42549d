"""The report as one HTML page that needs no other file."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Delays out of New York, 2013</title>
<style>
  body {{ font: 16px/1.5 sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem }}
  table {{ border-collapse: collapse; margin: 1rem 0 }}
  th, td {{ padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: left }}
  img {{ max-width: 100% }}
</style>
<h1>Delays out of New York, 2013</h1>
<p>{summary}</p>
<h2>Most delay-prone carriers</h2>
<p>By mean departure delay in minutes, among pairs of carrier and airport with at least {least_departed:,}
departures in the year.</p>
{table}
<img src="data:image/png;base64,{chart}" alt="Mean departure delay by hour, airport and weather">
</html>
"""


def write(
    target: Path, *, totals: Mapping[str, int], pairs: Sequence[Mapping[str, object]], least_departed: int, chart: Path
) -> Path:
    """Write the page with the chart inside it; return `target`."""
    summary = (
        f"{totals['flights']:,} flights were planned and {totals['departed']:,} left, {totals['late']:,} of them more "
        f"than 15 minutes late: {totals['delay_minutes'] / totals['departed']:.1f} minutes late on average."
    )
    page = PAGE.format(
        summary=escape(summary),
        least_departed=least_departed,
        table=_table(pairs),
        chart=b64encode(chart.read_bytes()).decode(),
    )
    target.write_text(page, encoding="utf-8")
    return target


def _table(rows: Sequence[Mapping[str, object]]) -> str:
    head = _row("th", rows[0].keys()) if rows else ""
    return f"<table>{head}{''.join(_row('td', row.values()) for row in rows)}</table>"


def _row(tag: str, cells: Iterable[object]) -> str:
    inner = "".join(f"<{tag}>{escape(str(cell).replace('_', ' '))}</{tag}>" for cell in cells)
    return f"<tr>{inner}</tr>"

"""One picture: delay over the day per airport, and by weather. Drawn without a display."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flights.tables import query

BY_HOUR = """
    SELECT origin, hour, sum(delay_minutes) / sum(departed)
    FROM read_parquet($delays) GROUP BY origin, hour HAVING sum(departed) >= 100 ORDER BY origin, hour
"""

BY_SKY = """
    SELECT sky, sum(delay_minutes) / sum(departed) AS mean
    FROM read_parquet($delays) WHERE sky <> 'unknown' GROUP BY sky ORDER BY mean
"""


def draw(delays: Path, target: Path) -> Path:
    """Write the chart as a PNG of 1,200 x 500 pixels; return `target`."""
    figure = Figure(figsize=(12, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    by_hour, by_sky = figure.subplots(1, 2, width_ratios=(2, 1))
    _draw_hours(by_hour, delays)
    _draw_skies(by_sky, delays)
    figure.savefig(target, format="png")
    return target


def _draw_hours(axes: Axes, delays: Path) -> None:
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for origin, hour, mean in query(BY_HOUR, delays=delays):
        hours, means = lines.setdefault(str(origin), ([], []))
        hours.append(float(str(hour)))
        means.append(float(str(mean)))
    for origin, (hours, means) in lines.items():
        axes.plot(hours, means, marker="o", label=origin)
    axes.set(title="Mean departure delay over the day", xlabel="hour of scheduled departure", ylabel="minutes")
    axes.set_xticks(range(5, 24, 3))
    axes.grid(visible=True, alpha=0.3)
    axes.legend()


def _draw_skies(axes: Axes, delays: Path) -> None:
    rows = query(BY_SKY, delays=delays)
    axes.barh([str(sky) for sky, _ in rows], [float(str(mean)) for _, mean in rows])
    axes.set(title="Mean departure delay by weather", xlabel="minutes")

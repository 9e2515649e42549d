"""`make demo`: runs the flights pipeline on a small cluster of this machine, and leaves nothing running."""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from examples.small_cluster import PODIUM, ClusterError, small_cluster
from podium import Client
from podium.errors import PodiumError

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "examples" / "nyc_flights"
RESULTS = ROOT / "build" / "demo"
INTERRUPTED = 130


class CommandError(Exception):
    """A command of the demo failed; it said why on stderr. `code` is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"It ended with exit code {code}.")
        self.code = code


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the report (default: build/demo)")
    results = parser.parse_args().results.absolute()
    signal.signal(signal.SIGTERM, _leave)
    try:
        demo(results)
    except KeyboardInterrupt:
        print("\nInterrupted; the cluster is stopped.", file=sys.stderr)
        return INTERRUPTED
    except CommandError as error:
        return error.code
    except (ClusterError, PodiumError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def demo(results: Path) -> None:
    """Deploy and run the pipeline, fetch its report, and say what it found.

    Raises:
        CommandError: The pipeline could not be deployed, or its run failed.
        ClusterError: The cluster did not come up.
    """
    results.mkdir(parents=True, exist_ok=True)
    with cluster_folder(results) as data, small_cluster(data) as address:
        podium(address, "deploy", str(PROJECT.relative_to(ROOT)))
        run_id = podium(address, "run", "nyc_flights", "-o", "name")
        with Client(address) as client:
            report = client.get_outputs(run_id)["write_report"]
            fetch(report, results)
    tell(report, results)


@contextmanager
def cluster_folder(results: Path) -> Iterator[Path]:
    """Yield a fresh folder for the cluster; it stays only after a failure, for a look at what the servers said."""
    data = Path(tempfile.mkdtemp(prefix="cluster-", dir=results))
    print(f"Starting Postgres, a coordinator and two agents in {data} ...", flush=True)
    failed = False
    try:
        yield data
    except Exception:
        failed = True
        print(f"What the servers said: {data / 'up.log'}", file=sys.stderr)
        raise
    finally:
        if not failed:
            shutil.rmtree(data)


def podium(address: str, *arguments: str) -> str:
    """Show and run a command of Podium's own command line; return what it answered on stdout."""
    print(f"\n$ podium {' '.join(arguments)}", flush=True)
    done = subprocess.run(
        [*PODIUM, "--address", address, *arguments], stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT
    )
    sys.stdout.write(done.stdout)
    if done.returncode != 0:
        raise CommandError(done.returncode)
    return done.stdout.strip()


def fetch(report: dict[str, Any], folder: Path) -> None:
    """Download the report's files into a folder."""
    for name in ("table", "chart", "page"):
        report[name].download(folder)


def tell(report: dict[str, Any], folder: Path) -> None:
    """Print the worst pairs, where the report is, and what to try next."""
    totals = report["totals"]
    print(f"\nOf {totals['flights']:,} flights {totals['departed']:,} left. The most delay-prone carriers by airport:")
    for place, pair in enumerate(report["worst"], 1):
        who = f"{pair['airline']} ({pair['carrier']}) from {pair['airport']} ({pair['origin']})"
        print(f"  {place}. {who}: {pair['mean_delay']:.2f} minutes over {pair['departed']:,} departures")
    print("(mean departure delay, among carrier and airport pairs with at least 1,000 departures in the year)")
    print(f"\nReport: {folder / report['page'].name}")
    print("Next:   make up, and in another terminal: .venv/bin/podium deploy examples/nyc_flights")


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    del frame
    sys.exit(128 + signum)


if __name__ == "__main__":
    sys.exit(main())

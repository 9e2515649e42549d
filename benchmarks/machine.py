"""Facts about the machine, without which no figure means anything."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.spread import quantile
from podium.version import __version__

WRITES = 100
PAGE = 8192


def facts(folder: Path) -> dict[str, Any]:
    """Return what is known of the machine before anything is started; `folder` is on the disk that data goes to."""
    return {
        "cores": os.cpu_count(),
        "model": _model(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.platform(),
        "python": platform.python_version(),
        "podium": __version__,
        "load_before": list(os.getloadavg()),
        "fsync_ms": fsync_latency(folder),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def fsync_latency(folder: Path) -> dict[str, float]:
    """Return how long it takes to write a page and have it on the disk, in milliseconds."""
    with tempfile.TemporaryFile(dir=folder) as file:
        taken = [_write(file.fileno(), position) for position in range(WRITES)]
    return {"median": quantile(taken, 0.5), "p99": quantile(taken, 0.99), "n": WRITES}


def _write(file: int, position: int) -> float:
    began = time.perf_counter()
    os.pwrite(file, bytes(PAGE), position * PAGE)
    os.fdatasync(file)
    return 1000 * (time.perf_counter() - began)


def _model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")

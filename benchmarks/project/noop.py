"""Tasks that do nothing, for measuring everything else."""

import time


def now(*_: object) -> float:
    return time.time()


def noop() -> None:
    return None

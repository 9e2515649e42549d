"""`python -m tests.simulation`: plays many worlds, or one of them again with its trace."""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.guards import MUTANTS
from tests.simulation.jobs import play_some, survivor
from tests.simulation.playing import STEPS, FoundError, play

PER_JOB = 25
FAILURES_SHOWN = 10


def main() -> int:
    """Return the exit status: 0 when no world failed and every mutant was noticed."""
    warnings.simplefilter("ignore")  # a mutant may leave work behind that nobody awaits
    arguments = _arguments()
    if arguments.seed is not None:
        return _play_again(arguments.seed, arguments.steps, digest_only=arguments.digest)
    began = time.monotonic()
    seeds = _seeds(arguments.seeds)
    with ProcessPoolExecutor(arguments.workers, get_context("spawn")) as pool:
        jobs = [seeds[at : at + PER_JOB] for at in range(0, len(seeds), PER_JOB)]
        steps, failures = 0, []
        for done, failed in pool.map(play_some, jobs, [arguments.steps] * len(jobs)):
            steps += done
            failures += failed
        took = time.monotonic() - began
        alive = [] if arguments.no_mutants else [name for name in pool.map(survivor, range(len(MUTANTS))) if name]
    for failure in failures[:FAILURES_SHOWN]:
        _say(failure)
    mutants = "" if arguments.no_mutants else f", {len(MUTANTS) - len(alive)} of {len(MUTANTS)} mutants killed"
    _say(f"{len(seeds)} seeds, {steps:,} steps, {steps / took:,.0f} steps/s, {len(failures)} failures{mutants}")
    for name in alive:
        _say(f"not noticed: {name}")
    return 1 if failures or alive else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="1000", help="how many, or a range such as 500-999")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of each world before its faults stop")
    parser.add_argument("--seed", type=int, help="play this one and show its trace")
    parser.add_argument("--digest", action="store_true", help="with --seed: show only what tells traces apart")
    parser.add_argument("--no-mutants", action="store_true", help="leave the mutants out")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def _seeds(told: str) -> range:
    first, dash, last = told.partition("-")
    return range(int(first), int(last) + 1) if dash else range(int(first))


def _play_again(seed: int, steps: int, *, digest_only: bool) -> int:
    failure = None
    try:
        world = play(seed, steps)
    except FoundError as error:
        failure = error
        if error.world is None:
            raise
        world = error.world
    if digest_only:
        _say(world.digest())
        return 0
    for line in world.history():
        _say(line)
    _say(str(failure) if failure else f"seed {seed}: {world.timeline.steps:,} steps, no failure")
    return 1 if failure else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())

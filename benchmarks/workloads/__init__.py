"""One module per row of the table of bars."""

from __future__ import annotations

from benchmarks.lab import Workload
from benchmarks.workloads import (
    w01_fan_out,
    w02_chain,
    w03_diamonds,
    w04_trigger,
    w05_big,
    w06_many_agents,
    w07_idle,
    w08_history,
    w09_shell,
    w10_beside,
)

ALL: tuple[Workload, ...] = (
    w01_fan_out.WORKLOAD,
    w02_chain.WORKLOAD,
    w03_diamonds.WORKLOAD,
    w04_trigger.WORKLOAD,
    w05_big.WORKLOAD,
    w06_many_agents.WORKLOAD,
    w07_idle.WORKLOAD,
    w08_history.WORKLOAD,
    w09_shell.WORKLOAD,
    w10_beside.WORKLOAD,
)

__all__ = ["ALL"]

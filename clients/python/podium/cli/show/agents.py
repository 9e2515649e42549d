"""Agents as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from podium.cli.show.quantity import cores, moment, size
from podium.cli.show.states import state
from podium.cli.show.table import Cell, Row, Table, card, number

if TYPE_CHECKING:
    from podium.resources import Agent


def table(agents: Sequence[Agent]) -> Table:
    """Return one row per agent: what is in use of what it offers, and how many attempts that is."""
    return Table(("AGENT", "STATE", "CORES", "MEMORY", "ATTEMPTS", "LABELS"), [_row(agent) for agent in agents])


def _row(agent: Agent) -> Row:
    return [
        agent.name,
        _state(agent),
        number(_cores(agent)),
        number(_memory(agent)),
        number(agent.live_attempts),
        _labels(agent),
    ]


def details(agent: Agent) -> str:
    """Return all that is known of an agent, one field a line."""
    return card(
        [
            ("agent", agent.name),
            ("id", agent.agent_id),
            ("state", _state(agent)),
            ("cores", _cores(agent)),
            ("memory", _memory(agent)),
            ("attempts", str(agent.live_attempts)),
            ("labels", _labels(agent)),
            ("host", agent.hostname),
            ("platform", agent.platform),
            ("disk free", size(agent.disk_free_bytes)),
            ("python", agent.python_version),
            ("podium", agent.podium_version),
            ("connected", moment(agent.connect_time)),
            ("last heard", moment(agent.last_heard_time)),
        ]
    )


def _state(agent: Agent) -> Cell:
    shown = state(agent.state)
    return Cell(f"{shown.text}, draining", shown.color) if agent.draining else shown


def _cores(agent: Agent) -> str:
    return f"{cores(agent.cpu_millis_used)} of {cores(agent.cpu_millis)}"


def _memory(agent: Agent) -> str:
    return f"{size(agent.memory_bytes_used)} of {size(agent.memory_bytes)}"


def _labels(agent: Agent) -> str:
    return ",".join(f"{name}={value}" for name, value in agent.labels.items())

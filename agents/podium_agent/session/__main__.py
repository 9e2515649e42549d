"""The session process: puts the parts together, runs them, and drains on SIGTERM.

Started by the spawner as `python -m podium_agent.session DATA_FOLDER SPAWNER_FD LISTENER_FD`. Exit codes: 0 drained, 3
refused by the coordinator for good, 1 anything else (the spawner starts another).
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from pathlib import Path

import structlog

from podium.errors import IncompatibleAgentError
from podium_agent.session.assembly import Agent
from podium_agent.session.logging import configure_logging
from podium_agent.settings import AgentSettings
from podium_agent.store.folder import DataFolder

log = structlog.get_logger(__name__)

DRAINED, FAULTY, REFUSED = 0, 1, 3


async def serve(folder: DataFolder, settings: AgentSettings, channel: socket.socket, listener: socket.socket) -> int:
    """Run a session until it is drained, refused, or left by the spawner; return the exit code."""
    loop = asyncio.get_running_loop()
    agent = Agent(folder, settings, channel)
    loop.add_signal_handler(signal.SIGTERM, agent.drain)
    try:
        await agent.run(listener)
    except IncompatibleAgentError as error:
        log.error("refused_for_good", reason=error.reason, error=error.message)  # noqa: TRY400 - no traceback wanted
        return REFUSED
    return DRAINED


def main(root: str, spawner: str, listener: str) -> int:
    """Run as the session of the data folder `root`, with the descriptors the spawner handed down."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logging()
    folder = DataFolder(Path(root))
    settings = AgentSettings.model_validate(json.loads(folder.settings.read_text())["settings"])
    channel, listening = socket.socket(fileno=int(spawner)), socket.socket(fileno=int(listener))
    try:
        return asyncio.run(serve(folder, settings, channel, listening))
    except Exception:
        log.exception("session_failed")
        return FAULTY


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

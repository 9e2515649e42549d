"""The agent's own words never stop its work."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import structlog
from podium_agent.session.logging import configure_logging
from podium_agent.spawner import say

configure_logging()
sys.stdin.read()
structlog.get_logger("x").info("nobody", reads="this")
say("nor this")
print("still here")
"""


def test_a_reader_that_is_gone_stops_nothing() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stderr.close()
        process.stdin.close()
        assert process.stdout.read() == "still here\n"
    assert process.returncode == 0

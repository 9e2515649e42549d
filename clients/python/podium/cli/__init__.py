"""The `podium` command. What a command needs is imported when it runs, so that `podium --help` stays quick."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process and exit with its code (see `podium.cli.exits`)."""
    from podium.cli.app import run

    sys.exit(run(sys.argv[1:]))

"""The agent's entry: reads settings, takes the data folder, and becomes the spawner."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from podium.errors import FieldViolation, InvalidSettingError, PodiumError
from podium.version import __version__
from podium_agent.settings import AgentSettings, load_settings
from podium_agent.store.folder import DataFolder, replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

FLAGS = {
    "coordinators": "addresses of coordinators, host:port, separated by commas",
    "name": "the agent's name, unique in the cluster (default: the host's)",
    "data_dir": "the agent's own folder",
    "cpu": "cores offered to tasks (default: all)",
    "memory": "memory offered to tasks, such as 8GiB (default: 85 %% of what there is)",
    "labels": "what tasks may ask for: name=value,name=value",
    "grace": "seconds a stopped task may take to end by itself (default: 10)",
    "cache_size": "size of the cache of bundles and files, such as 2GiB",
    "python": "the interpreter that executes tasks",
}
UNUSABLE_SETTINGS = 4


def run_agent(settings: AgentSettings) -> NoReturn:
    """Become the agent with these settings: this process is replaced by the spawner.

    Raises:
        DataFolderInUseError: Another agent uses the data folder.
        InvalidSettingError: The data folder cannot be used.
    """
    folder = DataFolder(settings.data_dir)
    try:
        folder.prepare()
        descriptor = folder.lock()
        replace_file(folder.settings, json.dumps(settings.for_spawner(folder.root)).encode())
    except OSError as error:
        reason = f"the folder cannot be used: {error}"
        raise InvalidSettingError(f"data_dir: {reason}.", (FieldViolation("data_dir", reason),)) from error
    os.set_inheritable(descriptor, True)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "podium_agent.spawner", str(folder.root)])  # noqa: S606


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the agent from the command line."""
    parser = argparse.ArgumentParser(prog="podium agent", description="Executes tasks on this host.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--config", type=Path, help="a TOML file with a table [agent]")
    for name, text in FLAGS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, help=text)
    flags = vars(parser.parse_args(argv))
    try:
        run_agent(load_settings(flags, flags.pop("config")))
    except PodiumError as error:
        sys.stderr.write(f"podium agent: {error.message}\n")
    sys.exit(UNUSABLE_SETTINGS)

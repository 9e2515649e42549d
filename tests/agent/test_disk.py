"""A full disk under the agent's data folder loses nothing and heals by itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agent.bundles import a_bundle, a_call
from tests.agent.conftest import RunningAgent
from tests.agent.peer import Peer, a_shell

MODULE = """
    import os

    def fill(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        size = 1 << 20
        while size:
            try:
                os.write(descriptor, bytes(size))
            except OSError:
                size //= 2
        os.close(descriptor)
        return "x" * 20000

    def quick():
        return 1
"""

UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]


def can_mount(folder: Path) -> bool:
    argv = [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def make_space(agent: RunningAgent, folder: Path) -> None:
    """Remove the file that fills the disk, which only the agent's namespace shows."""
    Path(f"/proc/{agent.process.pid}/root{folder}/full").unlink()


async def test_a_full_disk_loses_no_result_and_new_work_waits_until_there_is_space(
    start: Callable[..., RunningAgent], peer: Peer, tmp_path: Path
) -> None:
    folder = tmp_path / "agent"
    folder.mkdir()
    if not can_mount(folder):
        pytest.skip("NOT RUN: this host lets nobody mount a tmpfs, not even in a namespace of its own")
    mount = 'mount -t tmpfs -o size=8m,mode=0700 tmpfs "$0" && exec "$@"'
    agent = start(prefix=[*UNSHARE, "sh", "-c", mount, str(folder)])
    agent.seen_id = (await peer.hello()).agent_id
    bundle = a_bundle(peer, work=MODULE)
    warm = [a_call(bundle, "work:quick") for _ in range(4)]
    peer.assign(*warm)
    for order in warm:
        await peer.end_of(order)
    filling = a_call(bundle, "work:fill", str(folder / "full"))
    peer.assign(filling)
    assert len(await peer.result_of(filling)) == 20000
    await peer.until(lambda: peer.draining)
    refused = a_shell("true")
    peer.assign(refused)
    await peer.until(lambda: refused.attempt.token in peer.returned)
    make_space(agent, folder)
    await peer.hello(2)
    await peer.until(lambda: not peer.draining)
    after = a_call(bundle, "work:quick")
    peer.assign(after)
    assert await peer.result_of(after) == 1
    assert "journal_cannot_be_written" in agent.log()

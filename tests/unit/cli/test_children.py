"""The processes of a small cluster, with real ones: what they write, how they end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from podium.cli.local import children
from podium.cli.local.children import Child

UNTIL_TOLD = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("ready", flush=True)
while True:
    signal.pause()
"""
STUBBORN = UNTIL_TOLD.replace("lambda *_: sys.exit(7)", "lambda *_: print('told', flush=True)")


class Lines:
    """Keeps what children wrote; lets a test wait for a line."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []
        self.changed = asyncio.Condition()
        self.tasks: set[asyncio.Task[None]] = set()

    def __call__(self, name: str, line: str) -> None:
        self.taken.append((name, line))
        task = asyncio.create_task(self._tell())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, line: str, count: int = 1) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: [text for _, text in self.taken].count(line) >= count)


async def a_child(lines: Lines, program: str, name: str = "agent-1") -> Child:
    return await children.start(name, [sys.executable, "-c", program], lines)


async def test_each_line_arrives_with_the_name_of_its_writer() -> None:
    lines = Lines()
    child = await a_child(lines, "import sys; print('out'); print('err', file=sys.stderr); sys.stdout.write('half')")
    assert await child.ended == 0
    assert sorted(lines.taken) == [("agent-1", "err"), ("agent-1", "half"), ("agent-1", "out")]


async def test_an_overlong_line_arrives_in_pieces_and_whole() -> None:
    lines = Lines()
    child = await a_child(lines, "print('x' * 300_000)")
    assert await child.ended == 0
    assert "".join(text for _, text in lines.taken) == "x" * 300_000


async def test_a_child_is_drained_by_one_signal() -> None:
    lines = Lines()
    child = await a_child(lines, UNTIL_TOLD)
    await lines.until("ready")
    await children.stop([child], asyncio.Event())
    assert child.ended.result() == 7


async def test_a_second_request_tells_a_child_again_and_kills_it_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "KILL_AFTER", 0.5)
    lines, urgent = Lines(), asyncio.Event()
    child = await a_child(lines, STUBBORN)
    await lines.until("ready")
    stopping = asyncio.create_task(children.stop([child], urgent))
    await lines.until("told")
    assert child.alive
    urgent.set()
    await lines.until("told", 2)
    await stopping
    assert child.ended.result() == -9


async def test_a_grandchild_that_holds_the_pipe_does_not_hold_up_the_end() -> None:
    lines = Lines()
    nested = "import signal; print('nested', flush=True); signal.pause()"
    starts_one = "; ".join(
        (
            "import subprocess, sys",
            f"p = subprocess.Popen([sys.executable, '-c', {nested!r}], stderr=subprocess.PIPE)",
            "print('pid', p.pid, flush=True)",
            "sys.stdin.read()",
        )
    )
    child = await a_child(lines, starts_one)
    assert await child.ended == 0
    (pid,) = (int(text.split()[1]) for _, text in lines.taken if text.startswith("pid"))
    os.kill(pid, 9)


async def test_stopping_what_has_ended_returns_at_once() -> None:
    child = await a_child(Lines(), "pass")
    await child.ended
    await children.stop([child], asyncio.Event())
    await children.stop([], asyncio.Event())


def test_a_server_drains_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    server = tmp_path / "server.py"
    server.write_text(
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('drained', flush=True), sys.exit()))\n"
        "from podium.cli.lifeline import die_with_parent\n"
        "die_with_parent()\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    starter = tmp_path / "starter.py"
    starter.write_text(
        "import os, signal, subprocess, sys\n"
        "os.environ['PODIUM_UP_PID'] = str(os.getpid())\n"
        f"subprocess.Popen([sys.executable, {str(server)!r}])\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, str(starter)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
        assert process.stdout.read() == "drained\n"


def test_a_server_does_not_start_when_the_process_that_started_it_is_gone() -> None:
    program = "from podium.cli.lifeline import die_with_parent; die_with_parent(); print('started')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PODIUM_UP_PID": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "is gone" in done.stderr

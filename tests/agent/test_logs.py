"""What attempts print: complete when small, head and tail when large, readable while it grows."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from podium import logformat
from tests.agent.bundles import a_call
from tests.agent.conftest import RunningAgent, wait_until
from tests.agent.peer import Peer, a_shell
from tests.agent.signs import Sign

MODULE = """
    import os, sys, time

    def flood(megabytes):
        line = b"x" * 999 + b"\\n"
        os.write(1, b"the beginning\\n")
        for _ in range(megabytes * 1000):
            os.write(1, line)
        print("the end")

    def flood_and_die(megabytes):
        flood(megabytes)
        os._exit(1)

    def talk(sign, go):
        print("first")
        sys.stderr.write("warning\\n")
        with open(go) as file:
            file.readline()
        print("y" * 10000)
        with open(go) as file:
            file.readline()
        return os.getpid()

    def bytes_that_are_no_text():
        os.write(1, bytes(range(256)))

    def lines(count):
        for number in range(count):
            print(number)
"""


@pytest.fixture
def go(tmp_path: Path) -> Iterator[Sign]:
    with Sign(tmp_path / "go") as made:
        yield made


def release(go: Sign) -> None:
    descriptor = os.open(go.path, os.O_WRONLY)
    os.write(descriptor, b"go\n")
    os.close(descriptor)


async def test_a_flood_keeps_its_head_and_its_tail_with_a_marker_between(
    agent: RunningAgent, peer: Peer, bundle: str
) -> None:
    await peer.hello()
    order = a_call(bundle, "work:flood", 40)
    peer.assign(order)
    log = await peer.whole_log(order)
    assert len(log.data) < 2.2 * (1 << 20)
    assert peer.finished[order.attempt.token].log_bytes == len(log.data)
    text = log.text()
    assert text.startswith("the beginning\nxxx")
    assert text.endswith("x\nthe end\n")
    marker = log.text(3)
    left_out = int(marker.split()[1])
    assert 37_000_000 < left_out < 39_000_000
    assert len(text) + left_out == pytest.approx(40_000_022, rel=0.001)


async def test_a_flood_that_ends_in_death_keeps_its_last_words(agent: RunningAgent, peer: Peer, bundle: str) -> None:
    await peer.hello()
    order = a_call(bundle, "work:flood_and_die", 5)
    peer.assign(order)
    log = await peer.whole_log(order)
    assert log.text().endswith("x\nthe end\n")
    assert "left out" in log.text(3)


async def test_a_log_can_be_read_while_the_attempt_executes(
    agent: RunningAgent, peer: Peer, bundle: str, go: Sign
) -> None:
    await peer.hello()
    order = a_call(bundle, "work:talk", "", go.path)
    token = order.attempt.token
    peer.assign(order)
    await peer.until(lambda: token in peer.logs and peer.logs[token].text() == "first\n")
    assert peer.logs[token].text(2) == "warning\n"
    release(go)
    await peer.until(lambda: len(peer.logs[token].data) > 10_000)
    assert token not in peer.finished
    release(go)
    log = await peer.whole_log(order)
    assert log.text() == "first\n" + "y" * 10000 + "\n"


async def test_a_log_survives_the_session(agent: RunningAgent, peer: Peer, bundle: str, go: Sign) -> None:
    await peer.hello()
    order = a_call(bundle, "work:talk", "", go.path)
    token = order.attempt.token
    peer.assign(order)
    await peer.until(lambda: token in peer.logs)
    os.kill(agent.session_pid(), signal.SIGKILL)
    await peer.hello(2)
    release(go)
    await peer.until(lambda: len(peer.logs[token].data) > 10_000)
    release(go)
    log = await peer.whole_log(order)
    assert log.text() == "first\n" + "y" * 10000 + "\n"
    assert wait_until(lambda: not list((agent.folder / "logs").iterdir()))


async def test_bytes_that_are_no_text_are_kept_as_they_are(agent: RunningAgent, peer: Peer, bundle: str) -> None:
    await peer.hello()
    order = a_call(bundle, "work:bytes_that_are_no_text")
    peer.assign(order)
    log = await peer.whole_log(order)
    [record], rest = logformat.decode(log.data)
    assert (record.data, rest) == (bytes(range(256)), b"")


async def test_a_small_log_travels_with_the_result_and_leaves_no_file(
    agent: RunningAgent, peer: Peer, bundle: str
) -> None:
    await peer.hello()
    orders = [a_call(bundle, "work:lines", 3) for _ in range(10)]
    peer.assign(*orders)
    for order in orders:
        end = await peer.end_of(order)
        assert b"0\n1\n2\n" in b"".join(record.data for record in logformat.decode(end.log)[0])
        assert end.log_bytes == len(end.log)
    assert not list((agent.folder / "logs").iterdir())
    assert not peer.logs


async def test_a_log_that_was_not_taken_is_sent_by_the_next_start(
    start: Callable[..., RunningAgent], peer: Peer, go: Sign
) -> None:
    agent = start()
    await peer.hello()
    order = a_shell("echo begun; read line < $GO; sleep 1000")
    order.env["GO"] = go.path
    peer.assign(order)
    token = order.attempt.token
    await peer.until(lambda: token in peer.logs)
    agent.process.kill()
    agent.process.wait(5)
    start()
    await peer.until(lambda: peer.logs[token].last)
    assert peer.logs[token].text() == "begun\n"

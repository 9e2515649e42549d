"""Files and large values travel between tasks as blobs."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from podium.v1 import run_pb2
from tests.agent.bundles import a_call
from tests.agent.conftest import RunningAgent, wait_until
from tests.agent.peer import Peer, inputs, output

MODULE = """
    import os
    from pathlib import Path

    def write(name, text):
        path = Path(name)
        path.write_text(text)
        return {"file": path, "count": 1}

    def outside(path):
        return Path(path)

    def read(file):
        return [type(file).__mro__[-2].__name__, file.name, file.read_text(), oct(file.stat().st_mode & 0o222)]

    def pass_on(file):
        return {"again": file}

    def large(size):
        return "z" * size

    def length(value):
        return len(value)

    def many():
        for number in range(3):
            Path(f"{number}.txt").write_text("same")
        return [Path(f"{number}.txt") for number in range(3)]
"""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_a_returned_file_is_stored_before_the_end_is_told(agent: RunningAgent, peer: Peer, bundle: str) -> None:
    await peer.hello()
    order = a_call(bundle, "work:write", "out.csv", "a,b\n")
    peer.assign(order)
    result = await peer.result_of(order)
    sha256 = digest("a,b\n")
    reference = {"sha256": sha256, "name": "out.csv", "size": 4}
    assert result == {"file": {"$file": reference}, "count": 1}
    assert peer.blobs[sha256] == b"a,b\n"
    [blob] = peer.finished[order.attempt.token].blobs
    assert (blob.sha256, blob.size, blob.name) == (sha256, 4, "out.csv")
    assert wait_until(lambda: not list((agent.folder / "files").iterdir()))


async def test_a_file_is_given_to_the_next_task_under_its_own_name(
    agent: RunningAgent, peer: Peer, bundle: str
) -> None:
    await peer.hello()
    name = peer.put(b"text of it")
    value = {"file": {"$file": {"sha256": name, "name": "report of 2013.txt", "size": 10}}}
    orders = [
        a_call(bundle, "work:read", bindings={"file": output("up", "file")}, inputs=inputs({"up": value}))
        for _ in range(2)
    ]
    peer.assign(*orders)
    for order in orders:
        assert await peer.result_of(order) == ["PurePath", "report of 2013.txt", "text of it", "0o0"]
    assert peer.fetched.count(name) == 1


async def test_a_file_that_is_handed_on_is_not_sent_again(agent: RunningAgent, peer: Peer, bundle: str) -> None:
    await peer.hello()
    name = peer.put(b"text of it")
    value = {"$file": {"sha256": name, "name": "a.txt", "size": 10}}
    order = a_call(bundle, "work:pass_on", bindings={"file": output("up")}, inputs=inputs({"up": value}))
    peer.assign(order)
    assert await peer.result_of(order) == {"again": value}
    [blob] = peer.finished[order.attempt.token].blobs
    assert blob.sha256 == name


async def test_a_large_output_becomes_a_blob_and_reads_as_the_value(
    agent: RunningAgent, peer: Peer, bundle: str
) -> None:
    await peer.hello()
    order = a_call(bundle, "work:large", 300_000)
    peer.assign(order)
    result = await peer.result_of(order)
    assert result == {"$blob": {"sha256": digest(json.dumps("z" * 300_000)), "size": 300_002}}
    after = a_call(bundle, "work:length", bindings={"value": output("up")}, inputs=inputs({"up": result}))
    peer.assign(after)
    assert await peer.result_of(after) == 300_000


async def test_an_output_over_the_limit_is_refused_by_name(
    start: Callable[..., RunningAgent], peer: Peer, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODIUM_AGENT__LARGEST_OUTPUT", "1MiB")
    start()
    await peer.hello()
    order = a_call(bundle, "work:large", 2_000_000)
    peer.assign(order)
    failure = (await peer.end_of(order)).failure
    assert failure.kind == run_pb2.FAILURE_KIND_USER_ERROR
    assert "1,048,576" in failure.message


async def test_a_file_elsewhere_on_the_disk_stays_where_it_is(
    agent: RunningAgent, peer: Peer, bundle: str, tmp_path: Any
) -> None:
    await peer.hello()
    path = tmp_path / "kept.txt"
    path.write_text("kept")
    order = a_call(bundle, "work:outside", str(path))
    peer.assign(order)
    assert (await peer.result_of(order))["$file"]["sha256"] == digest("kept")
    assert path.read_text() == "kept"


async def test_equal_files_are_one_blob_with_several_names(agent: RunningAgent, peer: Peer, bundle: str) -> None:
    await peer.hello()
    order = a_call(bundle, "work:many")
    peer.assign(order)
    await peer.end_of(order)
    names = {(blob.sha256, blob.name) for blob in peer.finished[order.attempt.token].blobs}
    assert names == {(digest("same"), f"{number}.txt") for number in range(3)}


async def test_files_not_yet_stored_are_stored_by_the_next_session(
    agent: RunningAgent, peer: Peer, bundle: str
) -> None:
    await peer.hello()
    peer.stats_refused = 2
    order = a_call(bundle, "work:write", "out.csv", "a,b\n")
    peer.assign(order)
    await peer.until(lambda: peer.stats)
    os.kill(agent.session_pid(), signal.SIGKILL)
    assert (await peer.result_of(order))["count"] == 1
    assert digest("a,b\n") in peer.blobs


async def test_a_cached_file_that_a_task_wrote_to_is_fetched_anew(agent: RunningAgent, peer: Peer, bundle: str) -> None:
    await peer.hello()
    name = peer.put(b"text of it")
    value = {"$file": {"sha256": name, "name": "a.txt", "size": 10}}
    first, second = (
        a_call(bundle, "work:read", bindings={"file": output("up")}, inputs=inputs({"up": value})) for _ in range(2)
    )
    peer.assign(first)
    await peer.end_of(first)
    cached = agent.folder / "blobs" / name[:2] / name
    cached.chmod(0o600)
    cached.write_text("tampered!!")
    peer.assign(second)
    assert (await peer.result_of(second))[2] == "text of it"


async def test_a_fetch_goes_on_where_it_was_when_the_session_ends_in_between(
    agent: RunningAgent, peer: Peer, bundle: str
) -> None:
    await peer.hello()
    peer.held_back = bundle
    order = a_call(bundle, "work:large", 3)
    peer.assign(order)
    await peer.until(lambda: bundle in peer.fetched and not peer.held_back)
    peer.drop_session()
    await peer.hello(2)
    assert await peer.result_of(order) == "zzz"
    assert peer.fetched.count(bundle) == 2


async def test_a_file_the_coordinator_refuses_fails_the_attempt(agent: RunningAgent, peer: Peer, bundle: str) -> None:
    await peer.hello()
    peer.refuses_blobs = True
    order = a_call(bundle, "work:write", "out.csv", "a,b\n")
    peer.assign(order)
    failure = (await peer.end_of(order)).failure
    assert failure.kind == run_pb2.FAILURE_KIND_USER_ERROR
    assert "too large for the test" in failure.message

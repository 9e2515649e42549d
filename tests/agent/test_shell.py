from __future__ import annotations

from podium.v1 import run_pb2
from tests.agent.conftest import RunningAgent
from tests.agent.peer import Peer, a_shell


async def test_a_script_succeeds_and_its_output_is_in_its_log(agent: RunningAgent, peer: Peer) -> None:
    await peer.hello()
    order = a_shell("echo out; echo err >&2")
    peer.assign(order)
    end = await peer.end_of(order)
    assert end.state == run_pb2.ATTEMPT_STATE_SUCCEEDED
    assert end.output == b"null"
    log = await peer.whole_log(order)
    assert (log.text(1), log.text(2)) == ("out\n", "err\n")

from __future__ import annotations

import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium_agent import frames

HEADERS = st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.integers()))


@settings(deadline=None)
@given(st.lists(st.tuples(HEADERS, st.binary()), max_size=5), st.integers(1, 50))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(
    given_frames: list[tuple[dict[str, object], bytes]], piece: int
) -> None:
    stream = b"".join(frames.pack(header, body) for header, body in given_frames)
    buffer = frames.FrameBuffer()
    found = [frame for at in range(0, len(stream), piece) for frame in buffer.feed(stream[at : at + piece])]
    assert found == given_frames


def test_a_blocking_receiver_reads_one_frame_at_a_time_and_sees_the_end() -> None:
    ours, theirs = socket.socketpair()
    body = b"x" * 3_000_000
    sent = frames.pack({"n": 1}, body) + frames.pack({"n": 2}) + frames.pack({"n": 3}, b"torn")[:-1]

    def send() -> None:
        theirs.sendall(sent)
        theirs.close()

    sender = threading.Thread(target=send)
    sender.start()
    assert frames.receive(ours) == ({"n": 1}, body)
    assert frames.receive(ours) == ({"n": 2}, b"")
    assert frames.receive(ours) is None
    sender.join()
    ours.close()


@pytest.mark.parametrize(
    "stream",
    [b"\xff" * 8, frames.LENGTHS.pack(2, 0) + b"[]", frames.LENGTHS.pack(3, 0) + b"{,}"],
    ids=["too long", "no object", "no JSON"],
)
def test_what_is_no_frame_is_refused(stream: bytes) -> None:
    with pytest.raises(frames.FrameError):
        list(frames.FrameBuffer().feed(stream))


def test_a_frame_over_the_limit_is_not_made() -> None:
    with pytest.raises(frames.FrameError, match="over the limits"):
        frames.check_lengths(0, frames.MAX_BODY + 1)

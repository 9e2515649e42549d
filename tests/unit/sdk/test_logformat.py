from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.logformat import HEADER_BYTES, MAX_RECORD_BYTES, LogFormatError, LogStream, Record, decode, encode

RECORDS = st.lists(
    st.builds(Record, st.floats(0, 4e9), st.sampled_from(LogStream), st.binary(min_size=1, max_size=50)), max_size=5
)


@given(RECORDS, st.data())
def test_records_come_back_whole_wherever_the_bytes_are_cut(records: list[Record], data: st.DataObject) -> None:
    encoded = b"".join(encode(*record) for record in records)
    cut = data.draw(st.integers(0, len(encoded)))
    first, rest = decode(encoded[:cut])
    second, left = decode(rest + encoded[cut:])
    assert first + second == records
    assert left == b""


def test_a_header_is_a_double_a_byte_and_a_length() -> None:
    assert encode(1.5, LogStream.STDERR, b"hi") == b"\x3f\xf8\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x02hi"


def test_a_long_piece_becomes_several_records() -> None:
    records, _ = decode(encode(1.0, 1, b"x" * (MAX_RECORD_BYTES + 1)))
    assert [len(record.data) for record in records] == [MAX_RECORD_BYTES, 1]


def test_no_bytes_make_no_record() -> None:
    assert encode(1.0, 1, b"") == b""


def test_an_unknown_stream_is_refused() -> None:
    with pytest.raises(LogFormatError, match=r"The record at byte 0 has the unknown stream 9\."):
        decode(b"\0" * 8 + b"\x09" + b"\0" * 4)
    with pytest.raises(ValueError, match="9 is not a valid LogStream"):
        encode(1.0, 9, b"x")


def test_a_record_that_claims_too_much_is_refused_before_it_is_waited_for() -> None:
    good = encode(1.0, 1, b"x")
    with pytest.raises(LogFormatError, match=f"at byte {HEADER_BYTES + 1} claims 4294967295 bytes"):
        decode(good + b"\0" * 8 + b"\x01" + b"\xff" * 4)

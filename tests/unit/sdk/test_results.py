from __future__ import annotations

import datetime
import hashlib
import json
from collections import namedtuple
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum, StrEnum
from pathlib import Path

import pytest
from hypothesis import given

from podium.errors import InvalidResultError, ResultTooLargeError
from podium.model.spec import JsonValue
from podium.results import (
    BlobRef,
    FileRef,
    blob_json,
    blob_reference,
    decode_result,
    encode_result,
    file_json,
    file_reference,
    file_references,
    with_files,
)
from tests.unit.sdk.strategies import ANY_JSON

Point = namedtuple("Point", "x y")
SHA = "ab" * 32


class Color(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@dataclass
class Row:
    x: int


def a_generator() -> Iterator[int]:
    yield 1


async def an_async_generator() -> AsyncIterator[int]:
    yield 1


@given(ANY_JSON)
def test_json_comes_back_exactly_as_it_was(value: JsonValue) -> None:
    data, files = encode_result(value)
    assert repr(decode_result(data)) == repr(value)
    assert files == []


def test_integers_of_any_size_are_exact() -> None:
    assert decode_result(encode_result({"n": 3**8000})[0]) == {"n": 3**8000}


def test_tuples_become_lists_and_enums_their_values() -> None:
    data, _ = encode_result((Point(1, 2.5), Color.RED, {"level": Level.HIGH}))
    assert data == b'[[1,2.5],"red",{"level":3}]'


def test_no_output_reads_as_none() -> None:
    assert decode_result(b"") is None
    assert encode_result(None)[0] == b"null"


def test_files_are_lifted_out_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"rows")
    (tmp_path / "ä b.png").write_bytes(b"")
    data, files = encode_result({"table": tmp_path / "a.csv", "all": [1, (tmp_path / "ä b.png", tmp_path / "a.csv")]})
    table = FileRef(hashlib.sha256(b"rows").hexdigest(), "a.csv", 4)
    picture = FileRef(hashlib.sha256(b"").hexdigest(), "ä b.png", 0)
    assert json.loads(data) == {"table": file_json(table), "all": [1, [file_json(picture), file_json(table)]]}
    assert [(found.path, found.file) for found in files] == [
        (tmp_path / "a.csv", table),
        (tmp_path / "ä b.png", picture),
    ]


def test_a_relative_path_is_one_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out.txt").write_bytes(b"x")
    _, [file] = encode_result(Path("out.txt"))
    assert file.path == tmp_path / "out.txt"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: {"a": [0, 1, 2, {1}]}, "result['a'][3] is a set, which is no JSON value; return sorted(value)."),
        (a_generator, "result is a generator, which is no JSON value; return list(...) of it."),
        (an_async_generator, "result is an async_generator, which is no JSON value; return list(...) of it."),
        (lambda: [b"x"], "result[0] is a bytes, which is no JSON value; write them to a file and return its path."),
        (
            lambda: {"when": datetime.date(2013, 1, 1)},
            "result['when'] is a datetime.date, which is no JSON value; return value.isoformat().",
        ),
        (
            lambda: Row(1),
            f"result is a {__name__}.Row, which is no JSON value; return dataclasses.asdict(value).",
        ),
        (
            lambda: Decimal(1),
            (
                "result is a decimal.Decimal, which is no JSON value; "
                "return numbers, text, lists, dicts or paths of files."
            ),
        ),
        (lambda: map(str, [1]), "result is a map, which is no JSON value; return list(value)."),
        (lambda: {"x": {1: 2}}, "result['x'] has the key 1, an int; JSON objects have text as keys. Use str(key)."),
        (lambda: [1.0, float("nan")], "result[1] is nan, which JSON does not have; use None or text."),
        (lambda: {"x": float("-inf")}, "result['x'] is -inf, which JSON does not have; use None or text."),
        (lambda: ["ok", "\ud800"], "result[1] has a lone surrogate, which UTF-8 cannot hold."),
        (lambda: {"\ud800": 1}, "a key of result has a lone surrogate, which UTF-8 cannot hold."),
        (lambda: [10**5000], "result[0] is an integer of more than 4,300 digits; return it as text."),
        (
            lambda: {"x": {"$file": 1}},
            "result['x'] has the one key '$file', which is reserved for Podium's use.",
        ),
        (
            lambda: Path("/nowhere/x"),
            "result is the path '/nowhere/x', which is no file that exists.",
        ),
        (
            lambda: [Path("/tmp")],
            "result[0] is the path '/tmp', which is a folder; return the files in it, or an archive.",
        ),
    ],
)
def test_what_is_no_json_is_refused_by_its_place(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidResultError) as caught:
        encode_result(make())
    assert str(caught.value) == message


def test_a_coroutine_is_refused() -> None:
    async def work() -> int:
        return 1

    coroutine = work()
    with pytest.raises(InvalidResultError, match=r"run it with asyncio\.run"):
        encode_result([coroutine])
    coroutine.close()


def test_a_value_within_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(InvalidResultError, match=r"is nested deeper than 100 levels; flatten the result\."):
        encode_result(loop)


def test_a_hundred_levels_are_allowed() -> None:
    value: object = []
    for _ in range(99):
        value = [value]
    assert decode_result(encode_result(value)[0]) == value


def test_a_result_over_its_limit_is_refused_with_the_way_out() -> None:
    with pytest.raises(ResultTooLargeError) as caught:
        encode_result("x" * 100, limit=101)
    assert str(caught.value) == (
        "The result takes 102 bytes as JSON; the limit is 101. Write it to a file and return its path."
    )
    assert encode_result("x" * 99, limit=101)[0] == b'"' + b"x" * 99 + b'"'


@pytest.mark.parametrize(
    "value",
    [
        {"$file": {"sha256": SHA, "name": "a", "size": 1}, "more": 1},
        {"$file": {"sha256": SHA, "name": "a", "size": 1, "more": 1}},
        {"$file": {"sha256": SHA, "name": "../a", "size": 1}},
        {"$file": {"sha256": SHA, "name": "..", "size": 1}},
        {"$file": {"sha256": SHA, "name": "", "size": 1}},
        {"$file": {"sha256": "AB" * 32, "name": "a", "size": 1}},
        {"$file": {"sha256": SHA, "name": "a", "size": "1"}},
        {"$file": "a"},
        ["$file"],
        None,
    ],
)
def test_what_only_looks_like_a_file_is_none(value: object) -> None:
    assert file_reference(value) is None


def test_files_in_a_value_are_found_and_replaced() -> None:
    file = FileRef(SHA, "a", 1)
    value: JsonValue = {"x": [file_json(file), 1], "y": {"z": file_json(file)}}
    assert list(file_references(value)) == [file, file]
    assert with_files(value, lambda found: found.name) == {"x": ["a", 1], "y": {"z": "a"}}


def test_a_blob_stands_for_a_whole_value() -> None:
    blob = BlobRef(SHA, 300_000)
    assert blob_reference(blob_json(blob)) == blob
    assert blob_reference({"$blob": {"sha256": "x", "size": 1}}) is None
    assert blob_reference([blob_json(blob)]) is None

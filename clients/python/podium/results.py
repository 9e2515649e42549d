"""What tasks return, as JSON: exact, with files lifted out. Standard library only, so that workers need no more.

A file in a value is written as {"$file": {"sha256", "name", "size"}}, a value too large to travel inline as
{"$blob": {"sha256", "size"}} in place of the whole.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.errors import InvalidResultError, ResultTooLargeError
from podium.model.exactness import type_name
from podium.model.spec import JsonValue

INLINE_BYTES = 256 * 1024
"""The largest JSON that travels by itself, in bytes; larger ones become a blob."""

MAX_RESULT_BYTES = 64 * 1024 * 1024
"""The default for the largest JSON there may be, in bytes."""

MAX_RESULT_DEPTH = 100
"""How deep a result's arrays and objects may nest."""

MAX_FILES = 10_000
"""The most files one result may hold."""

_FILE = "$file"
_BLOB = "$blob"
_SCALARS = frozenset({str, int, float, bool, type(None)})
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file in an output: the blob that holds it, the name its task gave it, its size in bytes."""

    sha256: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class PathRef:
    """A file that a task returned and that is still to be stored: where it is, and what it will be known as."""

    path: Path
    file: FileRef


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A blob that holds a whole value as JSON; its size in bytes."""

    sha256: str
    size: int


def encode_result(value: object, limit: int = MAX_RESULT_BYTES) -> tuple[bytes, list[PathRef]]:
    """Return a task's result as compact JSON in UTF-8, and the files in it, each named by its content.

    Args:
        value: None, booleans, numbers, text, lists, tuples, dicts with text as keys, and `pathlib.Path`s of files.
        limit: The most bytes of JSON.

    Raises:
        InvalidResultError: A part is none of these, or a file is not there; the message names the part, as in
            `result["rows"][3]`.
        ResultTooLargeError: The JSON takes more than `limit` bytes.
    """
    files: dict[Path, PathRef] = {}
    plain = _lift(value, "result", files, MAX_RESULT_DEPTH)
    try:
        data = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:
        _refuse_scalar(plain, "result")
        raise InvalidResultError(f"The result cannot be written as JSON: {error}.") from error
    if len(data) > limit:
        raise ResultTooLargeError(
            f"The result takes {len(data):,} bytes as JSON; the limit is {limit:,}. "
            "Write it to a file and return its path.",
            size=len(data),
            limit=limit,
        )
    return data, list(files.values())


def file_reference(value: object) -> FileRef | None:
    """Return the file that `value` stands for; None when it is an ordinary value."""
    match value:
        case {"$file": {"sha256": str(sha256), "name": str(name), "size": int(size), **more}, **others} if (
            not more | others
        ):
            return FileRef(sha256, name, size) if _SHA256.fullmatch(sha256) and _is_file_name(name) else None
        case _:
            return None


def blob_reference(value: object) -> BlobRef | None:
    """Return the blob that holds the value which `value` stands for; None when it is an ordinary value."""
    match value:
        case {"$blob": {"sha256": str(sha256), "size": int(size), **more}, **others} if not more | others:
            return BlobRef(sha256, size) if _SHA256.fullmatch(sha256) else None
        case _:
            return None


def file_json(file: FileRef) -> dict[str, JsonValue]:
    """Return what stands for a file in an output."""
    return {_FILE: {"sha256": file.sha256, "name": file.name, "size": file.size}}


def blob_json(blob: BlobRef) -> dict[str, JsonValue]:
    """Return what stands for a whole output that a blob holds."""
    return {_BLOB: {"sha256": blob.sha256, "size": blob.size}}


def file_references(value: JsonValue) -> Iterator[FileRef]:
    """Yield the files in an output, each as often as it occurs."""
    found = file_reference(value)
    if found is not None:
        yield found
    elif isinstance(value, dict):
        for item in value.values():
            yield from file_references(item)
    elif isinstance(value, list):
        for item in value:
            yield from file_references(item)


def with_files(value: JsonValue, open_file: Callable[[FileRef], object]) -> Any:
    """Return an output with each file in it replaced by what `open_file` makes of it."""
    if isinstance(value, dict):
        found = file_reference(value)
        if found is not None:
            return open_file(found)
        return {key: with_files(item, open_file) for key, item in value.items()}
    if isinstance(value, list):
        return [with_files(item, open_file) for item in value]
    return value


def decode_result(data: bytes) -> Any:
    """Return the JSON value in `data`, integers of any size exact; no bytes read as None (the task has no output).

    Raises:
        ValueError: It is no JSON.
    """
    return json.loads(data) if data else None


def _lift(value: object, where: str, files: dict[Path, PathRef], depth: int) -> object:
    """Return `value` as `json.dumps` takes it; numbers and text are left to it, which is quicker."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, dict | list | tuple) and depth == 0:
        raise InvalidResultError(f"{where} is nested deeper than {MAX_RESULT_DEPTH} levels; flatten the result.")
    if isinstance(value, dict):
        return _lift_dict(value, where, files, depth)
    if isinstance(value, list | tuple):
        if _SCALARS.issuperset(map(type, value)):
            return value
        return [_lift(item, f"{where}[{index}]", files, depth - 1) for index, item in enumerate(value)]
    if isinstance(value, Path):
        return _lift_path(value, where, files)
    if isinstance(value, str | int | float):
        return value
    raise InvalidResultError(f"{where} is {type_name(value)}, which is no JSON value{_advice(value)}", part=where)


def _lift_dict(value: dict[Any, Any], where: str, files: dict[Path, PathRef], depth: int) -> object:
    if len(value) == 1 and next(iter(value)) in (_FILE, _BLOB):
        raise InvalidResultError(f"{where} has the one key {next(iter(value))!r}, which is reserved for Podium's use.")
    if not {str}.issuperset(map(type, value)):
        for key in value:
            _check_key(key, where)
    if _SCALARS.issuperset(map(type, value.values())):
        return value
    return {key: _lift(item, f"{where}[{key!r}]", files, depth - 1) for key, item in value.items()}


def _check_key(key: object, where: str) -> None:
    if not isinstance(key, str):
        raise InvalidResultError(
            f"{where} has the key {key!r}, {type_name(key)}; JSON objects have text as keys. Use str(key).", part=where
        )


def _lift_path(path: Path, where: str, files: dict[Path, PathRef]) -> object:
    absolute = path.absolute()
    if absolute not in files:
        if len(files) >= MAX_FILES:
            raise InvalidResultError(f"The result has more than {MAX_FILES:,} files; put them into an archive.")
        files[absolute] = PathRef(absolute, _identify(absolute, where))
    return file_json(files[absolute].file)


def _identify(path: Path, where: str) -> FileRef:
    if not path.is_file():
        what = "a folder; return the files in it, or an archive" if path.is_dir() else "no file that exists"
        raise InvalidResultError(f"{where} is the path {str(path)!r}, which is {what}.", part=where)
    if not _is_file_name(path.name):
        raise InvalidResultError(f"{where} is a file whose name {path.name!r} is no UTF-8 text; rename it.", part=where)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return FileRef(digest.hexdigest(), path.name, file.tell())


def _is_file_name(name: str) -> bool:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        return False
    try:
        return len(name.encode()) <= _MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False


def _refuse_scalar(value: object, where: str) -> None:
    """Find the number or the text that JSON cannot hold, after `json.dumps` has refused the whole."""
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_scalar(key, f"a key of {where}")
            _refuse_scalar(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse_scalar(item, f"{where}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidResultError(f"{where} is {value}, which JSON does not have; use None or text.", part=where)
    elif isinstance(value, str) and not _is_text(value):
        raise InvalidResultError(f"{where} has a lone surrogate, which UTF-8 cannot hold.", part=where)
    elif isinstance(value, int) and not _is_writable(value):
        digits = sys.get_int_max_str_digits()
        raise InvalidResultError(
            f"{where} is an integer of more than {digits:,} digits; return it as text.", part=where
        )


def _is_text(text: str) -> bool:
    try:
        return bool(text.encode() or True)
    except UnicodeEncodeError:
        return False


def _is_writable(number: int) -> bool:
    try:
        return bool(str(number))
    except ValueError:
        return False


def _advice(value: object) -> str:
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        return "; return list(...) of it."
    if inspect.iscoroutine(value):
        return "; run it with asyncio.run(...) and return what it gives."
    if isinstance(value, bytes | bytearray | memoryview):
        return "; write them to a file and return its path."
    offers = (
        ("isoformat", "return value.isoformat()"),
        ("model_dump", "return value.model_dump()"),
        ("__dataclass_fields__", "return dataclasses.asdict(value)"),
        ("to_parquet", "write it to a file and return its path"),
        ("write_parquet", "write it to a file and return its path"),
        ("tolist", "return value.tolist()"),
        ("union", "return sorted(value)"),
        ("__next__", "return list(value)"),
    )
    found = next((offer for attribute, offer in offers if hasattr(value, attribute)), None)
    return f"; {found}." if found else "; return numbers, text, lists, dicts or paths of files."

"""Bundles: a project's code as a zip, the same bytes for the same files, and taken apart safely.

Files are stored uncompressed: what a compressor makes of the same bytes differs between its versions.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, NoReturn

from podium.errors import BundleTooLargeError, InvalidBundleError
from podium.project_files import ProjectFile, project_files

MAX_FILES = 10_000
MAX_BYTES = 256 * 1024 * 1024
"""The most that the files of a bundle take together, unpacked."""

MAX_NAME_BYTES = 512
MAX_DIRECTORY_BYTES = MAX_FILES * (46 + MAX_NAME_BYTES)

_EPOCH = (1980, 1, 1, 0, 0, 0)
_PLAIN_MODE = 0o644
_PROGRAM_MODE = 0o755
_UNIX = 3
_CHUNK = 1024 * 1024
_END_OF_DIRECTORY = struct.Struct("<4s4H2LH")
_ENCRYPTED = 0x1
_MAX_PART_BYTES = 255
_DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    ValueError,
)
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{name}{number}" for name in ("com", "lpt") for number in range(1, 10)}
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A packed project: its name, the SHA-256 of its bytes; where they are; how many; and how many files it has."""

    sha256: str
    path: Path
    size: int
    files: int


@contextmanager
def pack(root: Path, prefix: str = "") -> Iterator[Bundle]:
    """Pack a folder into a temporary zip that is there for as long as the context.

    Args:
        root: The folder. What .gitignore names is left out, as are .git, __pycache__, virtual environments and caches.
        prefix: Where the folder's files stand in the bundle, as in "pipelines"; empty for its root.

    Raises:
        InvalidBundleError: The folder is empty, or holds something that cannot be packed.
        BundleTooLargeError: It has more than 10,000 files or 256 MiB.
        OSError: A file cannot be read.
    """
    files = _checked(project_files(root), root, prefix)
    with tempfile.TemporaryDirectory(prefix="podium-bundle-") as folder:
        path = Path(folder) / "bundle.zip"
        with path.open("xb") as target:
            _write(target, files, prefix)
        with path.open("rb") as packed:
            sha256 = hashlib.file_digest(packed, "sha256").hexdigest()
        yield Bundle(sha256, path, path.stat().st_size, len(files))


def unpack(archive: Path, target: Path) -> None:
    """Unpack a bundle into the new folder `target`, which appears once it is whole.

    Nothing is written outside of it, whatever the archive says; and no more than a bundle may hold.

    Raises:
        InvalidBundleError: It is no zip, is damaged, or has a name, a link or a method that bundles do not have.
        BundleTooLargeError: It has more than 10,000 files or 256 MiB.
        FileExistsError: `target` is there already.
        OSError: A file cannot be written.
    """
    if target.exists():
        raise FileExistsError(f"{target} is there already.")
    partial = target.with_name(f".{secrets.token_hex(8)}.partial")
    partial.mkdir(mode=0o700, parents=True)
    try:
        with archive.open("rb") as file:
            _unpack_all(file, partial)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _checked(found: Iterable[ProjectFile], root: Path, prefix: str) -> list[ProjectFile]:
    files: list[ProjectFile] = []
    size = 0
    for file in found:
        size += file.path.stat().st_size
        _check_limits(len(files) + 1, size, f"{root}")
        _check_name(f"{prefix}/{file.name}" if prefix else file.name)
        files.append(file)
    if not files:
        raise InvalidBundleError(f"There is nothing to pack in {root}.", folder=str(root))
    return sorted(files, key=lambda file: file.name.encode())


def _check_limits(files: int, size: int, what: str) -> None:
    advice = "Give the project a folder of its own, or name what it does not need in .gitignore."
    if files > MAX_FILES:
        raise BundleTooLargeError(f"{what} has more than {MAX_FILES:,} files. {advice}", limit=MAX_FILES)
    if size > MAX_BYTES:
        raise BundleTooLargeError(
            f"{what} has more than {MAX_BYTES:,} bytes (256 MiB) of files. {advice}", limit=MAX_BYTES
        )


def _write(target: BinaryIO, files: Sequence[ProjectFile], prefix: str) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            info = zipfile.ZipInfo(f"{prefix}/{file.name}" if prefix else file.name, _EPOCH)
            facts = file.path.stat()
            mode = _PROGRAM_MODE if facts.st_mode & stat.S_IXUSR else _PLAIN_MODE
            info.external_attr = (stat.S_IFREG | mode) << 16
            info.create_system = _UNIX
            info.file_size = facts.st_size
            with file.path.open("rb") as source, archive.open(info, "w") as entry:
                shutil.copyfileobj(source, entry, _CHUNK)


def _unpack_all(file: BinaryIO, target: Path) -> None:
    size = _check_directory(file)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if not entries:
                raise InvalidBundleError("There is nothing in the bundle.")
            _check_limits(len(entries), sum(entry.file_size for entry in entries), "The bundle")
            for entry in entries:
                _check_entry(entry, size)
            _check_tree([entry.filename for entry in entries])
            for entry in entries:
                _extract(archive, entry, target)
    except _DAMAGES as error:
        raise InvalidBundleError(f"The bundle is no sound zip archive: {error}.") from error


def _check_directory(file: BinaryIO) -> int:
    """Refuse an archive whose directory is larger than a bundle's can be, before it is read; return its size."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_OF_DIRECTORY.size))
    tail = file.read()
    if len(tail) < _END_OF_DIRECTORY.size or not tail.startswith(b"PK\x05\x06"):
        raise InvalidBundleError("The bundle is no zip archive, or is cut off.")
    *_, directory_bytes, _, _ = _END_OF_DIRECTORY.unpack(tail)
    if directory_bytes > MAX_DIRECTORY_BYTES:
        raise BundleTooLargeError(f"The bundle has more than {MAX_FILES:,} files.", limit=MAX_FILES)
    file.seek(0)
    return size


def _check_entry(entry: zipfile.ZipInfo, size: int) -> None:
    _check_name(entry.filename)
    if not 0 <= entry.header_offset < size:
        _refuse_name(entry.filename, "is said to be outside of the archive")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        _refuse_name(entry.filename, "is no ordinary file")
    if entry.flag_bits & _ENCRYPTED:
        _refuse_name(entry.filename, "is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        _refuse_name(entry.filename, f"is compressed by the unknown method {entry.compress_type}")


def _check_name(name: str) -> None:
    """Refuse a name that is no relative path of ordinary parts on every system."""
    if len(name.encode(errors="surrogateescape")) > MAX_NAME_BYTES:
        _refuse_name(name, f"has a path of more than {MAX_NAME_BYTES} bytes")
    if "\\" in name or any(not character.isprintable() for character in name):
        _refuse_name(name, "has a backslash or a character in its path that does not print")
    parts = name.split("/")
    if any(part in ("", ".", "..") or len(part.encode()) > _MAX_PART_BYTES for part in parts):
        _refuse_name(name, "is no path inside the bundle")
    if ":" in name or any(part.split(".")[0].rstrip(" ").lower() in _DEVICES for part in parts):
        _refuse_name(name, "has a name that some systems take for a device")


def _check_tree(names: Sequence[str]) -> None:
    """Refuse two entries of one name, and an entry that is a file here and a folder there."""
    seen = set(names)
    if len(seen) < len(names):
        twice = next(name for name in names if name in seen and names.count(name) > 1)
        _refuse_name(twice, "is there twice")
    for name in names:
        if any(str(parent) in seen for parent in PurePosixPath(name).parents):
            _refuse_name(name, "is inside of another file")


def _refuse_name(name: str, what: str) -> NoReturn:
    raise InvalidBundleError(f"{name[:200]!r} {what}; a bundle cannot hold it.")


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    path = target.joinpath(*entry.filename.split("/"))
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with archive.open(entry) as source, path.open("xb") as file:
        _copy_exactly(source, file, entry)
    path.chmod(_PROGRAM_MODE if (entry.external_attr >> 16) & stat.S_IXUSR else _PLAIN_MODE)


def _copy_exactly(source: IO[bytes], target: IO[bytes], entry: zipfile.ZipInfo) -> None:
    """Copy an entry; refuse it as soon as it has more bytes than the directory says, or when it has fewer."""
    remaining = entry.file_size
    while data := source.read(_CHUNK):
        remaining -= len(data)
        if remaining < 0:
            break
        target.write(data)
    if remaining:
        raise InvalidBundleError(f"{entry.filename[:200]!r} has another size than the bundle's directory says.")

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium import bundle
from podium.bundle import pack, unpack
from podium.errors import BundleTooLargeError, InvalidBundleError

NAMES = st.from_regex(r"[a-m]{1,3}(\.py)?", fullmatch=True)
TREES = st.dictionaries(st.tuples(st.sampled_from(["", "pkg", "pkg/sub"]), NAMES), st.binary(max_size=50), min_size=1)


def write(root: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def packed(root: Path, prefix: str = "") -> bytes:
    with pack(root, prefix) as found:
        return found.path.read_bytes()


def names_in(data: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(data)).namelist()


def a_zip(path: Path, *entries: tuple[str, bytes], mode: int = stat.S_IFREG | 0o644) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries:
            info = zipfile.ZipInfo("x")
            info.filename = name
            info.external_attr = mode << 16
            archive.writestr(info, data)
    return path


@given(tree=TREES)
def test_what_is_packed_comes_out_again(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[tuple[str, str], bytes]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    files = {
        f"{folder}/{name}".lstrip("/"): data for (folder, name), data in tree.items() if name not in ("pkg", "sub")
    }
    write(root, files | {"always": b""})
    with pack(root) as found:
        unpack(found.path, root.with_name(f"{root.name}-out"))
        assert found.files == len(files | {"always": b""})
    out = root.with_name(f"{root.name}-out")
    assert {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()} == files | {
        "always": b""
    }


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(one, {"b.py": b"b", "a/x.py": b"x"})
    write(two, {"a/x.py": b"x", "b.py": b"b"})
    os.utime(two / "b.py", (0, 0))
    (two / "b.py").chmod(0o600)
    assert packed(one) == packed(two)


def test_programs_stay_programs(tmp_path: Path) -> None:
    write(tmp_path / "in", {"run.sh": b"#!/bin/sh\n", "plain": b""})
    (tmp_path / "in" / "run.sh").chmod(0o700)
    with pack(tmp_path / "in") as found:
        unpack(found.path, tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out" / "run.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "out" / "plain").stat().st_mode) == 0o644


def test_a_package_keeps_its_name(tmp_path: Path) -> None:
    write(tmp_path, {"__init__.py": b"", "flow.py": b""})
    assert names_in(packed(tmp_path, "pipelines")) == ["pipelines/__init__.py", "pipelines/flow.py"]


def test_the_packed_file_is_gone_after_the_block(tmp_path: Path) -> None:
    write(tmp_path, {"a": b"x"})
    with pack(tmp_path) as found:
        assert found.size == found.path.stat().st_size
    assert not found.path.exists()


def test_gitignore_files_are_honoured_at_every_level(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            ".gitignore": b"*.log\n/data/\nbuild\n",
            "keep.py": b"",
            "x.log": b"",
            "data/big.csv": b"",
            "sub/data/small.csv": b"",
            "sub/build/out": b"",
            "sub/.gitignore": b"!keep.log\n/local.py\n",
            "sub/keep.log": b"",
            "sub/local.py": b"",
            "sub/deep/local.py": b"",
        },
    )
    assert names_in(packed(tmp_path)) == [
        ".gitignore",
        "keep.py",
        "sub/.gitignore",
        "sub/data/small.csv",
        "sub/deep/local.py",
        "sub/keep.log",
    ]


def test_the_gitignore_of_the_repository_around_holds_too(tmp_path: Path) -> None:
    write(tmp_path, {".git/HEAD": b"", ".gitignore": b"*.secret\n/pipelines/tmp\n"})
    write(tmp_path / "pipelines", {"flow.py": b"", "a.secret": b"", "tmp/x": b""})
    assert names_in(packed(tmp_path / "pipelines")) == ["flow.py"]


def test_a_gitignore_outside_of_any_repository_does_not_reach_in(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": b"*\n", "pipelines/flow.py": b""})
    assert names_in(packed(tmp_path / "pipelines")) == ["flow.py"]


def test_what_never_belongs_to_a_project_is_left_out(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a.py": b"",
            ".git/config": b"",
            "__pycache__/a.pyc": b"",
            "sub/__pycache__/b.pyc": b"",
            ".venv/lib/x.py": b"",
            "env/pyvenv.cfg": b"",
            "env/lib/x.py": b"",
            "old.pyc": b"",
            "p.egg-info/PKG-INFO": b"",
            "node_modules/x.js": b"",
        },
    )
    assert names_in(packed(tmp_path)) == ["a.py"]


def test_a_link_to_a_file_of_the_project_is_packed_as_that_file(tmp_path: Path) -> None:
    write(tmp_path, {"real/a.txt": b"text"})
    (tmp_path / "b.txt").symlink_to("real/a.txt")
    archive = zipfile.ZipFile(io.BytesIO(packed(tmp_path)))
    assert archive.read("b.txt") == b"text"
    assert stat.S_ISREG(archive.getinfo("b.txt").external_attr >> 16)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/etc/hostname", "is a link out of the project, to /etc/hostname. Copy the file into the project."),
        ("nowhere", "is a link to nothing. Remove it, or name it in .gitignore."),
        ("folder", "is a link to a folder. Put a folder in its place, or name it in .gitignore."),
        ("link", "is a link to nothing. Remove it, or name it in .gitignore."),
    ],
)
def test_other_links_are_refused(tmp_path: Path, target: str, message: str) -> None:
    write(tmp_path, {"folder/a": b""})
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(InvalidBundleError) as caught, pack(tmp_path):
        pass
    assert str(caught.value) == f"'link' in {tmp_path} {message}"


def test_an_ignored_link_does_no_harm(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": b"link\n"})
    (tmp_path / "link").symlink_to("/etc")
    assert names_in(packed(tmp_path)) == [".gitignore"]


def test_what_is_neither_file_nor_folder_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidBundleError, match=r"'pipe' in .* is neither a file nor a folder"), pack(tmp_path):
        pass


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidBundleError, match="There is nothing to pack in "), pack(tmp_path):
        pass


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MAX_FILES", 2)
    write(tmp_path, {"a": b"", "b": b"", "c": b""})
    with (
        pytest.raises(BundleTooLargeError, match=r"has more than 2 files\. Give the project a folder of its own"),
        pack(tmp_path),
    ):
        pass


def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(bundle.MAX_BYTES + 1)
    with (
        pytest.raises(BundleTooLargeError, match=r"has more than 268,435,456 bytes \(256 MiB\) of files"),
        pack(tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/etc/passwd", "is no path inside the bundle"),
        ("../x", "is no path inside the bundle"),
        ("a/../../x", "is no path inside the bundle"),
        ("a//b", "is no path inside the bundle"),
        ("a/", "is no path inside the bundle"),
        ("./a", "is no path inside the bundle"),
        ("a\\b", "has a backslash or a character in its path that does not print"),
        ("a\nb", "has a backslash or a character in its path that does not print"),
        ("C:x", "has a name that some systems take for a device"),
        ("sub/NUL.txt", "has a name that some systems take for a device"),
        ("com1", "has a name that some systems take for a device"),
        ("x" * 513, "has a path of more than 512 bytes"),
        ("x" * 256, "is no path inside the bundle"),
    ],
)
def test_a_name_that_leads_elsewhere_is_never_unpacked(tmp_path: Path, name: str, message: str) -> None:
    archive = a_zip(tmp_path / "a.zip", ("good", b"1"), (name, b"2"))
    with pytest.raises(InvalidBundleError) as caught:
        unpack(archive, tmp_path / "out")
    assert str(caught.value) == f"{name[:200]!r} {message}; a bundle cannot hold it."
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFCHR, stat.S_IFIFO])
def test_an_entry_that_is_no_ordinary_file_is_never_unpacked(tmp_path: Path, kind: int) -> None:
    archive = a_zip(tmp_path / "a.zip", ("link", b"/etc/passwd"), mode=kind | 0o777)
    with pytest.raises(InvalidBundleError, match="'link' is no ordinary file; a bundle cannot hold it"):
        unpack(archive, tmp_path / "out")


def test_names_that_collide_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = a_zip(tmp_path / "a.zip", ("a", b"1"), ("a", b"2"))
    with pytest.raises(InvalidBundleError, match="'a' is there twice"):
        unpack(twice, tmp_path / "out")
    with pytest.raises(InvalidBundleError, match="'a/b' is inside of another file"):
        unpack(a_zip(tmp_path / "b.zip", ("a", b"1"), ("a/b", b"2")), tmp_path / "out")


def test_an_entry_with_more_bytes_than_it_declares_is_cut_short(tmp_path: Path) -> None:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = compressor.compress(bytes(50 << 20)) + compressor.flush()
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(50 << 20))
    data = bytearray(path.read_bytes())
    directory = data.rfind(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", 1000)
    assert bomb in data
    path.write_bytes(data)
    with pytest.raises(InvalidBundleError):
        unpack(path, tmp_path / "out")
    assert [found.name for found in tmp_path.iterdir()] == ["a.zip"]


def test_declared_sizes_are_summed_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(3):
            archive.writestr(f"z{index}", bytes(100 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(BundleTooLargeError, match=r"The bundle has more than 268,435,456 bytes \(256 MiB\) of files"):
        unpack(path, tmp_path / "out")


def test_a_directory_larger_than_a_bundle_can_have_is_not_read(tmp_path: Path) -> None:
    path = a_zip(tmp_path / "a.zip", ("a", b""))
    data = bytearray(path.read_bytes())
    data[-10:-6] = struct.pack("<I", bundle.MAX_DIRECTORY_BYTES + 1)
    path.write_bytes(data)
    with pytest.raises(BundleTooLargeError, match="The bundle has more than 10,000 files"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip at all, however long it may be"])
def test_what_is_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(InvalidBundleError, match="The bundle is no zip archive, or is cut off"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@given(position=st.integers(0, 200), value=st.integers(0, 255), method=st.sampled_from([0, 8]))
def test_a_damaged_bundle_never_does_anything_but_fail_cleanly(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, method: int
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.py", b"print('hello', 'hello', 'hello')")
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(data)
    try:
        unpack(path, folder / "out")
    except (InvalidBundleError, BundleTooLargeError):
        assert [found.name for found in folder.iterdir()] == ["a.zip"]
    else:
        assert len(list((folder / "out").rglob("*"))) == 1


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError):
        unpack(a_zip(tmp_path / "a.zip", ("a", b"")), tmp_path / "out")

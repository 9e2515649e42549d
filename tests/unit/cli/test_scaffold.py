"""`podium init`: what it writes, and that it never overwrites."""

from __future__ import annotations

from pathlib import Path

import pytest

from podium.cli import scaffold
from podium.errors import ConflictError


def test_each_file_is_under_twenty_lines(tmp_path: Path) -> None:
    for path in scaffold.write(tmp_path / "new"):
        assert len(path.read_text().splitlines()) < 20, path


@pytest.mark.parametrize("name", list(scaffold.FILES))
def test_nothing_is_written_when_one_of_the_files_is_there(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConflictError, match="is there already; nothing was written"):
        scaffold.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_dangling_link_counts_as_there(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConflictError):
        scaffold.write(tmp_path)

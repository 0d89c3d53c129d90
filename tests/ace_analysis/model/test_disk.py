"""A full disk is told as such, and a checksum is that of the whole file."""

import errno
import hashlib
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from ace_analysis.errors import StorageError
from ace_analysis.model.disk import CHUNK, megabytes, remove, sha256_of, size_of, storing

Usage = namedtuple("Usage", "total used free")


def test_too_little_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(9, 9, 5_000_000))
    message = r"expected 1,000 MB free in .*models, got 5 MB; make room there, or set ACE_CACHE_DIR"
    with pytest.raises(StorageError, match=message), storing(tmp_path / "models", 1_000_000_000):
        pytest.fail("the block was entered")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_becomes_full_says_how_much_is_needed(code: int, tmp_path: Path) -> None:
    message = "the disk became full: 2 MB are needed in"
    with pytest.raises(StorageError, match=message), storing(tmp_path, 2_000_000):
        raise OSError(code, os.strerror(code))


def test_a_disk_that_a_library_finds_full_is_told_as_well(tmp_path: Path) -> None:
    words = f"Error while serializing: I/O error: {os.strerror(errno.ENOSPC)} (os error 28)"
    with pytest.raises(StorageError, match="2 MB are needed"), storing(tmp_path, 2_000_000):
        raise RuntimeError(words)


def test_a_folder_that_may_not_be_written_names_the_way_out(tmp_path: Path) -> None:
    message = (
        r"expected to be allowed to write in .*: Permission|expected to be allowed .* got Permission denied"
    )
    with pytest.raises(StorageError, match=message), storing(tmp_path, 0):
        raise PermissionError(errno.EACCES, "Permission denied", "weights")


def test_other_errors_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), storing(tmp_path, 0):
        (tmp_path / "none").read_bytes()


def test_the_checksum_is_that_of_the_whole_file(tmp_path: Path) -> None:
    content = os.urandom(2 * CHUNK + 17)
    (tmp_path / "f").write_bytes(content)
    told: list[float | None] = []
    found = sha256_of(tmp_path / "f", lambda message, fraction: told.append(fraction), "reading")
    assert found == hashlib.sha256(content).hexdigest()
    assert told == sorted(told) and told[-1] == 1.0 and len(told) == 3


def test_sizes_count_all_files_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/one").write_bytes(b"123")
    (tmp_path / "a/b/two").write_bytes(b"4567")
    assert size_of(tmp_path) == 7 and size_of(tmp_path / "a/one") == 3 and size_of(tmp_path / "none") == 0


def test_removing_tells_what_was_freed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one").write_bytes(b"123")
    (tmp_path / "two").write_bytes(b"45")
    assert remove(tmp_path / "a") == 3 and remove(tmp_path / "two") == 2
    assert not list(tmp_path.iterdir())


def test_megabytes_are_written_for_people() -> None:
    assert megabytes(1_234_567_890) == "1,235 MB"

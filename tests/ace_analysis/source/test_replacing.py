"""A file is replaced whole, as it was encoded, and never over somebody else's change."""

import codecs
import os
from pathlib import Path

import pytest

from ace_analysis.errors import InputError, StorageError
from ace_analysis.source.replacing import SourceFile, with_line_ends_of

LIMIT = 10_000

KINDS = {
    "utf-8": "é = 1\n".encode(),
    "a byte order mark": codecs.BOM_UTF8 + "é = 1\n".encode(),
    "latin-1": b"# -*- coding: latin-1 -*-\n\xe9 = 1\n",
    "windows line ends": b"a = 1\r\nb = 2\r\n",
    "no line end at the end": b"a = 1",
    "a form feed and tabs": b"a = 1\n\x0c\tb = 2\n",
}


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS.keys())
def test_a_text_that_is_written_back_gives_the_same_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.py"
    path.write_bytes(data)
    source = SourceFile.read(path, LIMIT)
    source.replace(source.text)
    assert path.read_bytes() == data


def test_only_what_was_changed_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_bytes(codecs.BOM_UTF8 + b"a = 1\r\nb = 2\r\n")
    source = SourceFile.read(path, LIMIT)
    source.replace(source.text.replace("2", "3"))
    assert path.read_bytes() == codecs.BOM_UTF8 + b"a = 1\r\nb = 3\r\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_a_script_stays_one_that_can_be_run(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_bytes(b"a = 1\n")
    path.chmod(0o750)
    SourceFile.read(path, LIMIT).replace("a = 2\n")
    assert path.stat().st_mode & 0o777 == 0o750


def test_a_link_stays_a_link_to_the_file_that_was_replaced(tmp_path: Path) -> None:
    real, link = tmp_path / "real.py", tmp_path / "link.py"
    real.write_bytes(b"a = 1\n")
    link.symlink_to(real)
    SourceFile.read(link, LIMIT).replace("a = 2\n")
    assert link.is_symlink() and real.read_bytes() == b"a = 2\n"


def test_a_file_that_was_changed_meanwhile_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_bytes(b"a = 1\n")
    source = SourceFile.read(path, LIMIT)
    path.write_bytes(b"a = 1  # mine\n")
    with pytest.raises(InputError, match="was changed since it was read"):
        source.replace("a = 2\n")
    assert path.read_bytes() == b"a = 1  # mine\n" and list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_bytes(b"a = 1\n")
    source = SourceFile.read(path, LIMIT)
    path.unlink()
    with pytest.raises(InputError, match="is gone"):
        source.replace("a = 2\n")
    assert list(tmp_path.iterdir()) == []


def test_a_character_that_the_encoding_lacks_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_bytes(KINDS["latin-1"])
    source = SourceFile.read(path, LIMIT)
    with pytest.raises(InputError, match="expected characters that iso-8859-1 has, got '名'"):
        source.replace("# -*- coding: latin-1 -*-\nx = '名'\n")
    assert path.read_bytes() == KINDS["latin-1"]


def test_a_read_only_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_bytes(b"a = 1\n")
    source = SourceFile.read(path, LIMIT)
    path.chmod(0o444)
    with pytest.raises(StorageError, match="is read-only, nothing was written"):
        source.replace("a = 2\n")
    assert path.read_bytes() == b"a = 1\n" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_bytes(b"a = 1\n")
    source = SourceFile.read(path, LIMIT)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="can't be written"):
            source.replace("a = 2\n")
    finally:
        tmp_path.chmod(0o700)


def test_a_full_disk_is_told_and_the_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.py"
    path.write_bytes(b"a = 1\n")
    source = SourceFile.read(path, LIMIT)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        source.replace("a = 2\n")
    assert path.read_bytes() == b"a = 1\n" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "expected"), [("a\r\nb\r\nc\n", "x\r\ny"), ("a\nb", "x\ny"), ("a\rb\r", "x\ry"), ("", "x\ny")]
)
def test_a_replacement_gets_the_line_ends_of_its_text(text: str, expected: str) -> None:
    assert with_line_ends_of(text, "x\ny") == expected

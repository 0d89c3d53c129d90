"""Python source from bytes: what comes out, and what is said where nothing can."""

import os
from io import BytesIO
from pathlib import Path

import pytest

from ace_analysis.errors import InputError
from ace_analysis.source.reading import decode_source, encode_source, read_at_most, read_source


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"x = 1\n", "x = 1\n"),
        (b"\xef\xbb\xbfx = 1\n", "x = 1\n"),
        (b"\xef\xbb\xbf# coding: utf-8\n", "# coding: utf-8\n"),
        (b"a\r\nb\rc\n", "a\r\nb\rc\n"),
        (b"a\n\x0cb\n", "a\n\x0cb\n"),
        ("s = '\U0001f600 漢'\n".encode(), "s = '\U0001f600 漢'\n"),
        (b"# -*- coding: latin-1 -*-\ns = '\xe9'\n", "# -*- coding: latin-1 -*-\ns = 'é'\n"),
        (b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\n'\x80'", None),
        (b"# coding: cp932\n'\x83\x5c'\n", "# coding: cp932\n'ソ'\n"),
        (b"# coding: utf-7\n'+2D0-'\n", "# coding: utf-7\n'\ufffd'\n"),
        (b"x = 1\n# coding: latin-1\n", "x = 1\n# coding: latin-1\n"),
        (b"\x0c\n", "\x0c\n"),
        (b"# only a comment", "# only a comment"),
    ],
)
def test_source_is_read_as_python_reads_it_and_every_code_point_stays(data: bytes, text: str | None) -> None:
    expected = "#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\n'€'" if text is None else text
    assert decode_source(data) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a = 1\nb = '\xe9'\n", "expected UTF-8, got byte 0xe9 on line 2; convert the file, or declare"),
        (b"\xff", "expected UTF-8, got byte 0xff on line 1"),
        (b"\x00\x01", "expected Python source, got binary data: a zero byte at offset 0"),
        (b"x = 1\n" + b"\0" * 10, "a zero byte at offset 6"),
        ("x = 1".encode("utf-16"), "expected UTF-8, got UTF-16"),
        ("x = 1".encode("utf-32"), "expected UTF-8, got UTF-32"),
        (b"# coding: klingon\n", "the encoding that it declares can't be used: unknown encoding: klingon"),
        (b"# coding: rot13\n", "the encoding that it declares can't be used: .*rot13.* is not a text"),
        (b"# coding: hex\n", "is not a text encoding"),
        (b"# coding: undefined\n", "the encoding that it declares can't be used"),
        (b"\xef\xbb\xbf# coding: latin-1\n", "the encoding that it declares can't be used"),
        (b"# coding: ascii\n'\xe9'\n", "expected ASCII, got byte 0xe9 on line 2"),
        (b"# coding: cp1252\n'\x81'\n", "expected CHARMAP, got byte 0x81 on line 2"),
        (b"\xed\xa0\x80\n", "expected UTF-8, got byte 0xed"),
    ],
)
def test_what_is_no_text_says_why(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode_source(data)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.py"
    path.write_bytes(b"x = 1\n" * 1_000_000)
    with pytest.raises(InputError, match="expected at most 2,000,000 bytes, got more; raise"):
        read_source(path, 2_000_000)
    assert len(read_source(path, 6_000_000)) == 6_000_000


def test_the_limit_itself_is_allowed() -> None:
    assert read_at_most(BytesIO(b"12345"), 5) == b"12345"
    with pytest.raises(InputError, match="at most 4 bytes"):
        read_at_most(BytesIO(b"12345"), 4)


@pytest.mark.parametrize("name", ["missing.py", "x" * 300, "a\0b.py"])
def test_a_path_that_leads_to_nothing_says_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="can't be read: "):
        read_source(tmp_path / name, 100)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a file, got a folder"):
        read_source(tmp_path, 100)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(
        InputError, match="expected a file, got a named pipe; a text from a pipe goes in as -"
    ):
        read_source(tmp_path / "pipe.py", 100)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs devices")
def test_a_device_is_refused_and_not_read_for_ever() -> None:
    with pytest.raises(InputError, match="expected a file, got a device"):
        read_source(Path("/dev/zero"), 100)


def test_links_that_lead_in_a_circle_or_nowhere_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").symlink_to(tmp_path / "b.py")
    (tmp_path / "b.py").symlink_to(tmp_path / "a.py")
    (tmp_path / "c.py").symlink_to(tmp_path / "nowhere.py")
    for name in ("a.py", "c.py"):
        with pytest.raises(InputError, match="can't be read: "):
            read_source(tmp_path / name, 100)


def test_a_file_without_permission_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.py"
    path.touch()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="can't be read: Permission denied"):
        read_source(path, 100)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("x = 'é'\n", b"x = '\xc3\xa9'\n"),
        ("# -*- coding: latin-1 -*-\nx = 'é'\n", b"# -*- coding: latin-1 -*-\nx = '\xe9'\n"),
        ("#!/bin/python\r\n# coding: cp1252\r\n'€'", b"#!/bin/python\r\n# coding: cp1252\r\n'\x80'"),
        ("# coding: utf-8\n'é'", b"# coding: utf-8\n'\xc3\xa9'"),
    ],
)
def test_a_text_is_written_in_the_encoding_that_it_declares(text: str, data: bytes) -> None:
    assert encode_source(text) == data and decode_source(data) == text


@pytest.mark.parametrize("text", ["# coding: latin-1\n'€'", "# coding: no-such\n'é'", "\ufeff'é'"])
def test_a_text_that_its_encoding_can_not_hold_is_utf_8(text: str) -> None:
    assert encode_source(text) == text.encode()

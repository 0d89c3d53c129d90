"""A fix is an edit of one version of one text."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ace_analysis.report.repair import Fix, Source, diff_of
from ace_analysis.source.document import CodeDocument, TextSpan


def fix(start: int, end: int, replacement: str) -> Fix:
    return Fix(span=TextSpan(start, end), replacement=replacement, source=Source.EDIT, score=0.0)


def test_only_the_span_is_replaced() -> None:
    assert fix(2, 4, "<").applied_to("a <= b") == "a < b"
    assert fix(2, 2, "z").applied_to("abc") == "abzc"


def test_the_diff_names_the_file_and_shows_the_lines_around() -> None:
    document = CodeDocument(uri="m.py", text="a = 1\nb = 2\nc = 3\n")
    shown = fix(10, 11, "5").diff(document)
    assert shown.splitlines() == [
        "--- a/m.py", "+++ b/m.py", "@@ -1,3 +1,3 @@", " a = 1", "-b = 2", "+b = 5", " c = 3",
    ]  # fmt: skip


def test_line_ends_of_any_system_are_no_difference_to_look_at() -> None:
    assert "+b = 5\n" in diff_of("m.py", "a\r\nb = 2\r\n", "a\r\nb = 5\r\n")
    assert "\r" not in diff_of("m.py", "a\r\nb = 2\r\n", "a\r\nb = 5\r\n")


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a = 1\nb = 2\n", "a = 1\nb = 3\n"),
        ("a = 1\nb = 2", "a = 1\nb = 3"),
        ("a = 1\nb = 2", "a = 0\nb = 2"),
        ("a = 1\n\x0c\nb = 2\n\n\n", "a = 1\n\x0c\nb = 3\n\n\n"),
        ("x = 1\n" * 20 + "y = 2\n", "x = 1\n" * 20 + "y = 3\nz = 4\n"),
    ],
)
def test_git_can_apply_the_diff(tmp_path: Path, before: str, after: str) -> None:
    file, patch = tmp_path / "m.py", tmp_path / "m.patch"
    file.write_bytes(before.encode())
    patch.write_bytes(diff_of("/m.py", before, after).encode())
    subprocess.run(["git", "apply", str(patch)], cwd=tmp_path, check=True)
    assert file.read_bytes() == after.encode()


def test_equal_texts_have_no_diff() -> None:
    assert diff_of("m.py", "a\n", "a\n") == ""

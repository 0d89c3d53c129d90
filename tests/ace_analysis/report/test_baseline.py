import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_analysis.errors import InputError, StorageError
from ace_analysis.report.baseline import (
    Baseline,
    baseline_of,
    read_baseline,
    relative_path,
    write_baseline,
)
from ace_analysis.report.finding import Finding
from ace_analysis.source.document import TextSpan

TEXT = "a < b\nc < d\na < b\n"


def finding(start: int, kind: str = "comparison") -> Finding:
    return Finding(span=TextSpan(start, start + 1), kind=kind, score=0.9, threshold=0.5)


def all_of(text: str) -> list[Finding]:
    return [finding(index) for index, char in enumerate(text) if char == "<"]


def test_what_is_known_is_not_new():
    known = baseline_of([("a.py", TEXT, all_of(TEXT))])
    assert len(known) == 3
    assert known.new("a.py", TEXT, all_of(TEXT)) == ()
    assert known.new("b.py", TEXT, all_of(TEXT)) == tuple(all_of(TEXT))


def test_edits_elsewhere_and_another_indentation_change_nothing():
    known = baseline_of([("a.py", TEXT, all_of(TEXT))])
    moved = "# more\n\nif x:\n    a  <  b\n" + TEXT
    assert known.new("a.py", moved, all_of(moved)) == (all_of(moved)[-1],)


def test_of_those_that_look_the_same_as_many_are_hidden_as_were_known():
    known = baseline_of([("a.py", "a < b\n", all_of("a < b\n"))])
    assert [each.span.start for each in known.new("a.py", TEXT, all_of(TEXT))] == [8, 14]


def test_another_kind_or_another_line_is_new():
    known = baseline_of([("a.py", TEXT, all_of(TEXT))])
    assert known.new("a.py", TEXT, [finding(2, "boolean")]) == (finding(2, "boolean"),)
    assert known.new("a.py", "a < c\n", [finding(2)]) == (finding(2),)


@given(st.lists(st.sampled_from(["a < b", "c < d", "x = 1", "é < 😋"]), max_size=8))
def test_a_file_gives_back_what_was_written(lines):
    text = "\n".join(lines)
    known = baseline_of([("ordner/é.py", text, all_of(text))])
    folder = Path(__file__).parent
    assert known.new(relative_path(folder / "ordner/é.py", folder), text, all_of(text)) == ()


def test_written_and_read_it_is_the_same(tmp_path):
    known = baseline_of([("b.py", TEXT, all_of(TEXT)), ("a.py", TEXT, all_of(TEXT)[:1]), ("c.py", TEXT, [])])
    write_baseline(tmp_path / "base.json", known)
    assert read_baseline(tmp_path / "base.json") == known
    assert list(json.loads((tmp_path / "base.json").read_text())["files"]) == ["a.py", "b.py"]


def test_an_empty_baseline_knows_nothing():
    assert len(Baseline()) == 0
    assert Baseline().new("a.py", TEXT, all_of(TEXT)) == tuple(all_of(TEXT))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "expected a baseline as JSON"),
        ("[]", "expected a baseline of format 1"),
        ('{"version": 2, "files": {}}', r"got format 2\); write it anew with ace check --write-baseline"),
        ('{"version": 1, "files": {"a.py": [{"kind": "x"}]}}', "'text'"),
    ],
)
def test_what_is_no_baseline_is_named(tmp_path, content, told):
    (tmp_path / "base.json").write_text(content)
    with pytest.raises(InputError, match=told):
        read_baseline(tmp_path / "base.json")


def test_a_file_that_is_not_there_or_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InputError, match="can't be read"):
        read_baseline(tmp_path / "none.json")
    with pytest.raises(StorageError, match="can't be written"):
        write_baseline(tmp_path / "no/folder.json", Baseline())


def test_a_path_is_relative_to_the_baselines_folder_where_it_can_be(tmp_path):
    assert relative_path(tmp_path / "a/b.py", tmp_path) == "a/b.py"
    assert relative_path(Path("/elsewhere/b.py"), tmp_path) == "/elsewhere/b.py"

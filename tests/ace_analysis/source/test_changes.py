"""Which lines differ from a revision; real git, small repositories."""

import subprocess
from pathlib import Path

import pytest

from ace_analysis.errors import InputError, SettingsError
from ace_analysis.source.changes import GitChanges, LineRange, spans_of_lines


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One commit with a.py of ten lines, and unchanged.py."""
    git(tmp_path, "init", "-q")
    write(tmp_path / "a.py", TEN)
    write(tmp_path / "unchanged.py", TEN)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


TEN = [f"line{number} = {number}\n" for number in range(1, 11)]


def write(path: Path, lines: list[str], encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(lines).encode(encoding))
    return path


def numbers(path: Path, revision: str = "HEAD") -> set[int] | None:
    ranges = GitChanges(revision).lines_of(path)
    if ranges is None:
        return None
    return {line for each in ranges for line in range(each.first, each.first + each.count)}


def test_a_file_as_it_was_has_no_changed_lines(repository: Path) -> None:
    assert GitChanges("HEAD").lines_of(repository / "unchanged.py") == ()


def test_changed_and_added_lines_are_told_and_removed_ones_leave_nothing(repository: Path) -> None:
    lines = ["new = 0\n", *TEN[:4], "line5 = 'changed'\n", *TEN[5:8], TEN[9]]
    assert numbers(write(repository / "a.py", lines)) == {1, 6}


def test_staged_and_unstaged_changes_count_alike(repository: Path) -> None:
    write(repository / "a.py", ["staged = 1\n", *TEN])
    git(repository, "add", "a.py")
    assert numbers(write(repository / "a.py", ["staged = 1\n", *TEN, "not_staged = 1\n"])) == {1, 12}


def test_an_untracked_file_counts_whole_ignored_or_not(repository: Path) -> None:
    write(repository / ".gitignore", ["ignored.py\n"])
    assert numbers(write(repository / "fresh.py", TEN)) is None
    assert numbers(write(repository / "ignored.py", TEN)) is None


def test_a_file_that_was_added_since_counts_whole(repository: Path) -> None:
    write(repository / "fresh.py", TEN)
    git(repository, "add", "fresh.py")
    assert numbers(repository / "fresh.py") == set(range(1, 11))


def test_a_renamed_file_has_the_lines_that_were_changed(repository: Path) -> None:
    git(repository, "mv", "a.py", "b.py")
    assert numbers(repository / "b.py") == set()
    assert numbers(write(repository / "b.py", [*TEN, "more = 1\n"])) == {11}


def test_older_revisions_and_branches_can_be_named(repository: Path) -> None:
    write(repository / "a.py", [*TEN, "second = 2\n"])
    git(repository, "commit", "-qam", "second")
    assert numbers(repository / "a.py") == set()
    assert numbers(repository / "a.py", "HEAD~1") == {11}
    git(repository, "branch", "other", "HEAD~1")
    assert numbers(repository / "a.py", "other") == {11}


def test_before_the_first_commit_all_is_new(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path / "a.py", TEN)
    git(tmp_path, "add", ".")
    assert numbers(tmp_path / "a.py") is None


@pytest.mark.parametrize("revision", ["nowhere", "", "--output=x", "HEAD~99", "a b"])
def test_a_revision_that_git_does_not_know_is_told(repository: Path, revision: str) -> None:
    with pytest.raises(SettingsError, match="expected a revision that git knows"):
        GitChanges(revision).lines_of(repository / "a.py")
    assert not (repository / "x").exists()


def test_a_file_outside_of_any_repository_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"git can't tell what changed.*not a git repository"):
        GitChanges("HEAD").lines_of(write(tmp_path / "a.py", TEN))


def test_a_machine_without_git_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="expected git to find changed lines"):
        GitChanges("HEAD").lines_of(write(tmp_path / "a.py", TEN))


def test_two_repositories_are_two_questions(repository: Path) -> None:
    inner = repository / "inner"
    inner.mkdir()
    git(inner, "init", "-q")
    write(inner / "b.py", TEN)
    git(inner, "add", ".")
    git(inner, "commit", "-qm", "inner")
    changes = GitChanges("HEAD")
    write(inner / "b.py", [*TEN, "x = 1\n"])
    assert changes.lines_of(inner / "b.py") == (LineRange(11, 1),)
    assert changes.lines_of(repository / "a.py") == ()


@pytest.mark.parametrize(
    "name", ["with space.py", 'quo"te.py', "ünïcode.py", "*.py", "-x.py", "new\nline.py"]
)
def test_odd_names_are_followed(repository: Path, name: str) -> None:
    write(repository / name, TEN)
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "odd")
    assert numbers(repository / name) == set()
    assert numbers(write(repository / name, ["x = 0\n", *TEN])) == {1}


def test_a_link_counts_as_the_file_that_it_leads_to(repository: Path) -> None:
    (repository / "link.py").symlink_to("a.py")
    write(repository / "a.py", ["x = 0\n", *TEN])
    assert numbers(repository / "link.py") == {1}


def test_the_users_own_settings_of_diff_have_no_say(repository: Path) -> None:
    for name, value in (
        ("diff.noprefix", "true"),
        ("color.ui", "always"),
        ("diff.external", "false"),
        ("diff.context", "9"),
        ("core.quotePath", "true"),
        ("diff.renames", "false"),
    ):
        git(repository, "config", name, value)
    write(repository / ".gitattributes", ["*.py binary\n"])
    assert numbers(write(repository / "a.py", ["x = 0\n", *TEN])) == {1}


def test_a_program_that_the_repository_names_is_not_run(repository: Path) -> None:
    trap = repository / "ran"
    git(repository, "config", "core.fsmonitor", f"touch {trap}; false")
    git(repository, "config", "diff.trap.textconv", f"touch {trap}; cat")
    write(repository / ".gitattributes", ["*.py diff=trap\n"])
    write(repository / "a.py", ["x = 0\n", *TEN])
    trap.unlink(missing_ok=True)
    assert numbers(repository / "a.py") == {1}
    assert not trap.exists()


def test_line_ranges_become_spans_of_code_points() -> None:
    text = "a\n\U0001f600b\r\nc\x0cd\ne"
    spans = spans_of_lines(text, (LineRange(2, 1), LineRange(3, 2)))
    assert [text[span.start : span.end] for span in spans] == ["\U0001f600b\r\n", "c\x0cd\ne"]


def test_lines_behind_the_end_are_left_out() -> None:
    assert spans_of_lines("a\n", (LineRange(9, 3),)) == ()
    assert spans_of_lines("", (LineRange(1, 1),)) == ()
    (span,) = spans_of_lines("a\nb\n", (LineRange(2, 50),))
    assert (span.start, span.end) == (2, 4)

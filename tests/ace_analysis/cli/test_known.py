"""With a baseline a check shows what is new, whatever moved meanwhile; without one nothing changes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ace_analysis.cli.known import KnownFindings, chosen_baseline
from ace_analysis.errors import InputError
from ace_analysis.report.baseline import Baseline

BUGGY = "def f(a, b):\n    return a BUG b\n"
Ace = Callable[..., object]


def known_in(path: Path) -> dict[str, int]:
    files = json.loads(path.read_text())["files"]
    return {name: sum(each["count"] for each in found) for name, found in files.items()}


def test_what_was_written_is_not_shown_again_and_what_comes_new_is(ace, project: Path) -> None:
    (project / "a.py").write_text(BUGGY)
    done = ace("check", "a.py", "--write-baseline")
    assert (done.exit_code, done.out) == (0, "no new findings, 1 file checked, 1 known.\n")
    place = project / "ace-baseline.json"
    assert f"1 known, written into {place}; what comes new: ace check --baseline {place}" in done.err
    assert known_in(project / "ace-baseline.json") == {"a.py": 1}
    done = ace("check", "a.py", "--baseline", "ace-baseline.json")
    assert (done.exit_code, done.out) == (0, "no new findings, 1 file checked, 1 known.\n")

    (project / "a.py").write_text("import os\n\n\n" + BUGGY + "\ndef g(c):\n    return c BUG 1\n")
    done = ace("check", "a.py", "--baseline", "ace-baseline.json")
    assert done.exit_code == 1 and "a.py:8:14" in done.out and "a.py:5" not in done.out
    assert "1 new finding in 1 file, 1 file checked, 1 known." in done.out
    assert ace("check", "a.py").out.count("a.py:") == 2


def test_the_json_counts_what_is_known(ace, project: Path) -> None:
    (project / "a.py").write_text(BUGGY)
    assert ace("check", "a.py", "--json").json["known"] is None
    ace("check", "a.py", "--write-baseline", "--baseline", "known.json", "-q")
    listed = ace("check", "a.py", "--json", "--baseline", "known.json").json
    assert listed["known"] == 1 and listed["files"][0]["findings"] == []


def test_the_settings_name_a_baseline_beside_themselves(ace, project: Path) -> None:
    (project / "src").mkdir()
    (project / "src" / "a.py").write_text(BUGGY)
    (project / "ace.toml").write_text('[check]\nbaseline = "known.json"\n')
    done = ace("check", "src", "--write-baseline")
    assert done.exit_code == 0 and known_in(project / "known.json") == {"src/a.py": 1}
    assert ace("check", "src").exit_code == 0


def test_files_that_were_not_checked_stay_known_and_those_that_were_are_learnt_anew(
    ace, project: Path
) -> None:
    for name in ("a.py", "b.py", "c.py"):
        (project / name).write_text(BUGGY)
    ace("check", ".", "--write-baseline")
    (project / "a.py").write_text("x = 1\n")
    (project / "b.py").write_bytes(b"\0")
    done = ace("check", "a.py", "b.py", "--write-baseline")
    assert done.exit_code == 2
    assert known_in(project / "ace-baseline.json") == {"b.py": 1, "c.py": 1}


def test_a_check_that_was_interrupted_writes_nothing(ace, engine, project: Path) -> None:
    (project / "a.py").write_text(BUGGY)
    engine.interrupt_after = 0
    assert ace("check", "a.py", "--write-baseline").exit_code == 130
    assert not (project / "ace-baseline.json").exists()


def test_a_baseline_that_is_missing_or_broken_is_told(ace, project: Path) -> None:
    (project / "a.py").write_text(BUGGY)
    done = ace("check", "a.py", "--baseline", "none.json")
    assert done.exit_code == 2 and "write one with: ace check --write-baseline" in done.err
    (project / "broken.json").write_text("{")
    done = ace("check", "a.py", "--baseline", "broken.json")
    assert done.exit_code == 2 and "expected a baseline as JSON" in done.err and "write one" not in done.err
    assert ace("check", "a.py", "--baseline", "broken.json", "--write-baseline").exit_code == 0
    assert known_in(project / "broken.json") == {"a.py": 1}


def test_a_baseline_that_can_t_be_written_is_told(ace, project: Path) -> None:
    (project / "a.py").write_text(BUGGY)
    done = ace("check", "a.py", "--write-baseline", "--baseline", "missing/known.json")
    assert done.exit_code == 2 and "the baseline can't be written" in done.err


@pytest.mark.parametrize("other", [("--changed", "HEAD"), ("-",)])
def test_only_whole_files_can_be_taken_as_known(ace, project: Path, other: tuple[str, ...]) -> None:
    done = ace("check", "--write-baseline", *other, stdin="")
    assert done.exit_code == 2 and "--write-baseline takes whole files" in done.err


def test_a_text_from_stdin_is_known_by_its_name(ace, project: Path) -> None:
    (project / "a.py").write_text(BUGGY)
    ace("check", "a.py", "--write-baseline")
    known = ("--baseline", "ace-baseline.json")
    assert ace("check", "-", "--stdin-filename", "a.py", *known, stdin=BUGGY).exit_code == 0
    assert ace("check", "-", *known, stdin=BUGGY).exit_code == 1


def test_the_command_line_comes_before_the_settings_and_those_before_the_usual_name(tmp_path: Path) -> None:
    def file(given: Path | None, configured: str | None) -> Path:
        chosen = chosen_baseline(given, configured, tmp_path, learn=True)
        assert isinstance(chosen, KnownFindings)
        return chosen.file

    assert file(Path("mine.json"), "theirs.json") == Path("mine.json")
    assert file(None, "theirs.json") == tmp_path / "theirs.json"
    assert file(None, None) == tmp_path / "ace-baseline.json"
    assert chosen_baseline(None, None, tmp_path, learn=False) is None
    with pytest.raises(InputError, match="the baseline can't be read"):
        chosen_baseline(None, "theirs.json", tmp_path, learn=False)


def test_nothing_is_hidden_by_an_empty_baseline(tmp_path: Path) -> None:
    assert KnownFindings(tmp_path / "b.json", Baseline()).hidden == 0

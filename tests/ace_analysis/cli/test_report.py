"""`ace report` from the outside: a page that is there whole or not at all."""

from pathlib import Path

import pytest

from ace_analysis.errors import BundleError, InputError

CODE = "def f(a, b):\n    x = BUG1 + BUG2\n    return BUG3\n"


@pytest.fixture(autouse=True)
def code(project: Path) -> Path:
    path = project / "a.py"
    path.write_text(CODE, encoding="utf-8")
    return path


def test_the_page_has_the_code_and_each_finding_explained(ace, engine, project: Path) -> None:
    done = ace("report", "a.py", "-o", "report.html", "--max-false-alarms", "0.5")
    page = (project / "report.html").read_text(encoding="utf-8")
    assert (done.exit_code, done.out) == (0, "")
    assert "wrote report.html: 3 findings" in done.err and "explaining finding 3 of 3" in done.err
    assert all(f'id="finding-{number}"' in page for number in (1, 2, 3)) and 'id="finding-4"' not in page
    assert page.count("Unexplained: +0.12 log-odds") == 3 and "fake" in page
    (scan,) = engine.asked
    assert scan.sites and scan.max_false_alarms == 0.5
    assert [asked.offset for asked in engine.explained] == [CODE.index(f"BUG{n}") for n in (1, 2, 3)]
    assert {asked.max_false_alarms for asked in engine.explained} == {0.5}


def test_a_dash_writes_the_page_on_stdout_and_nothing_else(ace, project: Path) -> None:
    done = ace("report", "-q", "a.py", "-o", "-")
    assert done.out.startswith("<!doctype html>") and done.out.endswith("</html>\n") and done.err == ""
    assert [path.name for path in project.iterdir()] == ["a.py"]


def test_only_so_many_findings_are_explained(ace, engine) -> None:
    done = ace("report", "-q", "a.py", "-o", "-", "--explained", "1")
    assert len(engine.explained) == 1
    assert "The 1 most probable of 3 findings are explained." in done.out
    assert done.out.count("Not explained.") == 2


def test_a_file_without_findings_is_a_page_too(ace, project: Path) -> None:
    (project / "b.py").write_text("x = 1\n")
    done = ace("report", "-q", "b.py", "-o", "-")
    assert done.exit_code == 0 and "No findings." in done.out


def test_a_finding_that_can_not_be_explained_says_why_and_costs_no_other(
    ace, engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    explain = type(engine).explain

    def refuse(self, request, cancelled, progress):
        if request.offset == CODE.index("BUG2"):
            raise InputError("the scope is too long")
        return explain(self, request, cancelled, progress)

    monkeypatch.setattr(type(engine), "explain", refuse)
    done = ace("report", "-q", "a.py", "-o", "-")
    assert "Line 2 is not explained: the scope is too long." in done.out
    assert done.out.count("Unexplained: +0.12") == 2


def test_what_can_not_be_read_or_loaded_is_one_line_and_no_page(ace, engine, project: Path) -> None:
    done = ace("report", "-q", "missing.py", "-o", "report.html")
    assert (done.exit_code, done.err) == (
        2,
        "ace: error: missing.py: can't be read: No such file or directory\n",
    )
    engine.load_error = BundleError("m has no bundle yet")
    done = ace("report", "-q", "a.py", "-o", "report.html")
    assert (done.exit_code, done.err) == (2, "ace: error: m has no bundle yet\n")
    assert not (project / "report.html").exists()


def test_a_place_that_can_not_be_written_is_told(ace, project: Path) -> None:
    (project / "taken.html").mkdir()
    done = ace("report", "-q", "a.py", "-o", "taken.html")
    assert done.exit_code == 2 and "taken.html: the page can't be written there" in done.err


def test_a_folder_that_is_not_there_is_told_before_the_file_is_read(ace, engine) -> None:
    done = ace("report", "-q", "a.py", "-o", "missing/report.html")
    assert done.exit_code == 2 and "missing/report.html: can't be written there (no such folder)" in done.err
    assert not engine.loads


def test_an_interrupt_leaves_the_page_before_as_it_was(ace, engine, project: Path) -> None:
    (project / "report.html").write_text("before")
    engine.interrupt_after = 0
    done = ace("report", "-q", "a.py", "-o", "report.html")
    assert done.exit_code == 130 and "no page was written" in done.err
    assert (project / "report.html").read_text() == "before"
    assert sorted(path.name for path in project.iterdir()) == ["a.py", "report.html"]


def test_without_a_place_to_write_to_the_usage_is_told(ace) -> None:
    assert ace("report", "a.py").exit_code == 2

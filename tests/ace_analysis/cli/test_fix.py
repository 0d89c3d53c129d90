"""`ace fix`: which place is meant, what is written where, and how it ends."""

import codecs
import json
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ace_analysis.cli import app
from ace_analysis.cli.fixing import FixRequest, Progress, Repairer
from ace_analysis.errors import Cancelled, ModelError
from ace_analysis.report.repair import Fix, Gate, GateResult, Source
from ace_analysis.settings import EngineSettings
from ace_analysis.source.document import TextSpan

from .conftest import Done, FakeEngine

TEXT = "def f(a, b):\n    BUG = a\n    return a <= b\n"
GATES = (GateResult(Gate.PARSES, True), GateResult(Gate.LIKELIHOOD, True, "+2.0 nats"))


@dataclass
class FakeRepairer(FakeEngine):
    """Offers `<` and `>` for the first `<=`, at whatever place it is asked about."""

    offers: tuple[str, ...] = ("<", ">")
    places: list[FixRequest] = field(default_factory=list)
    before_answer: Callable[[], None] = lambda: None

    def load(self, settings: EngineSettings, progress: Progress) -> Repairer:
        super().load(settings, progress)
        return self

    def fix(self, request: FixRequest, cancelled: Callable[[], bool], progress: Progress) -> tuple[Fix, ...]:
        self.places.append(request)
        progress("writing it anew", 0.5)
        self.before_answer()
        start = request.document.text.index("<=")
        made = Fix(
            span=TextSpan(start, start + 2), replacement="", source=Source.EDIT, score=1.0, gates=GATES
        )
        return tuple(replace(made, replacement=each, detail=f"`<=` becomes `{each}`") for each in self.offers)


@pytest.fixture
def repairer() -> FakeRepairer:
    return FakeRepairer()


@pytest.fixture
def ace(project: Path, repairer: FakeRepairer) -> Callable[..., Done]:
    def run(*arguments: str) -> Done:
        done = CliRunner().invoke(app, ["fix", *arguments], obj=repairer.load, prog_name="ace")
        return Done(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def file(project: Path) -> Path:
    path = project / "m.py"
    path.write_text(TEXT)
    return path


def test_a_named_line_is_what_is_asked_about(
    ace: Callable[..., Done], file: Path, repairer: FakeRepairer
) -> None:
    assert ace("m.py:3").exit_code == 0
    assert [each.place for each in repairer.places] == [3]
    assert ace("m.py:3:7").exit_code == 0 and repairer.places[-1].place == 3


def test_without_a_line_it_is_the_worst_finding(
    ace: Callable[..., Done], file: Path, repairer: FakeRepairer
) -> None:
    done = ace("m.py", "--json")
    assert repairer.places[0].place == TextSpan(TEXT.index("BUG"), TEXT.index("BUG") + 3)
    assert (done.json["line"], done.json["finding"]["kind"]) == (2, "comparison")


def test_without_a_finding_there_is_nothing_to_fix(
    ace: Callable[..., Done], file: Path, repairer: FakeRepairer
) -> None:
    file.write_text(TEXT.replace("BUG", "x"))
    done = ace("m.py", "--json")
    assert done.exit_code == 0 and done.json["fixes"] == [] and not repairer.places
    assert "no finding" in ace("m.py").out


def test_the_json_holds_whole_texts_diffs_gates_and_sources(ace: Callable[..., Done], file: Path) -> None:
    done = ace("m.py:3", "--json")
    first, second = done.json["fixes"]
    assert first["text"] == TEXT.replace("<=", "<") and second["text"] == TEXT.replace("<=", ">")
    assert first["source"] == "edit" and first["gates"][0] == {"gate": "parses", "passed": True, "note": ""}
    assert "-    return a <= b\n+    return a < b\n" in first["diff"]
    assert (done.json["path"], done.json["line"], done.json["applied"]) == ("m.py", 3, False)
    assert file.read_text() == TEXT


def test_nothing_that_passed_is_no_error(
    ace: Callable[..., Done], file: Path, repairer: FakeRepairer
) -> None:
    repairer.offers = ()
    done = ace("m.py:3", "--json")
    assert done.exit_code == 0 and done.json["fixes"] == []
    assert "m.py:3: no fix passed every check." in ace("m.py:3").out
    assert "no fix passed every check and the tests." in ace("m.py:3", "--test", sys.executable).out


def test_people_see_a_diff_and_the_others_in_a_line(ace: Callable[..., Done], file: Path) -> None:
    out = ace("m.py:3").out
    assert "m.py:3: `<=` becomes `<` (edit; +2.0 nats)" in out
    assert "-    return a <= b\n+    return a < b\n" in out
    assert "or 2: `<=` becomes `>`" in out and "Nothing was written" in out


def test_on_a_terminal_the_diff_is_in_colour_and_elsewhere_it_is_plain(
    ace: Callable[..., Done], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b" not in ace("m.py:3").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = ace("m.py:3").out
    assert "\x1b[31m-    return a <= b\x1b[0m" in out and "\x1b[32m+    return a < b\x1b[0m" in out


def test_escape_sequences_in_a_file_do_not_reach_the_terminal(ace: Callable[..., Done], file: Path) -> None:
    file.write_text(f"x = '\x1b[2J'\n{TEXT}")
    assert "\x1b[2J" not in ace("m.py:4").out


def test_apply_writes_the_first_and_keeps_what_the_file_was(ace: Callable[..., Done], file: Path) -> None:
    file.write_bytes(codecs.BOM_UTF8 + TEXT.replace("\n", "\r\n").encode())
    file.chmod(0o640)
    done = ace("m.py:3", "--apply")
    assert done.exit_code == 0 and "Written." in done.out
    assert os.name != "posix" or stat.S_IMODE(file.stat().st_mode) == 0o640
    assert file.read_bytes() == codecs.BOM_UTF8 + TEXT.replace("\n", "\r\n").replace("<=", "<").encode()


def test_apply_refuses_a_file_that_changed_meanwhile(
    ace: Callable[..., Done], file: Path, repairer: FakeRepairer
) -> None:
    repairer.before_answer = lambda: file.write_text("mine = 1\n") and None
    done = ace("m.py:3", "--apply")
    assert done.exit_code == 2 and "was changed since it was read" in done.err
    assert file.read_text() == "mine = 1\n"


def test_a_command_that_was_given_decides(
    ace: Callable[..., Done], file: Path, repairer: FakeRepairer
) -> None:
    ace("m.py:3", "--test", "pytest -q", "--test-seconds", "5", "--candidates", "9")
    plan = repairer.places[0].plan
    assert plan.test is not None and (plan.test.command, plan.test.seconds) == ("pytest -q", 5.0)
    assert plan.candidates == 9


def test_a_command_from_a_projects_settings_needs_consent(
    ace: Callable[..., Done], file: Path, repairer: FakeRepairer
) -> None:
    (file.parent / "ace.toml").write_text('[fix]\ntest = "rm -rf /"\n')
    done = ace("m.py:3")
    assert repairer.places[0].plan.test is None and "unless you say --run-tests" in done.err
    ace("m.py:3", "--run-tests")
    test = repairer.places[1].plan.test
    assert test is not None and test.command == "rm -rf /"


@pytest.mark.parametrize(
    ("command", "told"),
    [("no-such-program -q", "no-such-program"), ("./gone.sh", "./gone.sh"), (" ", "got an empty one")],
)
def test_a_command_that_can_not_be_run_is_told_before_a_model_is_loaded(
    ace: Callable[..., Done], file: Path, repairer: FakeRepairer, command: str, told: str
) -> None:
    done = ace("m.py:3", "--test", command)
    assert done.exit_code == 2 and told in done.err and not repairer.loads


def test_a_command_of_the_projects_own_is_found_in_the_project(
    ace: Callable[..., Done], file: Path, repairer: FakeRepairer
) -> None:
    script = file.parent / "check.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    assert ace("m.py:3", "--test", "./check.sh --all").exit_code == 0
    assert repairer.places[0].plan.test is not None


def test_consent_without_a_command_is_told(ace: Callable[..., Done], file: Path) -> None:
    done = ace("m.py:3", "--run-tests")
    assert done.exit_code == 2 and "needs a command" in done.err


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("gone.py", "gone.py: can't be read"),
        ("m.py:9", "expected a line from 1 to 3, got 9"),
        ("m.py:4", "expected a line from 1 to 3, got 4"),
        ("m.py:0", "got 0"),
    ],
)
def test_what_is_not_there_is_told(ace: Callable[..., Done], file: Path, target: str, told: str) -> None:
    done = ace(target)
    assert done.exit_code == 2 and told in done.err


def test_an_empty_line_is_told_before_a_model_is_loaded(
    ace: Callable[..., Done], file: Path, repairer: FakeRepairer
) -> None:
    file.write_text(TEXT.replace("    BUG = a", "  \t"))
    done = ace("m.py:2")
    assert done.exit_code == 2 and "m.py:2: expected a line with code" in done.err and not repairer.loads


def test_a_read_only_file_is_refused_before_a_model_is_loaded(
    ace: Callable[..., Done], file: Path, repairer: FakeRepairer
) -> None:
    file.chmod(0o444)
    done = ace(file.name, "--apply")
    assert done.exit_code == 2 and "is read-only, nothing was written" in done.err and not repairer.loads
    assert ace(file.name).exit_code == 0 and file.read_text() == TEXT


def test_a_folder_is_no_file(ace: Callable[..., Done], file: Path) -> None:
    assert "expected a file, got a folder; name a file in it" in ace(".").err


def test_an_engine_that_can_not_be_loaded_is_told(
    ace: Callable[..., Done], file: Path, repairer: FakeRepairer
) -> None:
    repairer.load_error = ModelError("expected the weights, got none")
    done = ace("m.py:3", "--json")
    assert done.exit_code == 2 and "expected the weights" in done.err and done.out == ""


def test_an_interrupt_writes_nothing(ace: Callable[..., Done], file: Path, repairer: FakeRepairer) -> None:
    def stop() -> None:
        raise Cancelled("by the test")

    repairer.before_answer = stop
    done = ace("m.py:3", "--apply")
    assert done.exit_code == 130 and "nothing was written" in done.err and file.read_text() == TEXT


def test_an_empty_file_needs_no_model(ace: Callable[..., Done], file: Path, repairer: FakeRepairer) -> None:
    file.write_text("")
    assert ace("m.py").exit_code == 0 and not repairer.loads


def test_quiet_says_nothing_but_the_result(ace: Callable[..., Done], file: Path) -> None:
    assert ace("m.py:3", "-q").err == ""
    assert "writing it anew" in ace("m.py:3").err


def test_the_real_engine_is_asked_through_the_same_door(
    project: Path, tiny_qwen2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model without a bundle: the error is the engine's own, in one line."""
    (project / "m.py").write_text(TEXT)
    done = CliRunner().invoke(app, ["fix", "m.py:3", "--model", str(tiny_qwen2), "--json"], prog_name="ace")
    assert done.exit_code == 2 and "has no bundle yet" in done.stderr and done.stdout == ""


def test_json_is_one_object_and_nothing_else(ace: Callable[..., Done], file: Path) -> None:
    assert isinstance(json.loads(ace("m.py:3", "--json").out), dict)

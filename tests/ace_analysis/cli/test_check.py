"""`ace check` from the outside: what it writes where, and how it ends."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ace_analysis.errors import BundleError, InputError, ModelNotFound
from ace_analysis.report.listing import SCHEMA

CLEAN, BUGGY = "def f(a, b):\n    return a < b\n", "def f(a, b):\n    return a BUG b\n"


def write(path: Path, text: str | bytes = BUGGY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


# --- how it ends ----------------------------------------------------------------------------------------


def test_no_finding_is_0_and_says_so(ace, project: Path) -> None:
    write(project / "a.py", CLEAN)
    done = ace("check", "a.py")
    assert (done.exit_code, done.out) == (0, "no findings, 1 file checked.\n")


def test_a_finding_is_1_and_is_shown_with_line_caret_kind_probability_and_latents(ace, project: Path) -> None:
    write(project / "a.py")
    done = ace("check", "a.py")
    assert done.exit_code == 1
    assert done.out == (
        "a.py:2:14: comparison (probability 0.90): this comparison looks wrong\n"
        "  |\n"
        "2 |     return a BUG b\n"
        "  |              ^^^\n"
        "  = latent 7 of blocks.9.hook_resid_post: 3.00 (silent up to 1.00) on BUG at 2:14\n"
        "\n"
        "1 finding in 1 file, 1 file checked.\n"
    )


def test_what_could_not_be_done_is_2_and_the_findings_are_shown_all_the_same(ace, project: Path) -> None:
    write(project / "a.py")
    write(project / "b.py", b"\0")
    done = ace("check", ".", "missing.py")
    assert done.exit_code == 2
    assert "a.py:2:14" in done.out
    assert "1 finding in 1 file, 1 file checked, 2 files not checked." in done.out
    assert "ace: error: b.py: expected Python source, got binary data" in done.err
    assert "ace: error: missing.py: there is no such file or folder" in done.err


@pytest.mark.parametrize(
    "error",
    [
        ModelNotFound("no model m here: ace model pull m"),
        BundleError("no bundle for m: ace train bundle --model m CORPUS"),
        InputError("anything else that ACE raises"),
    ],
)
def test_an_engine_that_can_not_be_loaded_is_one_line_and_2(
    ace, engine, project: Path, error: Exception
) -> None:
    write(project / "a.py")
    write(project / "b.py")
    engine.load_error = error
    done = ace("check", ".", "-q")
    assert (done.exit_code, done.out, done.err) == (2, "", f"ace: error: {error}\n")
    assert len(engine.loads) == 1


def test_that_is_told_in_the_json_too(ace, engine, project: Path) -> None:
    write(project / "a.py")
    engine.load_error = ModelNotFound("ace model pull m")
    done = ace("check", ".", "--json")
    assert done.exit_code == 2
    assert done.json["error"] == "ace model pull m"
    assert done.json["files"] == []


def test_a_mistake_in_the_settings_is_one_line_and_2(ace, project: Path) -> None:
    write(project / "ace.toml", "[chek]\n")
    done = ace("check", ".")
    assert (done.exit_code, done.out) == (2, "")
    assert done.err.startswith("ace: error: ") and "did you mean 'check'?" in done.err
    assert ace("check", ".", "--json").json["error"] in done.err


def test_ctrl_c_while_the_model_loads_is_130_with_what_there_is(ace, engine, project: Path) -> None:
    write(project / "a.py")
    engine.load_error = KeyboardInterrupt()
    done = ace("check", ".", "--json")
    assert done.exit_code == 130
    assert done.json["interrupted"] is True


def test_ctrl_c_in_a_scan_keeps_what_was_found_until_then(ace, engine, project: Path) -> None:
    write(project / "a.py", "BUG1\n")
    write(project / "b.py", "BUG2\nBUG3\nBUG4\n")
    write(project / "c.py", "BUG5\n")
    engine.does = lambda request: setattr(
        engine, "interrupt_after", 2 if request.document.uri == "b.py" else None
    )
    done = ace("check", ".", "--json")
    assert done.exit_code == 130
    lines = {file["path"]: [each["line"] for each in file["findings"]] for file in done.json["files"]}
    assert lines == {"a.py": [1], "b.py": [1, 2]}
    assert done.json["interrupted"] is True


def test_ctrl_c_is_told_to_people(ace, engine, project: Path) -> None:
    write(project / "a.py", "BUG1\nBUG2\n")
    engine.interrupt_after = 1
    done = ace("check", ".")
    assert done.exit_code == 130
    assert done.out.endswith("1 finding in 1 file, 1 file checked, interrupted before the rest.\n")


def test_an_unforeseen_error_costs_its_file_and_leaves_a_traceback(ace, engine, project: Path) -> None:
    write(project / "a.py")
    write(project / "b.py")

    def stumble(request) -> None:
        if request.document.uri == "a.py":
            raise RuntimeError("CUDA out of memory")

    engine.does = stumble
    done = ace("check", ".", "--json")
    assert done.exit_code == 2
    first, second = done.json["files"]
    assert first["error"] == "unexpected RuntimeError: CUDA out of memory"
    assert len(second["findings"]) == 1
    assert "Traceback" in done.err


def test_an_error_on_purpose_in_one_file_costs_that_file_and_shows_no_traceback(
    ace, engine, project: Path
) -> None:
    write(project / "a.py")

    def refuse(request) -> None:
        raise InputError("too odd")

    engine.does = refuse
    done = ace("check", ".")
    assert done.exit_code == 2
    assert "ace: error: a.py: too odd" in done.err
    assert "Traceback" not in done.err


# --- what it writes --------------------------------------------------------------------------------------


def test_json_is_all_of_stdout_and_lists_what_was_asked_for(ace, project: Path) -> None:
    write(project / "a.py")
    write(project / "b.py", b"\xff")
    done = ace("check", "a.py", "b.py", "--json")
    a, b = done.json["files"]
    assert a["findings"][0]["line"] == 2 and a["findings"][0]["column"] == 13
    assert "sites" not in a
    assert "got byte 0xff" in b["error"]
    assert (done.json["model"], done.json["bundle"]) == ("fake", "fake bundle")


def test_sites_adds_every_candidate(ace, project: Path) -> None:
    write(project / "a.py", "BUG  # ace: ignore\n")
    (file,) = ace("check", "a.py", "--json", "--sites").json["files"]
    assert file["findings"] == []
    assert file["sites"] == [{"line": 1, "column": 0, "text": "BUG", "kind": "comparison", "score": 0.9}]


def test_sarif_is_all_of_stdout(ace, project: Path) -> None:
    write(project / "sub/a.py")
    done = ace("check", "sub", "--format", "sarif")
    assert done.exit_code == 1
    (result,) = done.json["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place == {"uri": "sub/a.py", "uriBaseId": "ROOT"}


def test_the_schema_is_printed_without_looking_at_anything(ace, engine) -> None:
    done = ace("check", "--schema", "nowhere")
    assert (done.exit_code, done.json) == (0, SCHEMA)
    assert engine.loads == []


def test_no_colours_go_to_something_that_is_no_terminal(ace, project: Path) -> None:
    write(project / "a.py", "x = '\x1b[31m' BUG\n")
    done = ace("check", "a.py")
    assert "\x1b" not in done.out + done.err
    assert "\\x1b[31m" in done.out


@pytest.mark.parametrize(
    ("variables", "coloured"), [({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)]
)
def test_no_color_is_honoured_where_there_would_be_colours(
    ace, project: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool
) -> None:
    write(project / "a.py")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ("\x1b[31m" in ace("check", "a.py", "-q").out or "33m" in ace("check", "a.py").out) is coloured


def test_quiet_leaves_errors_alone_on_stderr(ace, project: Path) -> None:
    write(project / "a.py", "BUG  # ace: ignore[nmae]\n")
    assert "unknown kind 'nmae'" in ace("check", ".").err
    assert ace("check", ".", "-q").err == ""
    assert ace("check", "missing", "-q").err == "ace: error: missing: there is no such file or folder\n"


def test_what_stands_in_the_way_is_told_on_stderr_in_plain_lines(ace, project: Path) -> None:
    write(project / "a.py")
    assert "ace: loading the fake\n" in ace("check", ".").err


# --- what it looks at ------------------------------------------------------------------------------------


def test_without_a_path_the_current_folder_is_checked(ace, project: Path) -> None:
    write(project / "sub/a.py")
    assert [file["path"] for file in ace("check", "--json").json["files"]] == ["sub/a.py"]


def test_an_empty_folder_is_told_and_is_0(ace, engine, project: Path) -> None:
    done = ace("check", ".")
    assert done.exit_code == 0
    assert "ace: note: no Python files to check" in done.err
    assert engine.loads == []


def test_stdin_is_a_text_like_any_other(ace, project: Path) -> None:
    write(project / "a.py", CLEAN)
    done = ace("check", "-", "a.py", "--stdin-filename", "new.py", "--json", stdin=BUGGY)
    assert done.exit_code == 1
    assert [(f["path"], len(f["findings"])) for f in done.json["files"]] == [("new.py", 1), ("a.py", 0)]
    assert ace("check", "-", "-", "--json", stdin=BUGGY).json["files"][0]["path"] == "<stdin>"


def test_a_file_called_minus_can_be_checked(ace, project: Path) -> None:
    write(project / "-", BUGGY)
    assert [f["path"] for f in ace("check", "./-", "--json", stdin="").json["files"]] == ["-"]


@pytest.mark.parametrize("data", [b"\0", b"\xff", b"x" * 3_000_000])
def test_stdin_that_can_not_be_read_is_told(ace, data: bytes) -> None:
    done = ace("check", "-", "--json", stdin=data)
    assert done.exit_code == 2
    assert "expected" in done.json["files"][0]["error"]


def test_the_engine_gets_the_text_with_its_line_endings_and_without_the_mark(
    ace, engine, project: Path
) -> None:
    write(project / "a.py", b"\xef\xbb\xbfx = 1\r\n\x0c\ty = 'BUG'\r")
    (finding,) = ace("check", "a.py", "--json").json["files"][0]["findings"]
    assert engine.asked[0].document.text == "x = 1\r\n\x0c\ty = 'BUG'\r"
    assert (finding["line"], finding["column"]) == (2, 7)


@pytest.mark.parametrize(
    ("text", "scanned"),
    [("", False), (" \n\t\n", False), ("\ufeff", False), ("# only\n# comments\n", True)],
)
def test_a_file_without_text_costs_no_model(ace, engine, project: Path, text: str, scanned: bool) -> None:
    write(project / "a.py", text)
    done = ace("check", "a.py", "--json")
    assert done.exit_code == 0
    assert [file["path"] for file in done.json["files"]] == ["a.py"]
    assert bool(engine.loads) is scanned


def test_a_file_that_asks_to_be_ignored_costs_no_model(ace, engine, project: Path) -> None:
    write(project / "a.py", "# ace: ignore-file\nBUG\n")
    assert ace("check", "a.py").exit_code == 0
    assert engine.loads == []


def test_the_engine_is_loaded_once(ace, engine, project: Path) -> None:
    for name in ("a.py", "b.py", "c.py"):
        write(project / name)
    assert "3 findings in 3 files" in ace("check", ".").out
    assert len(engine.loads) == 1


def test_options_reach_the_engine(ace, engine, project: Path) -> None:
    write(project / "a.py")
    ace("check", ".", "--model", "m", "--device", "cpu", "--dtype", "fp32", "--max-false-alarms", "5")
    (settings,) = engine.loads
    assert (settings.model.name, settings.model.device, settings.model.dtype) == ("m", "cpu", "float32")
    assert settings.check.max_false_alarms == engine.asked[0].max_false_alarms == 5.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-false-alarms", "0"], "check.max_false_alarms: expected a number above 0"),
        (["--max-false-alarms", "nan"], "check.max_false_alarms: expected a number above 0"),
        (["--device", "gpu"], "model.device: expected auto, cpu"),
        (["--dtype", "int4"], "model.dtype: expected auto, float32"),
        (["--exclude", "!"], "expected patterns as in a .gitignore"),
    ],
)
def test_an_option_that_can_not_be_used_is_told(ace, project: Path, options: list[str], message: str) -> None:
    write(project / "a.py")
    done = ace("check", ".", *options)
    assert done.exit_code == 2
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--json", "--format", "sarif"], "contradict each other"),
        (["--sites"], "--sites needs --json"),
        (["--stdin-filename", "x.py"], "--stdin-filename names the text from stdin"),
        (["-", "--changed", "HEAD"], "--changed compares files with git"),
        (["--format", "xml"], "xml"),
        (["--frobnicate"], "--frobnicate"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(ace, options: list[str], message: str) -> None:
    done = ace("check", *options)
    assert done.exit_code == 2
    assert message in " ".join(done.err.replace("│", " ").split())


def test_the_settings_are_those_of_the_project_that_the_paths_lie_in(ace, engine, project: Path) -> None:
    write(project / "inner/pyproject.toml", '[tool.ace.model]\nname = "m"\n')
    write(project / "inner/a.py")
    write(project / "inner/sub/b.py")
    for paths in (["inner"], ["inner/a.py", "inner/sub/b.py"], ["inner/sub/*.py"]):
        engine.loads.clear()
        ace("check", *paths)
        assert engine.loads[0].model.name == "m", paths
    engine.loads.clear()
    ace("check", "-", "--stdin-filename", "inner/x.py", stdin=BUGGY)
    assert engine.loads[0].model.name == "m"
    engine.loads.clear()
    ace("check", ".")
    assert engine.loads[0].model.name != "m"


def test_exclude_in_the_settings_counts_from_their_folder_and_is_told_for_what_is_named(
    ace, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project / "ace.toml", '[check]\nexclude = ["/gen/"]\n')
    write(project / "gen/a.py")
    write(project / "sub/b.py")
    monkeypatch.chdir(project / "sub")
    done = ace("check", "../gen/a.py", "b.py", "--json")
    assert [file["path"] for file in done.json["files"]] == ["b.py"]
    assert "ace: note: ../gen/a.py: excluded by the settings" in done.err


def test_exclude_on_the_command_line_adds_to_the_settings(ace, project: Path) -> None:
    write(project / "ace.toml", '[check]\nexclude = ["a.py"]\n')
    for name in ("a.py", "b.py", "c.py"):
        write(project / name)
    listed = ace("check", ".", "--exclude", "b.py", "--json").json["files"]
    assert [file["path"] for file in listed] == ["c.py"]


def test_the_size_limit_comes_from_the_settings(ace, project: Path) -> None:
    write(project / "ace.toml", "[check]\nmax_file_bytes = 10\n")
    write(project / "a.py")
    write(project / "b.py", "BUG\n")
    a, b = ace("check", ".", "--json").json["files"]
    assert "expected at most 10 bytes" in a["error"]
    assert len(b["findings"]) == 1


# --- changed lines ----------------------------------------------------------------------------------------


@pytest.fixture
def git(project: Path) -> Callable[..., None]:
    def run(*arguments: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], cwd=project, check=True, capture_output=True)

    return run


def test_changed_shows_what_is_on_changed_lines_alone(ace, git, project: Path) -> None:
    git("init", "-q")
    write(project / "a.py", "BUG1\nclean\nclean\n")
    write(project / "b.py", "BUG2\n")
    git("add", ".")
    git("commit", "-qm", "x")
    write(project / "a.py", "BUG1\nclean\nBUG3\n")
    write(project / "new.py", "BUG4\n")
    done = ace("check", "--changed", "HEAD", "a.py", "b.py", "new.py", "--json")
    assert done.exit_code == 1
    lines = {file["path"]: [each["line"] for each in file["findings"]] for file in done.json["files"]}
    assert lines == {"a.py": [3], "new.py": [1]}


def test_changed_loads_no_model_where_nothing_changed(ace, engine, git, project: Path) -> None:
    git("init", "-q")
    write(project / "a.py")
    git("add", ".")
    git("commit", "-qm", "x")
    done = ace("check", "--changed", "HEAD")
    assert (done.exit_code, engine.loads) == (0, [])
    assert done.out == "no findings, 0 files checked.\n"


def test_changed_since_a_revision_that_is_none_is_one_line(ace, git, project: Path) -> None:
    git("init", "-q")
    write(project / "a.py")
    write(project / "b.py")
    done = ace("check", "--changed", "nowhere")
    assert done.exit_code == 2
    assert done.err.count("expected a revision that git knows") == 1


def test_changed_outside_of_a_repository_costs_that_file(ace, project: Path) -> None:
    write(project / "a.py")
    done = ace("check", "--changed", "HEAD", "--json")
    assert done.exit_code == 2
    assert "not a git repository" in done.json["files"][0]["error"]

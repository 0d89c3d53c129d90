"""`ace explain` from the outside: what it writes where, and how it ends."""

import json
from pathlib import Path

import pytest

from ace_analysis.cli.pasting import COUNTED
from ace_analysis.errors import BundleError, ModelNotFound
from ace_analysis.report.explanation import SCHEMA

CODE = "def f(a, b):\n    return a BUG b\n# \U0001f600\n\n"


@pytest.fixture(autouse=True)
def code(project: Path) -> Path:
    path = project / "a.py"
    path.write_text(CODE, encoding="utf-8")
    return path


def test_a_finding_is_shown_with_all_that_it_comes_from(ace) -> None:
    done = ace("explain", "-q", "a.py:2:14")
    assert (done.exit_code, done.err) == (0, "")
    assert done.out == (
        "a.py:2:14: comparison (probability 0.90): this comparison looks wrong\n"
        "  |\n"
        "2 |     return a BUG b\n"
        "  |              ^^^\n"
        "Evidence that 'BUG' is wrong here: +2.00 log-odds.\n"
        "\n"
        "Latents that fired\n"
        "    +1.50 ████████████  latent 7        on BUG at 2:14  fires most on 'BUG'\n"
        "    +0.75 ██████        all others\n"
        "    -0.25 ██            any such place\n"
        "\n"
        "Tokens that drive it\n"
        "    +1.00 ████████████  BUG   at 2:14\n"
        "    -0.50 ██████        def   at 1:1\n"
        "    +0.00               gone\n"
        "\n"
        "Heads, 8 of 12\n"
        "    +1.00 ████          layer 0, head 0\n"
        "    +0.00               layer 0, head 1\n"
        "    -1.00 ████          layer 0, head 2\n"
        "    -2.00 ████████      layer 0, head 3\n"
        "    +0.00               layer 1, head 0\n"
        "    -1.00 ████          layer 1, head 1\n"
        "    -2.00 ████████      layer 1, head 2\n"
        "    -3.00 ████████████  layer 1, head 3\n"
        "\n"
        "Layers\n"
        "    -1.25 ████████████  layer 1  attention -0.50, MLP -0.75\n"
        "    +0.75 ███████       layer 0  attention +0.50, MLP +0.25\n"
        "\n"
        "Unexplained: +0.12 log-odds. By hand.\n"
        "Heads and layers act through each other: their scores add up to nothing.\n"
        "It is no proof.\n"
    )


def test_a_token_is_shown_with_what_the_model_expects_instead(ace) -> None:
    done = ace("explain", "-q", "a.py:1:0")
    assert "the model gives def probability 0.90, > 0.05" in done.out
    assert "Latents that fired" not in done.out and "+2.00 logits" in done.out


def test_json_is_one_object_with_all_parts(ace, engine) -> None:
    done = ace("explain", "--json", "a.py:2:14", "--max-false-alarms", "0.5")
    told = done.json
    assert done.exit_code == 0
    assert (told["path"], told["model"], told["error"]) == ("a.py", "fake", None)
    assert {"target", "latents", "heads", "layers", "tokens", "unexplained"} <= set(told)
    assert told["heads"][0] == {"layer": 0, "head": 0, "score": 1.0}
    assert len(told["heads"]) == 12
    assert (told["target"]["line"], told["target"]["column"], told["target"]["end_column"]) == (2, 13, 16)
    (asked,) = engine.explained
    assert (asked.offset, asked.max_false_alarms, asked.expectation) == (CODE.index("BUG") + 1, 0.5, False)


def test_a_check_is_shown_beside_what_was_said(ace, engine) -> None:
    done = ace("explain", "-q", "a.py:2:14", "--check", "2")
    assert (
        "Taken out one at a time: by how much the value really falls\n"
        "    -1.00 ████████████  layer 0, head 3  said -2.00\n"
        "    +0.50 ██████        layer 1, MLP     said -0.75\n"
    ) in done.out
    assert engine.explained[0].check == 2
    told = ace("explain", "--json", "a.py:2:14", "--check", "1").json
    assert told["checks"] == [{"layer": 0, "head": 3, "score": -2.0, "effect": -1.0}]


def test_the_schema_is_written_without_a_place(ace, engine) -> None:
    done = ace("explain", "--schema")
    assert json.loads(done.out) == SCHEMA and not engine.loads


def test_the_models_expectation_can_be_asked_for_anywhere(ace, engine) -> None:
    ace("explain", "-q", "a.py:2:14", "--expectation")
    assert engine.explained[0].expectation


def test_a_text_from_stdin_is_explained_under_a_name(ace, engine) -> None:
    done = ace("explain", "-q", "-:1:0", "--stdin-filename", "b.py", stdin="BUG\n")
    assert done.exit_code == 0 and done.out.startswith("b.py:1:1: comparison")
    assert engine.explained[0].document.text == "BUG\n"


def test_an_option_that_is_misspelt_is_told(ace) -> None:
    done = ace("explain", "--jsonn", "a.py:2:14")
    assert done.exit_code == 2 and "no such option: --jsonn" in done.err


def test_columns_count_code_points(ace, project: Path) -> None:
    (project / "b.py").write_text("s = '\U0001f600' + BUG\n", encoding="utf-8")
    assert ace("explain", "--json", "b.py:1:10").json["target"]["text"] == "BUG"


def test_progress_is_told_on_stderr_unless_it_is_quiet(ace) -> None:
    assert "ace: explaining" in ace("explain", "a.py:2:14").err
    assert ace("explain", "a.py:2:14", "-q").err == ""


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("a.py", "expected FILE:LINE:COL, LINE from 1 and COL from 0 on, as in app.py:12:8, got 'a.py'"),
        ("a.py:2", "expected FILE:LINE:COL"),
        ("a.py:0:1", "expected FILE:LINE:COL"),
        ("a.py:-1:1", "expected FILE:LINE:COL"),
        (":1:1", "expected FILE:LINE:COL"),
        ("a.py:9:0", "a.py: expected a line from 1 to 5, got 9"),
        ("a.py:1:99", "a.py: expected a column from 0 to 11 on line 1, got 99"),
        ("a.py:4:0", "a.py: expected a column of a line that is not empty on line 4, got 0"),
        ("a.py:2:0", "a.py: expected a place on code, got white space at line 2, column 0\n"),
        (
            "a.py:2:16",
            "white space at line 2, column 16; columns count from 0 here, from 1 in ace check's list",
        ),
        ("a.py:2:16", f"white space at line 2, column 16; {COUNTED}: the place before it is 2:15\n"),
        ("a.py:2:18", f"got 18; {COUNTED}: the place before it is 2:17\n"),
        ("a.py:3:0", "a.py: expected a place in a function"),
        ("missing.py:1:0", "missing.py: can't be read: No such file or directory"),
        (".:1:0", ".: expected a file, got a folder"),
    ],
)
def test_where_nothing_can_be_explained_one_line_says_why(ace, place: str, told: str) -> None:
    done = ace("explain", "-q", place)
    assert (done.exit_code, done.out) == (2, "")
    assert told in done.err and done.err.startswith("ace: error: ") and done.err.count("\n") == 1
    in_json = ace("explain", "-q", "--json", place)
    assert in_json.exit_code == 2 and in_json.json["error"] in done.err


def test_a_column_of_a_persons_list_is_answered_with_what_to_type(ace, engine, project: Path) -> None:
    """What the list calls column 7, behind a finding of one sign, is another token here."""
    (project / "my b.py").write_text("f(BUG)+BUGS\n", encoding="utf-8")
    done = ace("explain", "my b.py:1:6")
    assert done.exit_code == 0
    told = [line for line in done.err.splitlines() if line.startswith("ace: note: ")]
    assert told == [f"ace: note: no finding at 1:6; {COUNTED}: for that line's, ace explain 'my b.py':1:7"]
    assert ace("explain", "-q", "my b.py:1:6").err == ""


def test_a_finding_and_an_expectation_get_no_such_advice(ace) -> None:
    for arguments in (["a.py:2:14"], ["a.py:2:11", "--expectation"], ["a.py:1:0"]):
        assert "note" not in ace("explain", *arguments).err


def test_a_file_that_is_no_text_is_told(ace, project: Path) -> None:
    (project / "b.py").write_bytes(b"\0")
    assert "b.py: expected Python source, got binary data" in ace("explain", "-q", "b.py:1:0").err


def test_without_a_place_the_usage_is_told(ace) -> None:
    done = ace("explain")
    assert done.exit_code == 2 and "expected one FILE:LINE:COL" in done.err


def test_a_name_for_stdin_needs_stdin(ace) -> None:
    assert "give the place as -:LINE:COL" in ace("explain", "a.py:1:0", "--stdin-filename", "b.py").err


@pytest.mark.parametrize("error", [ModelNotFound("ace model pull m"), BundleError("m has no bundle yet")])
def test_an_engine_that_can_not_be_loaded_is_one_line(ace, engine, error: Exception) -> None:
    engine.load_error = error
    done = ace("explain", "-q", "a.py:2:14")
    assert (done.exit_code, done.out, done.err) == (2, "", f"ace: error: {error}\n")


def test_a_place_that_is_none_needs_no_engine(ace, engine) -> None:
    ace("explain", "-q", "a.py:9:0")
    assert not engine.loads


def test_an_interrupt_is_130_and_told(ace, engine) -> None:
    engine.interrupt_after = 0
    done = ace("explain", "-q", "a.py:2:14", "--json")
    assert done.exit_code == 130 and "interrupted" in done.json["error"]


def test_the_settings_of_the_files_folder_govern(ace, engine, project: Path) -> None:
    (project / "ace.toml").write_text("[check]\nmax_false_alarms = 3.0\n[model]\nname = 'm'\n")
    ace("explain", "-q", "a.py:2:14")
    assert engine.explained[0].max_false_alarms == 3.0 and engine.loads[0].model.name == "m"
    ace("explain", "-q", "a.py:2:14", "--model", "n", "--device", "cpu", "--dtype", "float32")
    assert (engine.loads[1].model.name, engine.loads[1].model.device) == ("n", "cpu")

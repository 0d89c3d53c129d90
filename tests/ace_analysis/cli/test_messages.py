import pytest

from ace_analysis.cli.messages import printable, printable_path, tell_error, tell_note


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünï 漢 \U0001f600", "plain ünï 漢 \U0001f600"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\r\x07\x7f\x9b", "a\\x0ab\\x0d\\x07\\x7f\\x9b"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_would_move_a_terminal_is_escaped_and_the_rest_stays(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_path_that_is_no_text_can_be_shown() -> None:
    assert printable_path("a\udcff\n.py") == "a\\xff\\x0a.py"


def test_messages_are_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    tell_error("broken")
    tell_note("odd")
    assert capsys.readouterr() == ("", "ace: error: broken\nace: note: odd\n")

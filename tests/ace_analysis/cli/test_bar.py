"""A bar is on a terminal inside its block alone, and nowhere else."""

import pytest

from ace_analysis.cli.bar import Bar


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.usefixtures("terminal")
def test_a_bar_is_gone_at_the_end_whatever_happened(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar()
    with pytest.raises(RuntimeError), bar:
        assert bar.drawn and bar.on_terminal
        bar.show("reading [a] file", 1, 2)
        raise RuntimeError
    assert not bar.on_terminal
    assert "reading [a] file" in capsys.readouterr().err


@pytest.mark.usefixtures("terminal")
def test_a_bar_can_be_taken_off_and_put_on_again(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar() as bar:
        for fraction in (None, 0.5):
            bar.take_off()
            assert not bar.on_terminal
            bar.put_on()
            assert bar.on_terminal
            bar.show_share("loading", fraction)
    assert "loading" in capsys.readouterr().err


@pytest.mark.usefixtures("terminal")
def test_quietly_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar(quiet=True) as bar:
        bar.show("loading", 1, 2)
        assert not bar.drawn and not bar.on_terminal
    assert capsys.readouterr().err == ""


def test_in_a_pipe_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar() as bar:
        bar.show("loading", 1, 2)
    assert not bar.drawn and capsys.readouterr().err == ""

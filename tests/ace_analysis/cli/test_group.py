"""How commands are found, and how they fail."""

import sys
import types

import pytest
import typer
from typer.testing import CliRunner

from ace_analysis.cli import app
from ace_analysis.cli.group import LAZY, AceGroup
from ace_analysis.errors import AceError


@pytest.fixture
def failing() -> typer.Typer:
    """A command line of one command, which raises what it is told to."""
    application = typer.Typer(cls=AceGroup, pretty_exceptions_enable=False)

    @application.callback()
    def root() -> None: ...

    @application.command()
    def fail(ctx: typer.Context) -> None:
        raise ctx.obj

    return application


def run(application: typer.Typer, error: BaseException):
    return CliRunner().invoke(application, ["fail"], obj=error)


def test_an_error_on_purpose_is_one_line_and_2(failing: typer.Typer) -> None:
    done = run(failing, AceError("no disk"))
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", "ace: error: no disk\n")


def test_a_missing_library_of_the_engine_says_how_to_install_it(failing: typer.Typer) -> None:
    done = run(failing, ModuleNotFoundError("No module named 'torch'", name="torch.nn"))
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'ace-lsp[engine]'" in done.stderr


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), KeyError("y"), ImportError("z", name="json"), OSError(5, "io")]
)
def test_a_mistake_of_ours_is_2_with_a_traceback(failing: typer.Typer, error: Exception) -> None:
    done = run(failing, error)
    assert done.exit_code == 2
    assert "Traceback" in done.stderr
    assert "this is a mistake in ACE" in done.stderr


def test_ctrl_c_is_130(failing: typer.Typer) -> None:
    done = run(failing, KeyboardInterrupt())
    assert (done.exit_code, done.stdout) == (130, "")


def test_a_command_ends_as_it_says(failing: typer.Typer) -> None:
    assert run(failing, typer.Exit(7)).exit_code == 7
    assert "Traceback" not in run(failing, typer.Abort()).stderr
    assert run(failing, typer.BadParameter("bad")).exit_code == 2


def test_a_lazy_command_is_listed_without_its_module() -> None:
    for name in LAZY:
        sys.modules.pop(f"ace_analysis.cli.{name}", None)
    done = CliRunner().invoke(app, ["--help"])
    for name, (module, _, summary) in LAZY.items():
        assert name in done.stdout
        assert summary[:20] in done.stdout
        assert module not in sys.modules or "models" in module


def test_a_lazy_command_is_imported_when_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = typer.Typer()

    @bench.command()
    def only(x: int) -> None:
        typer.echo(f"got {x}")

    module = types.ModuleType("ace_analysis.cli.bench")
    module.bench_app = bench  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ace_analysis.cli.bench", module)
    done = CliRunner().invoke(app, ["bench", "only", "3"])
    assert (done.exit_code, done.stdout) == (0, "got 3\n")
    assert "only" in CliRunner().invoke(app, ["bench", "--help"]).stdout


def test_a_misspelt_command_names_the_nearest_lazy_or_not() -> None:
    assert "'model'" in CliRunner().invoke(app, ["modle"]).stderr
    assert "'check'" in CliRunner().invoke(app, ["chek"]).stderr


def test_every_lazy_command_is_there() -> None:
    for name in LAZY:
        done = CliRunner().invoke(app, [name, "--help"])
        assert done.exit_code == 0, (name, done.stderr)

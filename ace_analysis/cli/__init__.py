"""The command `ace`.

Each command's code is imported when that command is used, and torch not before a model is needed, so that
`ace --help` answers at once and works where the engine is not installed.

    check           likely bugs in files                     check.py, checking.py, render.py, progress.py
    explain         why a place is a finding                 explain.py, explain_render.py
    report          a file's findings as a page to look at   report.py
    circuit         the heads and MLPs behind a place        circuit.py
    fix             what could stand in a wrong place        fix.py, fixing.py
    edit            the model itself, changed and undone     edit.py
    model, cache    weights, and everything that is kept     models.py
    train           sparse coders and bundles                train.py
    bench           the measurements that the README quotes  bench.py
    serve, worker   the processes that an editor starts      serve.py
"""

import io
import sys
from typing import Annotated

import typer

import ace_analysis
from ace_analysis.cli.check import check_command
from ace_analysis.cli.circuit import EPILOG as ABOUT_CIRCUIT
from ace_analysis.cli.circuit import circuit_command
from ace_analysis.cli.explain import ABOUT as ABOUT_EXPLAIN
from ace_analysis.cli.explain import DASH_IS_A_FILE, explain_command
from ace_analysis.cli.fix import fix_command
from ace_analysis.cli.group import AceGroup
from ace_analysis.cli.options import EPILOG
from ace_analysis.cli.report import report_command
from ace_analysis.cli.serve import PASSED_ON, serve_command, worker_command

app = typer.Typer(
    name="ace",
    cls=AceGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("check", epilog=EPILOG)(check_command)
app.command("explain", epilog=ABOUT_EXPLAIN, context_settings=DASH_IS_A_FILE)(explain_command)
app.command("circuit", epilog=ABOUT_CIRCUIT)(circuit_command)
app.command("fix")(fix_command)
app.command("report")(report_command)
app.command("serve", context_settings=PASSED_ON)(serve_command)
app.command("worker", context_settings=PASSED_ON)(worker_command)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ace {ace_analysis.__version__}")
        raise typer.Exit


@app.callback()
def ace(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Likely bugs in Python code, read from a code model's own activations."""


def main() -> None:
    """Run the command line; what the terminal's encoding lacks is escaped and costs nothing else."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()

"""`ace check`: the command's options, and what it writes."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from ace_analysis.cli.checking import STDIN, Check, CheckPlan
from ace_analysis.cli.known import chosen_baseline
from ace_analysis.cli.messages import tell_error
from ace_analysis.cli.options import (
    AsJson,
    BaselineFile,
    Changed,
    ChosenFormat,
    Device,
    Dtype,
    Excluded,
    Format,
    MaxFalseAlarms,
    Model,
    Paths,
    Quiet,
    Schema,
    Sites,
    StdinFilename,
    WriteBaseline,
)
from ace_analysis.cli.scanning import LoadScanner, load_engine
from ace_analysis.errors import AceError
from ace_analysis.report.listing import SCHEMA, listing_of
from ace_analysis.report.run import CheckedFile, CheckRun
from ace_analysis.report.sarif import sarif_of
from ace_analysis.settings import CheckSettings, find_config, load_settings
from ace_analysis.source.files import Exclusion


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the command line says, options that were not given being None or empty."""

    paths: tuple[str, ...]
    model: str | None = None
    device: str | None = None
    dtype: str | None = None
    max_false_alarms: float | None = None
    exclude: tuple[str, ...] = ()
    changed: str | None = None
    sites: bool = False
    stdin_filename: str | None = None
    baseline: Path | None = None
    write_baseline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    format: Format
    sites: bool
    quiet: bool


def check_command(  # noqa: PLR0913 - a command's parameters are its options
    ctx: typer.Context,
    paths: Paths = None,
    as_json: AsJson = False,
    output: ChosenFormat = None,
    sites: Sites = False,
    max_false_alarms: MaxFalseAlarms = None,
    changed: Changed = None,
    exclude: Excluded = None,
    baseline: BaselineFile = None,
    write_baseline: WriteBaseline = False,
    stdin_filename: StdinFilename = None,
    model: Model = None,
    device: Device = None,
    dtype: Dtype = None,
    quiet: Quiet = False,
    schema: Schema = False,
) -> None:
    r"""Find likely bugs: places that the error features of a code model's own activations mark as wrong.

    What is set in \[tool.ace] of pyproject.toml, or in ace.toml, is the default here.
    """
    if schema:
        return typer.echo(json.dumps(SCHEMA, indent=2))
    chosen = Output(format=_format(output, as_json), sites=sites, quiet=quiet)
    request = Request(
        paths=tuple(paths or (".",)),
        model=model,
        device=device,
        dtype=dtype,
        max_false_alarms=max_false_alarms,
        exclude=tuple(exclude or ()),
        changed=changed,
        sites=sites,
        stdin_filename=stdin_filename,
        baseline=baseline,
        write_baseline=write_baseline,
    )
    _refuse_contradictions(request, chosen)
    raise typer.Exit(perform(request, chosen, ctx.obj or load_engine).exit_code)


def perform(request: Request, output: Output, load: LoadScanner) -> CheckRun:
    """Check, and write the results; whatever could not be done is told on stderr, too."""
    human = _human_renderer() if output.format is Format.HUMAN else None
    reporter = _reporter(human.file if human is not None else _show_nothing, output.quiet)
    with reporter:
        try:
            run = Check(plan_of(request), reporter, load).run()
        except AceError as error:
            run = CheckRun(max_false_alarms=CheckSettings().max_false_alarms, error=str(error))
    if run.error is not None:
        tell_error(run.error)
    if human is not None:
        human.summary(run) if run.error is None else None
    elif output.format is Format.JSON:
        _write(listing_of(run, sites=output.sites))
    else:
        _write(sarif_of(run, Path.cwd()))
    return run


def plan_of(request: Request) -> CheckPlan:
    """The plan with the settings that govern the paths."""
    start = _common_folder(request)
    overrides = {
        "model": {"name": request.model, "device": request.device, "dtype": request.dtype},
        "check": {"max_false_alarms": request.max_false_alarms},
    }
    settings = load_settings(start, overrides)
    config = find_config(start)
    folder = config.parent if config else Path.cwd()
    exclusions = (
        Exclusion(folder=folder, patterns=settings.check.exclude),
        Exclusion(folder=Path.cwd(), patterns=request.exclude),
    )
    return CheckPlan(
        paths=request.paths,
        settings=settings,
        exclusions=tuple(each for each in exclusions if each.patterns),
        changed=request.changed,
        sites=request.sites,
        stdin_name=request.stdin_filename or "<stdin>",
        known=chosen_baseline(
            request.baseline, settings.check.baseline, folder, learn=request.write_baseline
        ),
    )


def _common_folder(request: Request) -> Path:
    """Where the configuration is looked for: the deepest folder that holds all that was named."""
    named = [path for path in request.paths if path != STDIN]
    if STDIN in request.paths:
        named.append(request.stdin_filename or "")
    places = [os.path.normpath(Path.cwd() / path) for path in named]
    try:
        return Path(os.path.commonpath(places))
    except ValueError:
        return Path.cwd()


def _format(chosen: Format | None, as_json: bool) -> Format:
    if as_json and chosen not in (None, Format.JSON):
        raise typer.BadParameter(f"--json and --format {chosen} contradict each other")
    return Format.JSON if as_json else chosen or Format.HUMAN


def _refuse_contradictions(request: Request, output: Output) -> None:
    reads_stdin = STDIN in request.paths
    if output.sites and output.format is not Format.JSON:
        raise typer.BadParameter("--sites needs --json, which it adds the candidates to")
    if request.stdin_filename is not None and not reads_stdin:
        raise typer.BadParameter("--stdin-filename names the text from stdin: give the path - as well")
    if request.changed is not None and reads_stdin:
        raise typer.BadParameter("--changed compares files with git, and a text from stdin is none")
    if request.write_baseline and (request.changed is not None or reads_stdin):
        raise typer.BadParameter("--write-baseline takes whole files as known: leave out --changed and -")


def _human_renderer() -> Any:
    from rich.console import Console

    from ace_analysis.cli.render import HumanRenderer

    return HumanRenderer(Console(markup=False, emoji=False))


def _reporter(show: Any, quiet: bool) -> Any:
    from ace_analysis.cli.progress import Reporter

    return Reporter(show, quiet=quiet)


def _show_nothing(_: CheckedFile) -> None:
    """JSON and SARIF are one value, written at the end."""


def _write(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))

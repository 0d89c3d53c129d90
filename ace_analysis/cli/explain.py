"""`ace explain FILE:LINE:COL`: the command's options, and what it writes."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ace_analysis.cli.messages import printable_path, tell, tell_error, tell_note
from ace_analysis.cli.options import (
    AsJson,
    Device,
    Dtype,
    MaxFalseAlarms,
    Model,
    Quiet,
    Schema,
    StdinFilename,
)
from ace_analysis.cli.pasting import advice, command_at, one_before
from ace_analysis.cli.scanning import (
    ExplainRequest,
    LoadScanner,
    ScanRequest,
    interruptible,
    load_engine,
)
from ace_analysis.errors import AceError, Cancelled, InputError
from ace_analysis.report.attribution import TargetKind
from ace_analysis.report.explanation import SCHEMA, Explained, explanation_of
from ace_analysis.report.run import INTERRUPTED, NOT_DONE
from ace_analysis.settings import EngineSettings, load_settings
from ace_analysis.source.document import CodeDocument
from ace_analysis.source.reading import decode_source, read_at_most, read_source

STDIN = "-"
DASH_IS_A_FILE = {"ignore_unknown_options": True}
"""So that -:12:8 is a place and no option."""

_PARAGRAPHS = (
    """A finding, or any other candidate place, is explained by its score: the latents that fired, and what
    each head, layer and source token contributes. Any other token by what the model expects there: its logit
    against that of the best alternative.""",
    """[bold]Scores[/bold] are signed and in the unit that is named. Those of heads and layers are effects
    through all that lies behind, so they add up to nothing and are no shares.""",
    """[bold]LINE[/bold] counts from 1 and [bold]COL[/bold] from 0, in code points, as in ace check --json
    (its list for people counts columns from 1). Beside a finding of the same line, it is told what to type
    for that.""",
    """[bold]Exit code.[/bold] 0: explained. 2: it could not be. 130: interrupted.""",
)
ABOUT = "\n\n".join(" ".join(paragraph.split()) for paragraph in _PARAGRAPHS)

PlaceArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE:LINE:COL", help="Where; - as FILE is a text from stdin.", show_default=False
    ),
]
Expectation = Annotated[
    bool, typer.Option("--expectation", help="What the model expects there, even at a candidate place.")
]

Check = Annotated[
    int,
    typer.Option(
        "--check", min=0, metavar="N", help="Really take out the N strongest heads and MLPs, one at a time."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A place on the command line."""

    path: str
    line: int
    column: int

    @classmethod
    def parse(cls, text: str) -> "Target":
        path, _, column = text.rpartition(":")
        path, _, line = path.rpartition(":")
        if not (path and line.isdecimal() and column.isdecimal() and int(line) > 0):
            raise InputError(
                f"expected FILE:LINE:COL, LINE from 1 and COL from 0 on, as in app.py:12:8, got {text!r}"
            )
        return cls(path=path, line=int(line), column=int(column))

    def offset_in(self, document: CodeDocument) -> int:
        """The place as an offset.

        Raises:
            InputError: the text has no such line or column, or white space stands there.
        """
        lines = len(document.line_starts)
        if self.line > lines:
            raise InputError(f"expected a line from 1 to {lines:,}, got {self.line:,}")
        text = document.line_text(self.line)
        if self.column >= len(text):
            have = f"from 0 to {len(text) - 1:,}" if text else "of a line that is not empty"
            raise InputError(
                f"expected a column {have} on line {self.line:,}, got {self.column:,}"
                + one_before(document, self.line, self.column)
            )
        if text[self.column].isspace():
            raise InputError(
                f"expected a place on code, got white space at line {self.line:,}, column {self.column:,}"
                + one_before(document, self.line, self.column)
            )
        return document.line_starts[self.line - 1] + self.column


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the command line says, options that were not given being None."""

    place: str
    expectation: bool = False
    check: int = 0
    max_false_alarms: float | None = None
    model: str | None = None
    device: str | None = None
    dtype: str | None = None
    stdin_filename: str | None = None
    quiet: bool = False


def explain_command(  # noqa: PLR0913 - a command's parameters are its options
    ctx: typer.Context,
    place: PlaceArgument = None,
    as_json: AsJson = False,
    expectation: Expectation = False,
    check: Check = 0,
    max_false_alarms: MaxFalseAlarms = None,
    stdin_filename: StdinFilename = None,
    model: Model = None,
    device: Device = None,
    dtype: Dtype = None,
    quiet: Quiet = False,
    schema: Schema = False,
) -> None:
    """Explain a place: why it is a finding, or what the model expects there."""
    if schema:
        typer.echo(json.dumps(SCHEMA, indent=2))
        return
    request = Request(
        place=_only(place or []),
        expectation=expectation,
        check=check,
        max_false_alarms=max_false_alarms,
        model=model,
        device=device,
        dtype=dtype,
        stdin_filename=stdin_filename,
        quiet=quiet,
    )
    raise typer.Exit(perform(request, ctx.obj or load_engine, as_json=as_json))


def _only(places: list[str]) -> str:
    misspelt = [each for each in places if each.startswith("-") and not each.startswith(f"{STDIN}:")]
    if misspelt:
        raise typer.BadParameter(f"no such option: {misspelt[0]}")
    if len(places) != 1:
        raise typer.BadParameter(f"expected one FILE:LINE:COL, as in app.py:12:8, got {len(places)}")
    return places[0]


def perform(request: Request, load: LoadScanner, *, as_json: bool) -> int:
    """Explain and write it; the exit code. What could not be done is told on stderr, in JSON as well."""
    name, document = request.place, CodeDocument(uri=request.place, text="")
    code, error, explained = NOT_DONE, None, None
    try:
        target = Target.parse(request.place)
        name = _name(target, request)
        settings = _settings(target, request)
        document = CodeDocument(uri=name, text=_text(target, settings))
        explained = _explained(request, settings, document, target.offset_in(document), load)
        code = 0
    except (Cancelled, KeyboardInterrupt):
        code, error = INTERRUPTED, "interrupted before it was explained"
    except AceError as reason:
        error = f"{name}: {reason}" if isinstance(reason, InputError) else str(reason)
    if error is not None:
        tell_error(error)
    explained = explained or Explained(path=name, document=document, error=error)
    if as_json:
        typer.echo(json.dumps(explanation_of(explained), indent=2, default=str))
    elif explained.why is not None:
        _show(explained)
    return code


def _explained(
    request: Request, settings: EngineSettings, document: CodeDocument, offset: int, load: LoadScanner
) -> Explained:
    def progress(message: str, fraction: float | None) -> None:
        if not request.quiet:
            tell(f"ace: {message}")

    engine = load(settings, progress)
    asked = ExplainRequest(
        document=document,
        offset=offset,
        expectation=request.expectation,
        check=request.check,
        max_false_alarms=settings.check.max_false_alarms,
    )
    with interruptible() as cancelled:
        why = engine.explain(asked, cancelled, progress)
        if not (request.quiet or request.expectation or why.target.kind is TargetKind.FINDING):
            shown = ScanRequest(document=document, max_false_alarms=settings.check.max_false_alarms)
            instead = advice(engine, shown, offset, command_at("explain", request.place), cancelled)
            if instead is not None:
                tell_note(instead)
    return Explained(path=document.uri, document=document, why=why, engine=engine.info())


def _name(target: Target, request: Request) -> str:
    if target.path == STDIN:
        return request.stdin_filename or "<stdin>"
    if request.stdin_filename is not None:
        raise InputError("--stdin-filename names the text from stdin: give the place as -:LINE:COL")
    return printable_path(target.path)


def _settings(target: Target, request: Request) -> EngineSettings:
    """Those that govern the file."""
    named = request.stdin_filename if target.path == STDIN else target.path
    place = Path(os.path.normpath(Path.cwd() / (named or "")))
    overrides = {
        "model": {"name": request.model, "device": request.device, "dtype": request.dtype},
        "check": {"max_false_alarms": request.max_false_alarms},
    }
    return load_settings(place, overrides)


def _text(target: Target, settings: EngineSettings) -> str:
    limit = settings.check.max_file_bytes
    if target.path == STDIN:
        return decode_source(read_at_most(sys.stdin.buffer, limit))
    return read_source(Path(target.path), limit)


def _show(explained: Explained) -> None:
    from rich.console import Console

    from ace_analysis.cli.explain_render import ExplanationRenderer

    console: Any = Console(markup=False, emoji=False, highlight=False)
    ExplanationRenderer(console).show(explained)

"""`ace report FILE -o report.html`: a file's findings and what they come from, as a page to look at."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ace_analysis.cli.messages import printable_path, tell, tell_error
from ace_analysis.cli.options import Device, Dtype, MaxFalseAlarms, Model, Quiet
from ace_analysis.cli.scanning import (
    ExplainRequest,
    LoadScanner,
    Progress,
    Scanner,
    ScanRequest,
    interruptible,
    load_engine,
)
from ace_analysis.errors import AceError, Cancelled, InputError, StorageError
from ace_analysis.report.attribution import Attribution
from ace_analysis.report.finding import Finding, ScopeReport
from ace_analysis.report.html import FilePage, page_of
from ace_analysis.report.run import INTERRUPTED, NOT_DONE
from ace_analysis.settings import EngineSettings, load_settings
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.reading import read_source

STDOUT = "-"
MOST_EXPLAINED = 20
UNKNOWN_THRESHOLD = 0.5
"""What the colours are scaled by where no finding says from which probability on it is one."""

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="A Python file.")]
Out = Annotated[str, typer.Option("--output", "-o", metavar="PAGE", help="Where to; - for stdout.")]
Explained = Annotated[
    int, typer.Option("--explained", min=0, help="Findings that are explained, the most probable first.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the command line says, options that were not given being None."""

    path: str
    output: str
    explained: int = MOST_EXPLAINED
    max_false_alarms: float | None = None
    model: str | None = None
    device: str | None = None
    dtype: str | None = None
    quiet: bool = False


def report_command(  # noqa: PLR0913 - a command's parameters are its options
    ctx: typer.Context,
    file: FileArgument,
    output: Out,
    explained: Explained = MOST_EXPLAINED,
    max_false_alarms: MaxFalseAlarms = None,
    model: Model = None,
    device: Device = None,
    dtype: Dtype = None,
    quiet: Quiet = False,
) -> None:
    """A file as a page to look at: a heat map of the code, and what each finding comes from."""
    request = Request(
        path=file,
        output=output,
        explained=explained,
        max_false_alarms=max_false_alarms,
        model=model,
        device=device,
        dtype=dtype,
        quiet=quiet,
    )
    raise typer.Exit(perform(request, ctx.obj or load_engine))


def perform(request: Request, load: LoadScanner) -> int:
    """Make the page and write it; the exit code."""

    def progress(message: str, fraction: float | None) -> None:
        if not request.quiet:
            tell(f"ace: {message}")

    try:
        if request.output != STDOUT:
            check_folder(Path(request.output))
        page = page_for(request, load, progress)
        _write(request.output, page_of(page))
    except (Cancelled, KeyboardInterrupt):
        tell_error("interrupted; no page was written")
        return INTERRUPTED
    except AceError as error:
        named = f"{printable_path(request.path)}: " if isinstance(error, InputError) else ""
        tell_error(f"{named}{error}")
        return NOT_DONE
    if request.output != STDOUT:
        progress(f"wrote {printable_path(request.output)}: {len(page.findings)} findings", None)
    return 0


def check_folder(output: Path) -> None:
    """Said before minutes of work: what is made can be written into a folder that is there.

    Raises:
        StorageError: there is none.
    """
    if not output.parent.is_dir():
        raise StorageError(f"{printable_path(output)}: can't be written there (no such folder)")


def page_for(request: Request, load: LoadScanner, progress: Progress) -> FilePage:
    """Scan the file, explain its findings.

    Raises:
        InputError: the file can't be read.
        Cancelled: by Ctrl-C.
    """
    name, settings = printable_path(request.path), _settings(request)
    document = CodeDocument(uri=name, text=read_source(Path(request.path), settings.check.max_file_bytes))
    engine = load(settings, progress)
    with interruptible() as cancelled:
        reports = _scanned(engine, document, settings, cancelled)
        findings = sorted(
            (each for report in reports for each in report.findings), key=lambda each: each.span
        )
        chosen = sorted(findings, key=lambda each: -each.score)[: request.explained]
        explanations: dict[TextSpan, Attribution] = {}
        notes = [] if len(chosen) == len(findings) else [_left_out(chosen, findings)]
        for number, finding in enumerate(chosen, start=1):
            progress(f"explaining finding {number} of {len(chosen)}", number / len(chosen))
            asked = ExplainRequest(
                document=document,
                offset=finding.span.start,
                max_false_alarms=settings.check.max_false_alarms,
            )
            try:
                explanations[finding.span] = engine.explain(asked, cancelled, _nothing)
            except InputError as error:
                notes.append(f"Line {document.line_column(finding.span.start)[0]} is not explained: {error}.")
    return FilePage(
        path=name,
        document=document,
        sites=sorted((each for report in reports for each in report.sites), key=lambda each: each.span),
        findings=findings,
        threshold=findings[0].threshold if findings else UNKNOWN_THRESHOLD,
        explanations=explanations,
        engine=engine.info(),
        notes=notes,
    )


def _scanned(
    engine: Scanner, document: CodeDocument, settings: EngineSettings, cancelled: Callable[[], bool]
) -> tuple[ScopeReport, ...]:
    request = ScanRequest(document=document, max_false_alarms=settings.check.max_false_alarms, sites=True)
    return engine.scan(request, cancelled, lambda report: None)


def _left_out(chosen: list[Finding], findings: list[Finding]) -> str:
    return f"The {len(chosen)} most probable of {len(findings)} findings are explained."


def _settings(request: Request) -> EngineSettings:
    """Those that govern the file."""
    overrides = {
        "model": {"name": request.model, "device": request.device, "dtype": request.dtype},
        "check": {"max_false_alarms": request.max_false_alarms},
    }
    return load_settings(Path(request.path), overrides)


def _write(output: str, page: str) -> None:
    if output == STDOUT:
        typer.echo(page, nl=False)
        return
    path = Path(output)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise StorageError(
            f"{printable_path(output)}: the page can't be written there ({error.strerror or error})"
        ) from error


def _nothing(message: str, fraction: float | None) -> None:
    """Hears the progress within one explanation, which is short."""

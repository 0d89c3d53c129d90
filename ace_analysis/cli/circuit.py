"""`ace circuit FILE:LINE:COL`: the few heads and MLPs behind a finding, or behind what the model expects."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ace_analysis.cli.explain import Expectation, Target
from ace_analysis.cli.messages import printable, printable_path, tell, tell_error, tell_note
from ace_analysis.cli.options import AsJson, Device, Dtype, Model, Quiet
from ace_analysis.cli.pasting import advice, command_at
from ace_analysis.cli.report import check_folder
from ace_analysis.cli.scanning import (
    LoadScanner,
    ScanRequest,
    interruptible,
    load_engine,
    results_alone_on_stdout,
)
from ace_analysis.errors import AceError, Cancelled, InputError, StorageError
from ace_analysis.report.circuit import Circuit, circuit_to_json
from ace_analysis.report.circuit_svg import circuit_page, circuit_svg
from ace_analysis.report.run import INTERRUPTED, NOT_DONE
from ace_analysis.settings import EngineSettings, load_settings
from ace_analysis.source.document import CodeDocument
from ace_analysis.source.reading import read_source

if TYPE_CHECKING:
    from rich.table import Table

PICTURES: dict[str, Callable[[Circuit], str]] = {".html": circuit_page, ".svg": circuit_svg}

_PARAGRAPHS = (
    """A circuit is found by Algorithm 1 of CD-T (arXiv:2407.00886): heads and MLPs are scored against what
    is said of the place, the best are taken in, what it does as well without is dropped, and the search goes
    on from the heads that were found.""",
    """[bold]Faithfulness[/bold] is measured by running the model with all others ablated: 1 where the
    circuit alone reaches the whole model's value, 0 where it reaches what no head and no MLP does.""",
    """[bold]--method[/bold]. By the area under the faithfulness of the best nodes alone (CPR), one-pass ranks
    better than hover: 1.03 [0.89, 1.18] against 0.68 [0.49, 0.97] with means in the others' place, on 8
    findings; 0.62 [0.51, 0.75] against 0.19 [-0.03, 0.35] with zeros, on 19.""",
    """[bold]--json[/bold] writes one object: {"version", "target", "unit", "clean", "nothing", "alone",
    "faithfulness", "nodes": [{"name", "kind", "layer", "score", "through", "lost", "text"}], "edges":
    [{"source", "receiver", "score"}], "upstream", "curve": [{"nodes", "value", "faithfulness"}], "ablation",
    "method", "notes", "place"}.""",
    """[bold]Exit code.[/bold] 0: found. 2: it could not be. 130: interrupted.""",
)
EPILOG = "\n\n".join(" ".join(paragraph.split()) for paragraph in _PARAGRAPHS)


class Scoring(StrEnum):
    ONE_PASS = "one-pass"
    HOVER = "hover"
    CDT = "cd-t"


class Instead(StrEnum):
    MEAN = "mean"
    ZERO = "zero"


PlaceArgument = Annotated[
    str | None, typer.Argument(metavar="FILE:LINE:COL", help="Where.", show_default=False)
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Draw it: a page (.html) or the graph alone (.svg)."),
]
Method = Annotated[
    Scoring | None,
    typer.Option(
        help="How heads and MLPs are ranked: all at once with patterns, norms and gates frozen; as hover and"
        " ace explain score them, which ranks worse; or one by one by CD-T, which takes minutes.",
        show_default="the settings', one-pass",
    ),
]
How = Annotated[Instead, typer.Option(help="What stands in the place of what is ablated.")]
Tolerance = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="How far from 1 a faithful circuit's faithfulness may be.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the command line asks for."""

    place: str
    expectation: bool
    method: Scoring | None
    how: Instead
    tolerance: float
    output: Path | None
    model: str | None
    device: str | None
    dtype: str | None
    quiet: bool

    def progress(self, message: str, fraction: float | None) -> None:
        if not self.quiet:
            tell(f"ace: {message}")


def circuit_command(  # noqa: PLR0913 - a command's parameters are its options
    ctx: typer.Context,
    place: PlaceArgument = None,
    output: Output = None,
    as_json: AsJson = False,
    expectation: Expectation = False,
    method: Method = None,
    how: How = Instead.MEAN,
    tolerance: Tolerance = 0.1,
    model: Model = None,
    device: Device = None,
    dtype: Dtype = None,
    quiet: Quiet = False,
) -> None:
    """The heads and MLPs that are enough for a finding, or for what the model expects at a place."""
    if place is None:
        raise typer.BadParameter("expected FILE:LINE:COL, for example app.py:12:8")
    request = Request(
        place=place,
        expectation=expectation,
        method=method,
        how=how,
        tolerance=tolerance,
        output=output,
        model=model,
        device=device,
        dtype=dtype,
        quiet=quiet,
    )
    raise typer.Exit(perform(request, ctx.obj or load_engine, as_json=as_json))


def perform(request: Request, load: LoadScanner, *, as_json: bool) -> int:
    """Find, draw and write it; the exit code."""
    try:
        if request.output is not None and request.output.suffix.lower() not in PICTURES:
            raise InputError(f"--output: expected a name with .html or .svg, got {request.output}")
        if request.output is not None:
            check_folder(request.output)
        circuit = _found(request, load)
        if request.output is not None:
            _draw(circuit, request.output)
    except (Cancelled, KeyboardInterrupt):
        tell_error("interrupted before a circuit was found")
        return INTERRUPTED
    except AceError as reason:
        where = f"{printable(request.place)}: " if isinstance(reason, InputError) else ""
        tell_error(f"{where}{reason}")
        return NOT_DONE
    if as_json:
        typer.echo(json.dumps(circuit_to_json(circuit), indent=2))
    else:
        _show(circuit)
    return 0


def _found(request: Request, load: LoadScanner) -> Circuit:
    target = Target.parse(request.place)
    path = Path(target.path)
    settings = _settings(request, path)
    document = CodeDocument(
        uri=printable_path(target.path), text=read_source(path, settings.check.max_file_bytes)
    )
    offset = target.offset_in(document)
    engine: Any = load(settings, request.progress)
    from ace_analysis.decomposition.circuit import CircuitOptions
    from ace_analysis.decomposition.patching import AblationOptions
    from ace_analysis.engine.circuits import circuit_at

    asked = settings.circuit_discovery
    options = CircuitOptions(
        method=(request.method or (Scoring.ONE_PASS if asked.use_attention_shortcut else Scoring.CDT)).value,
        layers=asked.target_layers,
        tolerance=request.tolerance,
        ablation=AblationOptions(how=request.how.value),
        progress=request.progress,
    )
    shown = ScanRequest(document=document, max_false_alarms=settings.check.max_false_alarms)
    with interruptible() as cancelled, results_alone_on_stdout():
        if not (request.quiet or request.expectation):
            instead = advice(engine, shown, offset, command_at("circuit", request.place), cancelled)
            if instead is not None:
                tell_note(instead)
        return circuit_at(
            engine.engine, document, offset, options, expectation=request.expectation, cancelled=cancelled
        )


def _settings(request: Request, path: Path) -> EngineSettings:
    chosen = {"name": request.model, "device": request.device, "dtype": request.dtype}
    return load_settings(path.absolute(), {"model": chosen})


def _draw(circuit: Circuit, path: Path) -> None:
    try:
        path.write_text(PICTURES[path.suffix.lower()](circuit), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: the picture can't be written ({error})") from error


def _show(circuit: Circuit) -> None:
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    place = f"{circuit.place}: " if circuit.place else ""
    console.print(printable(f"{place}{circuit.target}"), soft_wrap=True)
    size = f"{len(circuit.parts)} of {circuit.upstream} heads and MLPs"
    console.print(
        f"{size} reach {circuit.alone:+.2f} of {circuit.clean:+.2f} {circuit.unit}"
        f" (none: {circuit.nothing:+.2f}; faithfulness {circuit.faithfulness:.2f};"
        f" others replaced by {circuit.ablation})",
        soft_wrap=True,
    )
    console.print(_table(circuit))
    for note in circuit.notes:
        console.print(note, soft_wrap=True)


def _table(circuit: Circuit) -> "Table":
    from rich.table import Table

    table = Table("node", "score", "loss without it", "found through", box=None, pad_edge=False)
    for node in sorted(circuit.nodes, key=lambda node: -abs(node.score)):
        name = node.name if node.kind != "token" else f"{node.name} {printable(repr(node.text))}"
        lost = "" if node.lost is None else f"{node.lost:+.3f}"
        table.add_row(name, f"{node.score:+.3f}", lost, node.through or "the target")
    return table

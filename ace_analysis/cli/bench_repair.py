"""`ace bench repair`: how often a wrong line is set right. It runs the code of the data: see its --help."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ace_analysis.cli.messages import tell_note
from ace_analysis.cli.pulling import PullReporter

SETS = "quixbugs,debugbench,llmbugs,mbpp-mutants"
ARMS = "shipped,unsteered,told,asked"
WIDEST = 120


Data = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the bug data lies, as JSON lines.")]
Sets = Annotated[
    str, typer.Option(help="Which sets, with commas; any .jsonl file of that form is one, by its name.")
]
Arms = Annotated[
    str,
    typer.Option(
        help="What to compare, with commas: shipped (ace fix), unsteered, told (the old line, in a comment),"
        " asked (to mend it)."
    ),
]
Vectors = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="A steering vector: adds arms for it and for a random one."),
]
Strengths = Annotated[str, typer.Option(help="Of the vectors, with commas.")]
Half = Annotated[str, typer.Option(help="report, validation (for choosing strengths and weights) or all.")]
Tasks = Annotated[int, typer.Option(min=1, metavar="N", help="At most so many bugs of each set.")]
Clean = Annotated[
    int, typer.Option(min=0, metavar="N", help="Right programs through the whole pipeline; 0: none.")
]
EndToEnd = Annotated[
    bool, typer.Option("--end-to-end", help="Bugs through the whole pipeline too, the line not told.")
]
Candidates = Annotated[int, typer.Option(min=1, help="How many each arm may offer.")]
Keep = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Keeps what was offered and run.", show_default="in the cache"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON value on stdout, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]


def repair_command(  # noqa: PLR0913 - a command's parameters are its options
    data: Data,
    sets: Sets = SETS,
    arms: Arms = ARMS,
    vector: Vectors = None,
    strengths: Strengths = "0.5,1,2",
    half: Half = "report",
    tasks: Tasks = 40,
    clean: Clean = 0,
    end_to_end: EndToEnd = False,
    candidates: Candidates = 5,
    keep: Keep = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """How often a wrong line is set right, decided by running tests, for each way of making candidates.

    Runs the data's code and what the model writes, limited in time, memory, files and, where it can, network:
    a guard against accidents, not against malice. A stopped run goes on where it was.
    """
    from ace_analysis.cli.repairing import RepairRequestOptions, run_repair

    with_commas = {"sets": _parts(sets), "arms": _parts(arms), "strengths": _numbers(strengths)}
    request = RepairRequestOptions(
        data=data,
        **with_commas,
        vectors=tuple(vector or ()),
        half=None if half == "all" else half,
        tasks=tasks,
        clean=clean,
        end_to_end=end_to_end,
        candidates=candidates,
        keep=keep,
    )
    with PullReporter(quiet=quiet) as progress:
        measured = run_repair(request, progress)
    if as_json:
        typer.echo(json.dumps(measured, indent=2))
    else:
        _tell(measured)


def _tell(measured: Mapping[str, Any]) -> None:
    for note in measured["notes"]:
        tell_note(note)
    for name, arms in measured["sets"].items():
        _print(_arms_table(name, arms))
    for title in ("end_to_end", "corruption"):
        if measured[title]:
            _print(_whole_table(title, measured[title]))


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in _parts(text))
    except ValueError:
        raise typer.BadParameter(
            f"expected numbers with commas, got {text!r}", param_hint="--strengths"
        ) from None


def _arms_table(name: str, arms: Mapping[str, Mapping[str, Any]]) -> Table:
    count = next(iter(arms.values()))["tasks"] if arms else 0
    table = Table(
        title=f"{name}: {count} bugs, the line told", title_justify="left", box=None, pad_edge=False
    )
    for heading in ("arm", "first fix", "any offered", "exact", "gain, first", "gain, any", "s"):
        table.add_column(heading, justify="left" if heading == "arm" else "right", no_wrap=True)
    for arm, told in arms.items():
        shares = [_cell(told[key]) for key in ("first", "any", "exact", "gain_first", "gain_any")]
        table.add_row(arm, *shares, f"{told['median_seconds']:.1f}")
    return table


def _whole_table(title: str, told: Mapping[str, Any]) -> Table:
    table = Table(
        title=title.replace("_", " "), title_justify="left", box=None, pad_edge=False, show_header=False
    )
    for key, value in told.items():
        if isinstance(value, Mapping):
            table.add_row(key.replace("_", " "), _cell(value).replace("\n", "  "))
        elif not isinstance(value, list):
            table.add_row(key.replace("_", " "), f"{value:,}")
    return table


def _cell(interval: Mapping[str, float | None] | None) -> str:
    if interval is None or interval["value"] is None:
        return "-"
    value, low, high = interval["value"], interval["low"], interval["high"]
    return f"{value:.1%}" if low is None or high is None else f"{value:.1%}\n{low:.1%} to {high:.1%}"


def _print(table: Table) -> None:
    console = Console(highlight=False, markup=False)
    console.width = max(console.width, WIDEST)
    console.print(table)
    console.print()

"""`ace bench`: the measurements that the README quotes. What they run is in benching.py, with torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ace_analysis.cli.bench_attribution import attribution_command
from ace_analysis.cli.bench_editing import editing_command
from ace_analysis.cli.bench_precision import precision
from ace_analysis.cli.bench_repair import repair_command
from ace_analysis.cli.messages import printable, tell_note
from ace_analysis.cli.pulling import PullReporter

bench_app = typer.Typer(no_args_is_help=True, help="Measure detection and speed.")
bench_app.command()(precision)
bench_app.command("attribution")(attribution_command)
bench_app.command("repair")(repair_command)
bench_app.command("editing")(editing_command)

AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON value on stdout, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]

WIDEST = 120
COLUMNS = {
    "site_auroc": "site AUROC",
    "pair": "pair",
    "function_auroc": "function",
    "top_1": "top-1",
    "top_3": "top-3",
    "recall_at_1": "recall@1/100",
    "recall_at_5": "recall@5/100",
}
PARTS = {"all": "all types", "classic": "single-token types"}
MEGABYTE = 2**20


@bench_app.command()
def detection(
    harvest: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="A harvest with test/; the dense probe is fitted on its train/ and validation/.",
            show_default="one that is made of installed packages",
        ),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER", help="A bundle, or a model that has one.", show_default="the settings'"
        ),
    ] = None,
    functions: Annotated[int, typer.Option(min=1, help="Installed functions, without --harvest.")] = 100,
    surprisal: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Run the whole model on N functions for surprisal; 0: don't."),
    ] = 25,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """How many planted bugs in held-out projects are found, beside chance, surprisal and a dense probe.

    Intervals are 95 %, over projects. Without --harvest, mutants of installed packages that no training has
    seen are run, beside the bundle's own probe: some minutes, and it goes on where it was stopped.
    """
    from ace_analysis.cli.benching import DetectionRequest, run_detection

    request = DetectionRequest(harvest=harvest, bundle=bundle, functions=functions, surprisal=surprisal)
    with PullReporter(quiet=quiet) as progress:
        measured = run_detection(request, progress)
    if as_json:
        _write(measured)
        return
    for note in measured["notes"]:
        tell_note(note)
    for sample in measured["samples"]:
        _show_sample(sample)


@bench_app.command()
def curve(
    harvest: Annotated[Path, typer.Argument(metavar="HARVEST", help="A folder of `ace train harvest`.")],
    bundle: Annotated[
        str | None,
        typer.Option(metavar="NAME|FOLDER", help="Whose sparse coder to use.", show_default="the settings'"),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """How detection grows with the number of planted bugs that the readout is fitted on."""
    from ace_analysis.cli.benching import run_curve

    with PullReporter(quiet=quiet) as progress:
        measured = run_curve(harvest, bundle, progress)
    if as_json:
        _write(measured)
        return
    table = Table("functions", "bugs", "site AUROC", "top-1", "recall@1/100", box=None, pad_edge=False)
    for point in measured["points"]:
        reached = (point["detection"][name] for name in ("site_auroc", "top_1", "recall_at_1"))
        cells = (f"{each['value']:.3f} [{each['low']:.3f}, {each['high']:.3f}]" for each in reached)
        table.add_row(f"{point['functions']:,}", f"{point['mutants']:,}", *cells)
    _print(table)


@bench_app.command()
def mutants(
    path: Annotated[Path, typer.Argument(help="A file of JSON lines with `fixed` and `tests`, or a .gz.")],
    functions: Annotated[int, typer.Option(min=1, help="How many functions to take.")] = 150,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """The share of planted bugs that a function's own tests don't notice, by type.

    Runs the file's code, each test in a process of its own with limits on time and memory, but with no
    further protection. Name only files that you trust.
    """
    from ace_analysis.evaluation.mutants import SurvivalOptions, measure_survivors

    with PullReporter(quiet=quiet) as progress:
        report = measure_survivors(path, SurvivalOptions(functions=functions), progress)
    rows = {
        kind.value: {"run": run, "survived": report.survived.get(kind, 0), "share": report.share_of(kind)}
        for kind, run in sorted(report.run.items())
    }
    survived = sum(report.survived.values())
    rows["all"] = {"run": sum(report.run.values()), "survived": survived, "share": report.share}
    if as_json:
        _write({"functions": report.functions, "failing": report.failing, "types": rows})
        return
    table = Table("type", "mutants", "survived", "share", box=None, pad_edge=False)
    for kind, row in rows.items():
        table.add_row(kind, f"{row['run']:,}", f"{row['survived']:,}", f"{row['share']:.3f}")
    _print(table)


@bench_app.command()
def speed(
    rounds: Annotated[int, typer.Option(min=1, help="How often to measure; medians are told.")] = 5,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """What a scan costs beside the model alone, and how long an editor waits. Ratios are of one run.

    Close what else computes on this machine: seconds depend on it, ratios less.
    """
    from ace_analysis.cli.benching import run_speed

    with PullReporter(quiet=quiet) as progress:
        measured = run_speed(rounds, progress)
    if as_json:
        _write(measured)
        return
    rows = _speed_rows(measured)
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in {**rows, "model": measured["model"], "device": measured["device"]}.items():
        table.add_row(name, printable(str(value)))
    _print(table)


def _speed_rows(measured: Mapping[str, Any]) -> dict[str, str]:
    scan, editing, hover, start = (measured[name] for name in ("scan", "editing", "hover", "initialize"))
    waits, fix = hover["medians"], measured["fix"]
    resident = editing["worker_resident_bytes"]
    memory = "unknown on this system" if resident is None else f"{resident / MEGABYTE:,.0f} MB"
    return {
        "scan beside the plain forward to the same layer": f"{scan['ratio']:.2f}",
        "  tokens per second, scan and plain": f"{scan['scan']:,.0f} and {scan['plain']:,.0f}",
        "edit of a function of 30 lines to its diagnostics": f"{editing['seconds']:.2f} s",
        f"scopes read of a file of {editing['lines']:,} lines, {editing['scopes']:,} scopes": "",
        "  after an edit in one function": f"{editing['scopes_read_after_edit']}",
        "  unchanged": f"{editing['scopes_read_unchanged']}",
        f"why a finding of a function of {hover['lines']} lines is one": f"{waits['explained']:.2f} s",
        "  hover where it was explained ahead": f"{waits['hover']:.3f} s",
        f"fix of a line of a function of {fix['lines']} lines": f"{fix['medians']['fix']:.1f} s",
        "  a cancel to its answer, and to the engine at rest, at most": f"{fix['worst']['cancel']:.2f} s and"
        f" {fix['worst']['rest']:.2f} s",
        "initialize beside an empty server": f"{start['ratio']:.2f}",
        "worker's resident memory": memory,
    }


def _show_sample(sample: Mapping[str, Any]) -> None:
    """All scorers on all types and on the single-token ones; the sparse features on each type."""
    counts = f"{sample['functions']:,} functions, {sample['lines']:,} lines, {sample['projects']:,} projects"
    for part in sample["parts"]:
        if part["name"] in PARTS:
            title = f"{sample['name']} ({counts}), {PARTS[part['name']]}: {part['mutants']:,} mutants"
            _print(_table(title, "scorer", part["scorers"]))
    types = [part for part in sample["parts"] if part["name"] not in PARTS]
    for scorer in [name for name in types[0]["scorers"] if name == "sparse features"]:
        rows = {f"{part['name']} ({part['mutants']:,})": part["scorers"][scorer] for part in types}
        _print(_table(f"{sample['name']}, {scorer} by type", "type", rows))


def _table(title: str, first: str, rows: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for name, measured in rows.items():
        table.add_row(name, *(_cell(measured[column]) for column in COLUMNS))
    return table


def _cell(interval: Mapping[str, float | None] | None) -> str:
    if interval is None or interval["value"] is None:
        return "-"
    value, low, high = interval["value"], interval["low"], interval["high"]
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f}\n{low:.2f}–{high:.2f}"


def _print(table: Table) -> None:
    console = Console(highlight=False, markup=False)
    console.width = max(console.width, WIDEST)
    console.print(table)
    console.print()


def _write(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))

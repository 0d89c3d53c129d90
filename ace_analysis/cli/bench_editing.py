"""`ace bench editing`: its options. What it runs is in evaluation/editing_concept.py, with torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ace_analysis.cli.pulling import PullReporter

WIDEST = 120
HEADINGS = {
    "probability_fall": "less likely",
    "activation_fall": "latents less active",
    "perplexity_near": "perplexity, near",
    "perplexity_other": "perplexity, other",
}

HarvestFolder = Annotated[
    Path,
    typer.Argument(metavar="HARVEST", help="A folder of `ace train harvest`; its functions are run."),
]
Word = Annotated[list[str], typer.Option("--word", help="A spelling of the concept, one token. Repeatable.")]
Folder = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="A disentangler.", show_default="the last one beside the bundle"),
]
Latents = Annotated[int, typer.Option(min=1, help="Latents at most.")]
Mus = Annotated[str, typer.Option(metavar="N,N", help="mu to try.", show_default="the paper's ten")]
Taus = Annotated[str, typer.Option(metavar="N,N", help="tau to try.", show_default="the paper's ten")]
Texts = Annotated[int, typer.Option(min=2, help="Functions with the concept, and half as many more without.")]
Longest = Annotated[int, typer.Option(min=16, help="Tokens of a function.")]
Keep = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Keeps what was measured.", show_default="in the cache"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON value on stdout, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]


def editing_command(  # noqa: PLR0913 - a command's parameters are its options
    harvest: HarvestFolder,
    word: Word,
    disentangler: Folder = None,
    latents: Latents = 5,
    mu: Mus = "",
    tau: Taus = "",
    texts: Texts = 24,
    longest: Longest = 128,
    keep: Keep = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """What erasing a concept from the weights costs and brings, beside removing a direction and controls.

    mu and tau are searched on the harvest's validation projects; what is told is measured on its test
    projects. Nothing is written to the model. A stopped run goes on where it was.
    """
    from ace_analysis.cli.editing_benching import EditingRequest, run_editing
    from ace_analysis.cli.scanning import interruptible

    request = EditingRequest(
        harvest=harvest,
        words=tuple(word),
        disentangler=disentangler,
        latents=latents,
        mus=_numbers(mu, "--mu"),
        taus=_numbers(tau, "--tau"),
        texts=texts,
        longest=longest,
        keep=keep,
    )
    with PullReporter(quiet=quiet) as progress, interruptible() as cancelled:
        measured = run_editing(request, progress, cancelled)
    if as_json:
        typer.echo(json.dumps(measured, indent=2))
    else:
        _tell(measured)


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise typer.BadParameter(f"expected numbers with commas, got {text!r}", param_hint=option) from None


def _tell(measured: Mapping[str, Any]) -> None:
    texts, concept = measured["texts"], measured["concept"]
    title = (
        f"{concept['concept']}: {len(concept['latents'])} latents, mu {measured['mu']:g}, "
        f"tau {measured['tau']:g}, {measured['rows']} rows; {texts['places']} places in "
        f"{texts['with']} functions, {texts['without']} functions without"
    )
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("edit", no_wrap=True)
    for heading in HEADINGS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for name, arm in measured["arms"].items():
        table.add_row(name, *(_cell(arm[key]) for key in HEADINGS))
    console = Console(highlight=False, markup=False)
    console.width = max(console.width, WIDEST)
    console.print(table)


def _cell(interval: Mapping[str, float | None]) -> str:
    value, low, high = interval["value"], interval["low"], interval["high"]
    if value is None:
        return "-"
    return f"{value:.2%}" if low is None or high is None else f"{value:.2%}\n{low:.2%} to {high:.2%}"

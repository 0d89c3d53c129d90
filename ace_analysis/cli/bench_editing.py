"""`ace bench editing`: its options. What it runs is in evaluation/editing_concept.py and, for error latents,
in evaluation/editing_errors_bench.py, with torch."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ace_analysis.cli.pulling import PullReporter

WIDEST = 200
REPAIRS = 64
HEADINGS = {
    "probability_fall": "less likely",
    "activation_fall": "latents less active",
    "perplexity_near": "perplexity, near",
    "perplexity_other": "perplexity, other",
}

ERROR_HEADINGS = {
    "activation_fall": "latents less active",
    "detection/own/pair": "bug above right",
    "detection/others/pair": "of other types",
    "perplexity": "perplexity",
    "wrong_share/own/change": "wrong token likelier",
    "repair/own/filled": "line mended",
    "repair/others/filled": "of other types",
    "pass_at_1/pass_at_1": "pass@1",
    "pass_at_1/difference": "difference",
}

BEHAVIOUR = {
    "pass_at_1/pass_at_1": "pass@1",
    "pass_at_1/difference": "difference",
    "repair/own/filled": "line mended",
    "repair/own/preferred": "right line likelier",
}

HarvestFolder = Annotated[
    Path,
    typer.Argument(metavar="HARVEST", help="A folder of `ace train harvest`; its functions are run."),
]
Word = Annotated[
    list[str] | None, typer.Option("--word", help="A spelling of the concept, one token. Repeatable.")
]
Errors = Annotated[bool, typer.Option("--errors", help="Erase the bundle's error latents instead of a word.")]
Kind = Annotated[
    list[str] | None,
    typer.Option("--kind", help="With --errors: the latents of this type of bug too. Repeatable."),
]
Problems = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Holds clean_mbpp.jsonl, problems with tests; runs them."),
]
PassAt1 = Annotated[int, typer.Option("--pass-at-1", min=0, help="Problems to solve; 0: none.")]
Pisces = Annotated[
    bool, typer.Option(help="With --errors: PISCES on latents of the disentangler too; takes twice as long.")
]
Repairs = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Planted bugs whose line is filled in anew; 0: none.",
        show_default="64 with --errors, 0 with --word",
    ),
]
Functions = Annotated[
    int, typer.Option(min=1, help="With --errors: functions with mutants to look in, and to measure on.")
]
Folder = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="A disentangler.", show_default="the last one beside the bundle"),
]
Latents = Annotated[int, typer.Option(min=1, help="Latents at most.")]
Mus = Annotated[
    str, typer.Option(metavar="N,N", help="mu to try.", show_default="the paper's ten; milder with --errors")
]
Taus = Annotated[
    str, typer.Option(metavar="N,N", help="tau to try.", show_default="the paper's ten; five with --errors")
]
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
    word: Word = None,
    errors: Errors = False,
    kind: Kind = None,
    problems: Problems = None,
    pass_at_1: PassAt1 = 0,
    functions: Functions = 24,
    repairs: Repairs = None,
    pisces: Pisces = True,
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
    projects. With --errors, what erasing error latents does to detection, repair and what the model writes;
    mu and tau are searched on training projects. Nothing is written to the model. A stopped run goes on.
    """
    if bool(word) == errors:
        raise typer.BadParameter("expected --word or --errors, to say what is to go", param_hint="--word")
    common = {"harvest": harvest, "disentangler": disentangler, "latents": latents, "texts": texts}
    common |= {"mus": _numbers(mu, "--mu"), "taus": _numbers(tau, "--tau"), "longest": longest, "keep": keep}
    common |= {"problems": problems, "count": pass_at_1}
    common |= {"repairs": repairs if repairs is not None else REPAIRS * errors}
    about = {"kinds": tuple(kind or ()), "functions": functions, "pisces": pisces}
    measured = _measured(common | (about if errors else {"words": tuple(word or ())}), errors, quiet)
    if as_json:
        typer.echo(json.dumps(measured, indent=2))
    else:
        (_tell_errors if errors else _tell)(measured)


def _measured(asked: dict[str, Any], errors: bool, quiet: bool) -> dict[str, Any]:
    from ace_analysis.cli import editing_benching as benching
    from ace_analysis.cli.scanning import interruptible

    with PullReporter(quiet=quiet) as progress, interruptible() as cancelled:
        if errors:
            return benching.run_errors(benching.ErrorRequest(**asked), progress, cancelled)
        return benching.run_editing(benching.EditingRequest(**asked), progress, cancelled)


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
    rows = {name: [_cell(arm[key]) for key in HEADINGS] for name, arm in measured["arms"].items()}
    _print(title, list(HEADINGS.values()), rows)
    if behaviour := measured.get("behaviour"):
        rows = {name: [_errors_cell(arm, key) for key in BEHAVIOUR] for name, arm in behaviour.items()}
        _print("what it still does", list(BEHAVIOUR.values()), rows)


def _tell_errors(measured: Mapping[str, Any]) -> None:
    bugs, arms = measured["bugs"], measured["arms"]
    first = next(iter(arms.values()))
    asked = f"; {first['pass_at_1']['problems']} problems" if "pass_at_1" in first else ""
    title = f"{sum(bugs.values())} planted bugs, {measured['loss_tokens']:,} tokens of held-out code{asked}"
    rows = {name: [_errors_cell(arm, key) for key in ERROR_HEADINGS] for name, arm in arms.items()}
    _print(title, list(ERROR_HEADINGS.values()), rows)


def _errors_cell(arm: Mapping[str, Any], key: str) -> str:
    """A number of an arm with its interval; a key names a path through the arm's measures."""
    found: Any = arm
    for name in key.split("/"):
        found = (found or {}).get(name)
    return "-" if found is None else _cell(found)


def _print(title: str, headings: Sequence[str], rows: Mapping[str, Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("edit", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, cells in rows.items():
        table.add_row(name, *cells)
    console = Console(highlight=False, markup=False)
    console.width = max(console.width, WIDEST)
    console.print(table)


def _cell(interval: Mapping[str, float | None]) -> str:
    value, low, high = interval["value"], interval["low"], interval["high"]
    if value is None:
        return "-"
    return f"{value:.2%}" if low is None or high is None else f"{value:.2%}\n{low:.2%} to {high:.2%}"

"""`ace bench attribution`: the command's options. What it runs is in attributing.py, with torch."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ace_analysis.cli.options import Quiet

if TYPE_CHECKING:
    from ace_analysis.evaluation.attribution import AttributionOptions

WIDEST = 150
ONE_BY_ONE = 2

Findings = Annotated[int, typer.Option(min=0, help="Texts whose planted bug is found.")]
Tokens = Annotated[int, typer.Option(min=0, help="Texts whose next token is explained, on the full model.")]
How = Annotated[
    list[str] | None,
    typer.Option(metavar="zero|mean|counterfactual", help="Repeatable.", show_default="all three"),
]
Slow = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        help="What takes long on the first N texts of either kind: CD-T's rule sets, and on two at most exact"
        " ablation by a whole pass for each node.",
    ),
]
Curves = Annotated[
    int, typer.Option(min=0, metavar="N", help="Faithfulness curves of the first N texts of either kind.")
]
MostTokens = Annotated[int, typer.Option(min=16, help="The longest text.")]
Models = Annotated[int, typer.Option(min=0, help="Hand-built models of each task; 0: none.")]
Seed = Annotated[int, typer.Option(help="Of the texts.")]
Folder = Annotated[
    Path | None, typer.Option(help="Where it is kept how far this got.", show_default="in the cache")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON value on stdout, and nothing else.")]


def attribution_command(  # noqa: PLR0913 - a command's parameters are its options
    findings: Findings = 40,
    tokens: Tokens = 40,
    how: How = None,
    slow: Slow = 8,
    curves: Curves = 40,
    most_tokens: MostTokens = 64,
    models: Models = 5,
    seed: Seed = 0,
    folder: Folder = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """How well each attribution method agrees with exact ablation of every head and MLP, and what it costs.

    CD-T with several rule sets, the one-pass, EAP and EAP-IG, on planted bugs that are found and on tokens of
    right code, and on hand-built models whose circuits are known. Intervals are 95 %, over texts. Takes hours
    on a CPU; goes on where it was stopped, and Ctrl-C stops it in order.
    """
    from ace_analysis.cli.attributing import AttributionRequest, run_in_order, tables_of

    request = AttributionRequest(
        findings=findings,
        tokens=tokens,
        most_tokens=most_tokens,
        models=models,
        seed=seed,
        folder=folder,
        measure=_measure(how, slow, curves),
    )
    measured = run_in_order(request, quiet=quiet)
    if as_json:
        typer.echo(json.dumps(measured, indent=2))
        return
    console = Console(highlight=False, markup=False)
    console.width = max(console.width, WIDEST)
    for table in tables_of(measured):
        console.print(table)
        console.print()


def _measure(how: list[str] | None, slow: int, curves: int) -> "AttributionOptions":
    from ace_analysis.evaluation.attribution import AttributionOptions, hows_of

    one_by_one = min(slow, ONE_BY_ONE)
    return AttributionOptions(
        hows=hows_of(how), slow_prompts=slow, one_by_one=one_by_one, curve_prompts=curves
    )

"""`ace bench precision`: its options. What it runs is in precision.py, with torch."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console

from ace_analysis.cli.pulling import PullReporter

WIDEST = 120


Background = Annotated[
    list[str] | None,
    typer.Option(metavar="bf16|fp16|fp8|int8", help="Repeatable.", show_default="all four"),
]
Heads = Annotated[
    int, typer.Option(min=0, metavar="N", help="Heads of each text that are scored in focus; 0: none.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON value on stdout, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]


def precision(  # noqa: PLR0913 - a command's parameters are its options
    findings: Annotated[int, typer.Option(min=1, help="Texts whose planted bug is found.")] = 3,
    background: Background = None,
    heads: Heads = 14,
    edges: Annotated[bool, typer.Option(help="Compare EAP's scores of edges, too.")] = True,
    most_tokens: Annotated[int, typer.Option(min=16, help="The longest text.")] = 48,
    seed: Annotated[int, typer.Option(help="Of the texts.")] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """What rounding the weights does to the scores of heads, MLPs and edges, and what memory it saves.

    Planted bugs that are found are explained in fp32, and again with the weights in each background: by exact
    ablation, by the one-pass and by EAP. Some heads are ablated each in focus: in fp32, on the rounded rest
    (PAHQ). Time is the process' own.
    """
    from ace_analysis.cli.precision import PrecisionRequest, run_precision, tables_of
    from ace_analysis.cli.scanning import interruptible
    from ace_analysis.evaluation.precision import PrecisionOptions

    chosen: dict[str, Any] = {"backgrounds": tuple(background)} if background else {}
    request = PrecisionRequest(
        findings=findings,
        most_tokens=most_tokens,
        seed=seed,
        measure=PrecisionOptions(heads=heads, edges=edges, **chosen),
    )
    with PullReporter(quiet=quiet) as progress, interruptible() as cancelled:
        measured = run_precision(request, progress, cancelled)
    if as_json:
        typer.echo(json.dumps(measured, indent=2))
        return
    console = Console(highlight=False, markup=False)
    console.width = max(console.width, WIDEST)
    for table in tables_of(measured):
        console.print(table)
        console.print()

"""`ace train disentangler`: the command's options; what it does is in evaluation/disentangler.py."""

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ace_analysis.cli.messages import printable_path, tell
from ace_analysis.cli.options import Device, Dtype, Quiet
from ace_analysis.cli.pulling import PullReporter
from ace_analysis.cli.scanning import interruptible, results_alone_on_stdout
from ace_analysis.errors import Cancelled

INTERRUPTED = 130

HarvestFolder = Annotated[
    Path, typer.Argument(metavar="HARVEST", help="A folder of `ace train harvest`.", show_default=False)
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        metavar="FOLDER",
        help="Where it goes; `ace edit` finds it in BUNDLE/disentanglers/layer-N.",
        show_default=False,
    ),
]
Layer = Annotated[
    int, typer.Option(min=0, help="The block whose MLP is read; 0 is the first.", show_default=False)
]
Width = Annotated[int, typer.Option(min=1, help="Latents.")]
Fires = Annotated[float, typer.Option("--k", min=1, help="Latents that fire on a token, on average.")]
Distinct = Annotated[int, typer.Option(min=1024, help="Tokens to run through the model, each once.")]
Tokens = Annotated[int, typer.Option(min=1024, help="Tokens to train on; more than are run: several passes.")]
Loss = Annotated[int, typer.Option(min=0, help="Held-out functions to measure the loss on; 0: none.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write the card as JSON on stdout.")]


def disentangler_command(  # noqa: PLR0913 - a command's parameters are its options
    harvest: HarvestFolder,
    out: Out,
    layer: Layer,
    width: Width = 2048,
    k: Fires = 32.0,
    distinct: Distinct = 250_000,
    tokens: Tokens = 1_000_000,
    loss_functions: Loss = 20,
    device: Device = None,
    dtype: Dtype = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a sparse coder of what one block's MLP writes, to erase concepts with.

    It learns on the harvest's training projects and is measured on its test projects. A run that was stopped
    goes on with the same command.
    """
    from ace_analysis.evaluation.coders import work_folder
    from ace_analysis.evaluation.disentangler import DisentanglerOptions, Telling, make_disentangler
    from ace_analysis.features.training import TrainingOptions

    options = DisentanglerOptions(
        layer=layer,
        distinct=distinct,
        training=TrainingOptions(d_sae=width, k=k, tokens=tokens, learning_rate=1e-3, mixed_shards=40),
        loss_functions=loss_functions,
        device=device or "auto",
        dtype=dtype or "auto",
    )
    try:
        with results_alone_on_stdout(), interruptible() as asked, PullReporter(quiet=quiet) as progress:
            made = make_disentangler(harvest, work_folder(out), options, Telling(progress, asked))
            made.save(out)
    except Cancelled as stopped:
        tell(f"ace: {stopped}")
        tell(f"ace: to go on, run the same command again: {shlex.join(['ace', *sys.argv[1:]])}")
        raise typer.Exit(INTERRUPTED) from stopped
    _tell({**made.card, "layer": layer}, out, as_json)


def _tell(card: Mapping[str, Any], out: Path, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"folder": str(out), **card}, indent=2))
        return
    tell(
        f"ace: the disentangler of layer {card['layer']} is in {printable_path(out)}: explained variance "
        f"{card['explained_variance']:.3f}, L0 {card['l0']:.1f}, {card['dead_latents']:,} of "
        f"{card['latents']:,} latents dead on held-out projects"
    )

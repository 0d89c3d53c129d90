"""`ace train steering`: the command's options; what it does is in evaluation/steering_vectors.py."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ace_analysis.cli.messages import tell, tell_error
from ace_analysis.cli.options import Device, Dtype, Quiet
from ace_analysis.cli.pulling import PullReporter
from ace_analysis.cli.scanning import interruptible, results_alone_on_stdout
from ace_analysis.errors import Cancelled
from ace_analysis.settings import load_settings

if TYPE_CHECKING:
    from ace_analysis.evaluation.steering_vectors import SteeringRequest

INTERRUPTED = 130

Corpora = Annotated[
    list[str],
    typer.Argument(
        metavar="CORPUS...",
        help="As for `ace train bundle`: a folder, a .jsonl file, or the word `installed`.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the vectors go.")]
Layers = Annotated[
    list[int] | None,
    typer.Option(
        "--layer",
        min=0,
        help="The block behind which to steer. Repeatable.",
        show_default="the bundle's layer",
    ),
]
Functions = Annotated[int, typer.Option(min=1, help="Functions that bugs are planted in.")]
PerProject = Annotated[int, typer.Option(min=1, help="Functions of one project at most.")]
Projects = Annotated[
    bool, typer.Option("--projects", help="Each sub-folder of a CORPUS folder is a project of its own.")
]
Mutants = Annotated[int, typer.Option(min=1, help="Planted bugs per function at most.")]
Latents = Annotated[int, typer.Option(min=1, help="Latents of the sparse vector.")]
Cases = Annotated[int, typer.Option(min=1, help="Bugs that latents are chosen on, and as many to tell on.")]
Behind = Annotated[
    int, typer.Option(min=0, help="Tokens behind the place at which the stream is read; 0: at the place.")
]
Model = Annotated[str | None, typer.Option(help="A model of `ace model list`, a hub name or a folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write the result as JSON on stdout.")]


def steering_command(  # noqa: PLR0913 - a command's parameters are its options
    corpora: Corpora,
    out: Out,
    layer: Layers = None,
    functions: Functions = 300,
    per_project: PerProject = 20,
    projects: Projects = False,
    mutants: Mutants = 4,
    latents: Latents = 8,
    cases: Cases = 40,
    behind: Behind = 1,
    model: Model = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make steering vectors from planted bugs and from error features, with their controls."""
    from ace_analysis.evaluation.corpora import CorpusRequest
    from ace_analysis.evaluation.steering_vectors import SteeringRequest
    from ace_analysis.steering.training import PairOptions

    corpus = CorpusRequest(
        names=tuple(corpora), projects=projects, per_project=per_project, functions=functions
    )
    request = SteeringRequest(
        corpus=corpus,
        layers=tuple(layer or ()),
        mutants=mutants,
        latents=latents,
        cases=cases,
        pairs=PairOptions(behind=behind),
    )
    overrides = {"model": {"name": model, "device": device, "dtype": dtype}}
    settings = load_settings(Path.cwd(), overrides).model
    raise typer.Exit(_perform(request, (settings.name, settings.device, settings.dtype), out, as_json, quiet))


def _perform(
    request: "SteeringRequest", loaded: tuple[str, str, str], out: Path, as_json: bool, quiet: bool
) -> int:
    from ace_analysis.evaluation.steering_vectors import make_vectors
    from ace_analysis.model.causal import load_causal

    try:
        with PullReporter(quiet=quiet) as reporter, interruptible() as asked, results_alone_on_stdout():
            causal = load_causal(*loaded)
            made = make_vectors(causal, request, out, reporter, asked)
    except Cancelled:
        tell_error("interrupted; vectors that were written stay")
        return INTERRUPTED
    if as_json:
        typer.echo(json.dumps(made, indent=2))
    else:
        tell(f"ace: {len(made['vectors'])} vectors of {made['pairs']} pairs in {out}")
    return 0

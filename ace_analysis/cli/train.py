"""`ace train`: harvests, sparse coders and bundles; its options here, the work in training.py."""

from pathlib import Path
from typing import Annotated

import typer

from ace_analysis.cli.disentangling import disentangler_command
from ace_analysis.cli.options import Device, Dtype
from ace_analysis.cli.steering import steering_command
from ace_analysis.settings import load_settings

train_app = typer.Typer(
    no_args_is_help=True,
    help="""Train sparse coders, make bundles for other models.

    `ace train bundle --model NAME CORPUS` does everything: it plants bugs in the corpus, runs the model over
    right and wrong code, trains a sparse coder on the activations, finds the latents that tell the two apart,
    and writes a bundle that `ace check --model NAME` then uses. `harvest` and `sae` are its first two steps;
    `merge` puts harvests together. Everything goes on where it was stopped, with the same command.""",
)

CORPUS_HELP = (
    "A folder of Python, a .jsonl file with `code` and `project`, or the word `installed`: the standard"
    " library and the installed packages under a permissive licence."
)
Corpora = Annotated[list[str], typer.Argument(metavar="CORPUS...", help=CORPUS_HELP, show_default=False)]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the results go.")]
Model = Annotated[
    str | None,
    typer.Option(
        help="A name of `ace model list`, a hub name, a folder or a GGUF file.",
        show_default="the model of the settings",
    ),
]
Layer = Annotated[
    int | None,
    typer.Option(
        help="The block whose output is read; 0 is the first.",
        show_default="at 0.4 of the model's depth",
        min=0,
    ),
]
Projects = Annotated[
    bool, typer.Option("--projects", help="Each sub-folder of a CORPUS folder is a project of its own.")
]
PerProject = Annotated[int, typer.Option(min=1, help="Functions of one project at most.")]
Functions = Annotated[
    int,
    typer.Option(min=1, help="Functions for training at most; a tenth of them for validation and for test."),
]
Mutants = Annotated[int, typer.Option(min=1, help="Planted bugs per training function at most.")]
Width = Annotated[int, typer.Option(min=1, help="Latents of the sparse coder.")]
Fires = Annotated[float, typer.Option("--k", min=1, help="Latents that fire on a token, on average.")]
Tokens = Annotated[
    int | None,
    typer.Option(
        min=1024, help="Tokens to train on.", show_default="each harvested one once, at least 3 million"
    ),
]
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="HARVEST|CORPUS...",
        help=f"A folder of `ace train harvest`, or corpora. {CORPUS_HELP}",
        show_default=False,
    ),
]
BundleOut = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FOLDER",
        help="Where the bundle goes.",
        show_default="ACE's cache, where a scan finds it",
    ),
]
Trained = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="One of `ace train sae`, instead of a new one.", show_default=False),
]
About = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="JSON {project: [version, licence]}, for the card.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON value on stdout, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]


@train_app.command("harvest")
def harvest_command(  # noqa: PLR0913 - a command's parameters are its options
    corpus: Corpora,
    out: Out,
    model: Model = None,
    layer: Layer = None,
    projects: Projects = False,
    per_project: PerProject = 60,
    functions: Functions = 10_000,
    mutants: Mutants = 10,
    device: Device = None,
    dtype: Dtype = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run a model over functions with planted bugs, and keep its activations.

    Projects are split into training, validation and test: about 70, 10 and 20 of 100.
    """
    from ace_analysis.cli.training import HarvestChoice, Outlet, run_harvest

    choice = HarvestChoice(
        model=_model(model),
        layer=layer,
        names=tuple(corpus),
        projects=projects,
        per_project=per_project,
        functions=functions,
        mutants=mutants,
        device=device or "auto",
        dtype=dtype or "auto",
    )
    run_harvest(choice, out, Outlet(as_json, quiet))


@train_app.command("merge")
def merge_command(
    harvest: Annotated[
        list[Path], typer.Argument(metavar="HARVEST...", help="Folders of `ace train harvest`.")
    ],
    out: Out,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Put harvests of one model together, without relatives on two sides and without copies.

    Shards are linked where the disk can do that, so this takes little time and space.
    """
    from ace_analysis.cli.training import Outlet, run_merge

    run_merge(harvest, out, Outlet(as_json, quiet))


@train_app.command("sae")
def sae_command(  # noqa: PLR0913 - a command's parameters are its options
    harvest: Annotated[Path, typer.Argument(metavar="HARVEST", help="A folder of `ace train harvest`.")],
    out: Out,
    width: Width = 4096,
    k: Fires = 48.0,
    tokens: Tokens = None,
    device: Device = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a sparse coder (BatchTopK) on a harvest's training projects.

    Its quality is measured on the validation and test projects. `ace_analysis.SAEDetector` loads the result.
    """
    from ace_analysis.cli.training import CoderChoice, Outlet, run_sae

    choice = CoderChoice(width=width, k=k, tokens=tokens, device=device or "auto")
    run_sae(harvest, out, choice, Outlet(as_json, quiet))


@train_app.command("bundle")
def bundle_command(  # noqa: PLR0913 - a command's parameters are its options
    source: Sources,
    model: Model = None,
    out: BundleOut = None,
    layer: Layer = None,
    projects: Projects = False,
    per_project: PerProject = 60,
    functions: Functions = 10_000,
    mutants: Mutants = 10,
    coder: Trained = None,
    width: Width = 4096,
    k: Fires = 48.0,
    tokens: Tokens = None,
    about: About = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make all that `ace check` needs for a model: sparse coder, error features, thresholds, and a card."""
    from ace_analysis.cli.training import BundleChoice, CoderChoice, HarvestChoice, Outlet, run_bundle

    harvest = HarvestChoice(
        model=_model(model),
        layer=layer,
        names=tuple(source),
        projects=projects,
        per_project=per_project,
        functions=functions,
        mutants=mutants,
        device=device or "auto",
        dtype=dtype or "auto",
    )
    training = CoderChoice(width=width, k=k, tokens=tokens)
    choice = BundleChoice(harvest=harvest, coder=training, about=about, trained=coder)
    run_bundle(choice, out, Outlet(as_json, quiet))


def _model(name: str | None) -> str:
    return name or load_settings(Path.cwd()).model.name


train_app.command("steering")(steering_command)
train_app.command("disentangler")(disentangler_command)

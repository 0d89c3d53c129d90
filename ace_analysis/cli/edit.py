"""`ace edit`: changes of the model itself, planned, written down, checked and taken back.

The weights that were downloaded are never touched: an edit is a new name, which every --model takes.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ace_analysis.cli.messages import printable, tell, tell_error
from ace_analysis.cli.options import Device, Dtype, Quiet
from ace_analysis.cli.pulling import PullReporter
from ace_analysis.cli.scanning import interruptible, results_alone_on_stdout
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.settings import load_settings

if TYPE_CHECKING:
    from ace_analysis.editing.receipt import EditReceipt

INTERRUPTED = 130
edit_app = typer.Typer(no_args_is_help=True, help="Change the model itself, measured and undoable.")

Words = Annotated[
    list[str] | None, typer.Option("--word", help="Erase what writes this word (one token). Repeatable.")
]
Texts = Annotated[
    list[Path] | None,
    typer.Option(
        "--text", help="Python file that has it, to read neurons' signs off; needed with --word. Repeatable."
    ),
]
Latents = Annotated[
    list[int] | None,
    typer.Option("--latent", min=0, help="Erase this latent of the disentangler. Repeatable."),
]
Kind = Annotated[str | None, typer.Option(help="Erase what is nearest to the error features of this kind.")]
Direction = Annotated[
    str | None,
    typer.Option(
        help="Remove a direction: latent:N of the bundle's coder, or a .safetensors with one vector."
    ),
]
Layer = Annotated[
    int | None, typer.Option(min=0, help="The block. Default: the disentangler's or the bundle's.")
]
Component = Annotated[str, typer.Option(help="With --direction: mlp_out, attn_out or resid_writers.")]
Embedding = Annotated[
    bool, typer.Option("--embedding", help="With --component resid_writers: the embedding, too.")
]
Search = Annotated[
    bool,
    typer.Option(
        "--search", help="With --word: find --mu and --tau on the text. Takes minutes; goes on if stopped."
    ),
]
Limit = Annotated[int, typer.Option(min=1, help="Latents at most, with --word and --kind.")]
Strength = Annotated[float, typer.Option(help="With --direction: 1 removes it, 2 turns it round.")]
Mu = Annotated[
    float, typer.Option(min=0, help="How far latents are turned, in the strongest row's activations.")
]
Tau = Annotated[
    float, typer.Option(min=0, help="Rows above this share of the strongest are changed; below 1.")
]
Reason = Annotated[str, typer.Option(help="Why, for the receipt.")]
NewName = Annotated[
    str | None,
    typer.Option("--name", help="Of the edited model; that of --model adds to it.", show_default="made up"),
]
Measure = Annotated[
    bool, typer.Option("--measure/--no-measure", help="Measure before and after, some seconds.")
]
Model = Annotated[str | None, typer.Option(help="What to edit; an edited model is edited further.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON value on stdout, and nothing else.")]
Name = Annotated[str, typer.Argument(help="An edited model; see `ace edit list`.")]


def _command(*, write: bool) -> Callable[..., None]:
    """Planning and applying take the same options; `write` is what tells them apart."""

    def command(  # noqa: PLR0913 - a command's parameters are its options
        word: Words = None,
        text: Texts = None,
        latent: Latents = None,
        kind: Kind = None,
        direction: Direction = None,
        layer: Layer = None,
        component: Component = "mlp_out",
        strength: Strength = 1.0,
        embedding: Embedding = False,
        search: Search = False,
        limit: Limit = 5,
        mu: Mu = 4.0,
        tau: Tau = 0.5,
        reason: Reason = "",
        name: NewName = None,
        measure: Measure = True,
        model: Model = None,
        device: Device = None,
        dtype: Dtype = None,
        as_json: AsJson = False,
        quiet: Quiet = False,
    ) -> None:
        asked = {"words": word, "latents": latent, "kind": kind, "direction": direction, "layer": layer}
        asked |= {"component": component, "strength": strength, "mu": mu, "tau": tau, "reason": reason}
        asked |= {"name": name, "measure": measure, "texts": _texts(text)}
        asked |= {"embedding": embedding, "search": search, "limit": limit}
        overrides = {"model": {"name": model, "device": device, "dtype": dtype}}
        raise typer.Exit(_edit(asked, overrides, write=write, as_json=as_json, quiet=quiet))

    return command


edit_app.command("plan", help="What an edit would change, and what it would do; nothing is written.")(
    _command(write=False)
)
edit_app.command(
    "apply", help="Write an edit under a new name; the weights that it was made from stay as they are."
)(_command(write=True))


@edit_app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """Edited models on this machine."""
    from ace_analysis.editing.ledger import EditLedger

    entries = EditLedger().entries()
    if as_json:
        _write([{**asdict(entry), "fingerprint": entry.fingerprint} for entry in entries])
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "edits", "undone", "base"):
        table.add_column(column)
    for entry in entries:
        cells = (entry.name, str(len(entry.edits)), str(len(entry.undone)), entry.base)
        table.add_row(*(printable(cell) for cell in cells))
    Console(highlight=False, markup=False).print(table)


@edit_app.command("show")
def show_command(name: Name, as_json: AsJson = False) -> None:
    """The receipts of an edited model, in order."""
    from ace_analysis.editing.ledger import EditLedger

    entry = EditLedger().show(name)
    if as_json:
        _write({**asdict(entry), "fingerprint": entry.fingerprint})
        return
    typer.echo(
        f"{printable(name)}: {printable(entry.base)} with {_count(len(entry.edits))}, its base's bundle"
    )
    for receipt in (*entry.edits, *entry.undone):
        typer.echo(_told(receipt))


@edit_app.command("verify")
def verify_command(name: Name, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Read weights, changes and receipts again. Exit code 1: something is not as it was written."""
    from ace_analysis.editing.verifying import verify

    with PullReporter(quiet=quiet) as reporter:
        verified = verify(name, reporter)
    if as_json:
        _write({**asdict(verified), "holds": verified.holds})
    else:
        for problem in verified.problems:
            tell_error(problem)
        if verified.holds:
            tell(f"ace: {name} is as it was written: {_count(verified.edits)}, {verified.fingerprint[-12:]}")
    raise typer.Exit(0 if verified.holds else 1)


@edit_app.command("undo")
def undo_command(
    name: Name,
    edit: Annotated[
        str | None, typer.Option("--edit", help="The id of `ace edit show`.", show_default="the last")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take an edit back, to the bit. Of edits of the same rows, the later first."""
    from ace_analysis.editing.ledger import EditLedger
    from ace_analysis.editing.receipt import receipt_to_json

    receipt = EditLedger().undo(name, edit)
    if as_json:
        _write(receipt_to_json(receipt))
    else:
        tell(f"ace: edit {receipt.id} of {name} is undone")


@edit_app.command("export")
def export_command(
    name: Name,
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="New or empty.")],
    dtype: Annotated[
        str, typer.Option(help="float32 has exactly the logits; narrower ones round.")
    ] = "float32",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the whole model as a Hugging Face folder, the edits in its weights."""
    from ace_analysis.editing.export import export

    try:
        with PullReporter(quiet=quiet) as reporter, interruptible() as asked, results_alone_on_stdout():
            folder = export(name, out, dtype, reporter, asked)
    except Cancelled:
        tell_error("interrupted; nothing was written")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        _write({"name": name, "folder": str(folder), "dtype": dtype})
    else:
        tell(f"ace: {name} is in {folder}")


def _texts(files: list[Path] | None) -> list[str] | None:
    from ace_analysis.source.reading import decode_source

    try:
        return None if not files else [decode_source(file.read_bytes()) for file in files]
    except OSError as error:
        raise InputError(f"--text: can't read {error.filename}: {error.strerror}") from error


def _edit(
    asked: dict[str, Any], overrides: dict[str, Any], *, write: bool, as_json: bool, quiet: bool
) -> int:
    from ace_analysis.editing.ledger import EditLedger
    from ace_analysis.editing.preparing import prepare
    from ace_analysis.editing.receipt import receipt_to_json
    from ace_analysis.editing.requesting import request_from
    from ace_analysis.evaluation.editing_search import search_setting
    from ace_analysis.model.causal import load_causal

    request = request_from(asked)
    settings = load_settings(Path.cwd(), overrides).model
    try:
        with PullReporter(quiet=quiet) as reporter, interruptible() as stop, results_alone_on_stdout():
            reporter(f"loading {settings.name}", None)
            causal = load_causal(settings.name, settings.device, settings.dtype)
            edit, plan = prepare(causal, request, reporter, stop, search_setting)
            ledger = EditLedger()
            receipt = ledger.apply(edit, reporter, stop) if write else ledger.plan(edit)
    except Cancelled:
        tell_error("interrupted; nothing was written")
        return INTERRUPTED
    if as_json:
        _write({**receipt_to_json(receipt), "applied": write})
        return 0
    for line in (*plan.describe().split("\n"), *receipt.effects):
        typer.echo(printable(line))
    if write:
        tell(
            f"ace: {receipt.name} is there, for every --model; it is taken back with:"
            f" ace edit undo {receipt.name}"
        )
    else:
        tell(f"ace: nothing was written; `ace edit apply` would call it {receipt.name}")
    return 0


def _told(receipt: "EditReceipt") -> str:
    state = f"undone {receipt.undone}" if receipt.undone else receipt.time
    reason = f": {receipt.reason}" if receipt.reason else ""
    lines = [f"{receipt.id}  {state}{reason}"]
    lines += [f"  {each}, rank {receipt.rank}" for each in receipt.changed]
    lines += [f"  {name} {value}" for name, value in receipt.parameters.items()]
    return "\n".join(printable(line) for line in (*lines, *receipt.effects))


def _count(edits: int) -> str:
    return f"{edits} edit{'s' * (edits != 1)}"


def _write(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))

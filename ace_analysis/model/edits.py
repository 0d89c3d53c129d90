"""Edited models, as loaders see them: a name that means other weights and small changes on top of them.

    edits/<name>/model.json               the base, the edits in order, what was undone (see editing.ledger)
    edits/<name>/<sha256>.safetensors     the changes of one edit, as thin matrices

The weights of the base stay as they are; changes are added after each loading, in fp64 and rounded once, in
the order in which the edits were made. So an edited model costs kilobytes, and to undo is to leave out.

Its fingerprint is `<base's>+<sha256 of the base's and of the edits' checksums, a line each, in order>`: what
stands in front of the plus is the model whose bundle it inherits.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ace_analysis.errors import ChecksumError, ModelError, ModelNotFound
from ace_analysis.model.disk import Progress, silent
from ace_analysis.model.fingerprints import kept_sha256_of
from ace_analysis.model.scan import blocks_of
from ace_analysis.settings import cache_dir

EDITS = "edits"
DESCRIPTION = "model.json"
METADATA = "ace"
FORMAT = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")

_PLUS = "+"
_CHUNK = 8192
"""Rows that are changed at once: an embedding has many, and fp64 takes room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditedModel:
    """What a name of the ledger means; `deltas` are the checksums of its edits, in order."""

    name: str
    base: str
    """What the base is resolved by: a known name, a hub name or a folder."""
    base_fingerprint: str
    deltas: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        return edited_fingerprint(self.base_fingerprint, self.deltas)

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(edits_dir() / self.name / f"{sha256}.safetensors" for sha256 in self.deltas)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StoredDelta:
    """`W[rows] += left @ right` with `W` [in, out], Hugging Face's weight transposed; see editing.deltas."""

    layer: int
    module: str
    rows: tuple[int, ...] | None
    left: Float[Tensor, "row rank"]
    right: Float[Tensor, "rank out"]


def edits_dir() -> Path:
    return cache_dir() / EDITS


def edited_fingerprint(base: str, deltas: Sequence[str]) -> str:
    """The fingerprint of a base with edits of these checksums; without any, the base's own."""
    if not deltas:
        return base
    digest = hashlib.sha256("\n".join((base, *deltas)).encode()).hexdigest()
    return f"{base}{_PLUS}{digest}"


def base_of(fingerprint: str) -> str:
    """The fingerprint of the model that one was edited from; of another model, its own."""
    return fingerprint.partition(_PLUS)[0]


def read_description(name: str) -> dict[str, Any] | None:
    """`model.json` of a name, or None where the ledger has no such name.

    Raises:
        ModelError: a file that can't be read.
    """
    if not NAME.fullmatch(name):
        return None
    path = edits_dir() / name / DESCRIPTION
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: expected JSON ({error}); the edits themselves lie beside it") from error
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise ModelError(f"{path}: expected format {FORMAT}, got {str(described)[:40]!r}; update ace-lsp")
    return described


def edited_model(name: str) -> EditedModel | None:
    """The edited model of a name, or None where there is none.

    Raises:
        ModelNotFound: all its edits were undone.
        ModelError: its description is damaged.
    """
    described = read_description(name)
    if described is None:
        return None
    try:
        base, fingerprint = str(described["base"]), str(described["base_fingerprint"])
        deltas = tuple(str(each["sha256"]) for each in described["edits"])
    except (KeyError, TypeError) as error:
        where = edits_dir() / name / DESCRIPTION
        raise ModelError(f"{where}: damaged ({error!r}); the edits themselves lie beside it") from error
    if not deltas:
        raise ModelNotFound(f"expected an edit of {name}, but all were undone; use its base: {base}")
    return EditedModel(name=name, base=base, base_fingerprint=fingerprint, deltas=deltas)


def edited_names() -> tuple[str, ...]:
    """Names in the ledger, those without an edit left too."""
    return tuple(sorted(path.parent.name for path in edits_dir().glob(f"*/{DESCRIPTION}")))


def check_files(edited: EditedModel, progress: Progress = silent) -> None:
    """Refuse changes that are gone, or whose bytes are not those that were written."""
    for path, sha256 in zip(edited.files, edited.deltas, strict=True):
        try:
            found = kept_sha256_of(path, progress)
        except OSError as error:
            raise ModelError(
                f"expected the edit {sha256[:12]} of {edited.name} in {path}, got {error.strerror};"
                f" undo it: ace edit undo {edited.name}"
            ) from error
        if found != sha256:
            raise ChecksumError(
                f"{path}: expected the bytes of the edit {sha256[:12]}, got {found[:12]}; nothing of it was"
                f" used. Undo it: ace edit undo {edited.name} --edit {sha256[:12]}"
            )


def read_deltas(path: Path) -> tuple[StoredDelta, ...]:
    """The changes in a file, in order."""
    try:
        with safe_open(path, framework="pt") as opened:
            kept = json.loads((opened.metadata() or {})[METADATA])["deltas"]
            return tuple(_delta(opened, at, about) for at, about in enumerate(kept))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: the edit is damaged ({error!r}); undo it") from error


def _delta(opened: Any, at: int, about: dict[str, Any]) -> StoredDelta:
    rows = None if about["all_rows"] else tuple(opened.get_tensor(f"{at}.rows").tolist())
    left, right = opened.get_tensor(f"{at}.left"), opened.get_tensor(f"{at}.right")
    return StoredDelta(layer=int(about["layer"]), module=about["module"], rows=rows, left=left, right=right)


def changes_embedding(edited: EditedModel | None) -> bool:
    """Whether the embedding is among what an edited model changes."""
    return any(each.module == "embedding" for each in _all_deltas(edited))


@torch.no_grad()
def put_on(edited: EditedModel | None, model: Any, first: int = 0) -> None:
    """Change a model that was just loaded, as Hugging Face's classes hold it; None changes nothing.

    Changes of blocks that are not loaded are left out, and those of blocks below `first`: they have them.
    """
    for delta in _all_deltas(edited):
        matrix = None if 0 <= delta.layer < first else _matrix(model, delta)
        if matrix is None:
            continue
        add_rows(matrix, delta.rows, delta.left, delta.right)


def rows_of(matrix: Tensor, rows: Sequence[int] | None) -> Int[Tensor, " row"]:
    """Rows of a matrix as an index; None: all of them, in order."""
    chosen = range(len(matrix)) if rows is None else rows
    return torch.tensor(list(chosen), dtype=torch.long, device=matrix.device)


@torch.no_grad()
def add_rows(
    matrix: Float[Tensor, "all out"],
    rows: Sequence[int] | None,
    left: Float[Tensor, "row rank"],
    right: Float[Tensor, "rank out"],
) -> None:
    """`matrix[rows] += left @ right` in place; the sum is made in fp64 and rounded once."""
    right = right.double().to(matrix.device)
    for at, part in zip(rows_of(matrix, rows).split(_CHUNK), left.split(_CHUNK), strict=True):
        change = part.double().to(matrix.device) @ right
        matrix[at] = (matrix[at].double() + change).to(matrix.dtype)


def _all_deltas(edited: EditedModel | None) -> Iterator[StoredDelta]:
    for path in edited.files if edited is not None else ():
        yield from read_deltas(path)


def _matrix(model: Any, delta: StoredDelta) -> Float[Tensor, "row out"] | None:
    """What a delta changes, [in, out], as a view; None in a block that is not loaded."""
    if delta.module == "embedding":
        return model.get_input_embeddings().weight
    blocks = blocks_of(model)
    if delta.layer >= len(blocks):
        return None
    part = "mlp" if delta.module.startswith("mlp") else "self_attn"
    names = ("down_proj", "c_proj") if part == "mlp" else ("o_proj",)
    holder = getattr(blocks[delta.layer], part, None)
    for name in names:
        if isinstance(linear := getattr(holder, name, None), nn.Linear):
            return linear.bias[None] if delta.module.endswith(".bias") else linear.weight.T
    raise ModelError(f"expected {delta.module} in block {delta.layer} of {type(model).__name__}, found none")

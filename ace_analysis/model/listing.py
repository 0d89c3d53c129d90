"""What there is to be had, what is here, and how much room it takes."""

import json
from dataclasses import dataclass
from pathlib import Path

from ace_analysis.errors import InputError, ModelError, ModelNotFound
from ace_analysis.model.aliases import ALIASES, unaliased
from ace_analysis.model.catalogue import KNOWN, KnownModel
from ace_analysis.model.conversions import (
    Conversion,
    conversions,
    downloads_dir,
    folder_of,
    models_dir,
    remove_conversion,
)
from ace_analysis.model.disk import Progress, remove, silent, size_of
from ace_analysis.model.edits import EDITS, edited_model, edited_names, edits_dir
from ace_analysis.model.hub import cached_model
from ace_analysis.model.store import OWNERS_LICENCE, resolve_model
from ace_analysis.settings import cache_dir


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """A model that is here, or that `ace model pull` gets; `bytes` are those on disk, or of the download."""

    name: str
    about: str
    installed: bool
    bytes: int
    licence: str
    fingerprint: str | None = None
    folder: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDetails:
    """What `ace model info` tells of a model that is here."""

    name: str
    folder: str
    fingerprint: str
    source: str
    licence: str
    bytes: int
    architecture: str | None
    n_layers: int | None
    d_model: int | None


def list_models() -> tuple[ListedModel, ...]:
    """The catalogue, then what was converted from GGUF files, then aliases of models in the hub's cache."""
    here = conversions()
    listed = [_listed_known(model, here) for model in KNOWN.values()]
    catalogued = {model.sha256 for model in KNOWN.values()}
    for folder, conversion in here.items():
        if conversion.gguf_sha256 not in catalogued:
            listed.append(_listed(folder, conversion, "converted from a GGUF file"))
    for alias in ALIASES:
        meant = unaliased(alias)
        folder = cached_model(meant)
        if folder is not None:
            listed.append(
                ListedModel(
                    name=alias,
                    about=f"{meant}, in the Hugging Face hub's cache",
                    installed=True,
                    bytes=size_of(folder.resolve()),
                    licence=OWNERS_LICENCE,
                    folder=str(folder),
                )
            )
    return (*listed, *(_listed_edit(name, listed) for name in edited_names()))


def details_of(name: str, progress: Progress = silent) -> ModelDetails:
    """What is known of a model that is here."""
    stored = resolve_model(name, progress)
    config = json.loads((stored.folder / "config.json").read_text(encoding="utf-8"))
    inner = config.get("text_config") or config
    architectures = config.get("architectures") or [None]
    return ModelDetails(
        name=stored.name,
        folder=str(stored.folder),
        fingerprint=stored.fingerprint,
        source=stored.source,
        licence=stored.licence,
        bytes=size_of(stored.folder),
        architecture=architectures[0],
        n_layers=inner.get("num_hidden_layers"),
        d_model=inner.get("hidden_size"),
    )


def removable(name: str) -> dict[Path, int]:
    """The folder that ACE keeps for a model, and its bytes.

    Raises:
        InputError: an edited model: its edits can't be had again.
        ModelNotFound: nothing of ACE's own; what is the user's or the hub's is not ours to delete.
    """
    if name in edited_names():
        raise InputError(f"{name} is an edited model, which is undone and not removed: ace edit undo {name}")
    for folder, conversion in conversions().items():
        if conversion.name.lower() == name.lower():
            return {folder: size_of(folder)}
    known = KNOWN.get(name.lower())
    left = [] if known is None else [folder_of(known.sha256), *downloads_dir().glob(f"*{known.file}*")]
    found = {path: size_of(path) for path in left if path.exists()}
    if found:
        return found
    raise ModelNotFound(
        f"expected a model that ACE keeps in {models_dir()}, got {name!r}; run: ace model list."
        " Models in the hub's own cache are removed with: hf cache rm"
    )


def delete(paths: dict[Path, int]) -> int:
    """Delete what `removable` named; tells how many bytes that were."""
    return sum(remove_conversion(path) if path.parent == models_dir() else remove(path) for path in paths)


MODELS, RESULTS, BUNDLES, OTHER = "models", "results", "bundles", "other"
PARTS = (MODELS, RESULTS, BUNDLES, EDITS, OTHER)
"""Folders below the cache; `other` is whatever else lies there."""


def kept_sizes() -> dict[str, int]:
    """Bytes below the cache folder, by part."""
    sizes: dict[str, int] = dict.fromkeys(PARTS, 0)
    for path in _entries(cache_dir()):
        sizes[path.name if path.name in PARTS else OTHER] += size_of(path)
    return sizes


def clear(part: str) -> int:
    """Delete a part of the cache; tells how many bytes that were.

    Models that another process is making are waited for.

    Raises InputError for edits, which can't be had again: they are undone one by one.
    """
    if part == EDITS:
        raise InputError(
            f"expected a part that can be had again, got {part!r}; undo edits: ace edit undo NAME"
        )
    root, before = cache_dir(), kept_sizes()[part]
    if part == OTHER:
        for path in _entries(root):
            if path.name not in PARTS:
                remove(path)
        return before
    if part == MODELS:
        for folder in conversions():
            remove_conversion(folder)
    for path in _entries(root / part):
        # Lock files stay: a process that waits for one has it open, and would not be waiting for a new one.
        if path.suffix != ".lock":
            remove(path)
    return before


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _listed_known(model: KnownModel, here: dict[Path, Conversion]) -> ListedModel:
    folder = folder_of(model.sha256)
    if folder in here:
        return _listed(folder, here[folder], model.about)
    return ListedModel(
        name=model.name, about=model.about, installed=False, bytes=model.size, licence=model.licence
    )


def _listed_edit(name: str, others: list[ListedModel]) -> ListedModel:
    folder = edits_dir() / name
    try:
        edited = edited_model(name)
    except ModelError as error:
        return ListedModel(name=name, about=str(error), installed=False, bytes=size_of(folder), licence="")
    base = edited.base if edited is not None else ""
    there = [each for each in others if each.name == base]
    count = len(edited.deltas) if edited is not None else 0
    return ListedModel(
        name=name,
        about=f"{base} with {count} edit{'s' * (count != 1)}, and that model's bundle",
        installed=there[0].installed if there else True,
        bytes=size_of(folder),
        licence=there[0].licence if there else OWNERS_LICENCE,
        fingerprint=edited.fingerprint if edited is not None else None,
        folder=str(folder),
        source=f"edited from {base}",
    )


def _listed(folder: Path, conversion: Conversion, about: str) -> ListedModel:
    return ListedModel(
        name=conversion.name,
        about=about,
        installed=True,
        bytes=size_of(folder),
        licence=conversion.licence,
        fingerprint=conversion.fingerprint,
        folder=str(folder),
        source=conversion.source,
    )

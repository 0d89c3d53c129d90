"""Several harvests put together as one: more data without running again what has been run.

What keeps an exam honest is asked of all of them together: a project that one harvest trains on may be a
relative of one that another holds out, and a function may have been harvested twice. The trees of the one and
the copies of the other are dropped; a shard that loses nothing is linked, not copied.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ace_analysis.errors import FingerprintError, InputError, StorageError
from ace_analysis.evaluation.corpora import (
    ABOUT_CORPUS,
    SPLITS,
    about_projects,
    functions_file,
    read_functions,
    write_functions,
)
from ace_analysis.evaluation.held_out import projects_of, shards_in
from ace_analysis.features.harvest import (
    ABOUT,
    Progress,
    Shard,
    keep_trees,
    read_shard,
    tree_of_tokens,
    write_shard,
)
from ace_analysis.source.corpus import Split
from ace_analysis.source.families import LeftOut, relatives

_MAY_DIFFER = frozenset({"model", "functions", "token_budget"})
"""How a harvest was cut and run, and what its model was called: the activations don't depend on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """`functions` of each side; copies dropped; projects that left their side for a relative's sake."""

    folder: Path
    functions: Mapping[Split, int]
    copies: int
    left_out: tuple[LeftOut, ...]


def merge_harvests(folders: Sequence[Path], out: Path, progress: Progress | None = None) -> Merged:
    """Put harvests together in a new folder, which appears only when it is complete.

    A harvest's training may lie in several folders, `train` and `train-...`; not each needs all three sides.

    Raises:
        InputError: nothing to merge, a side that no harvest has, or a broken shard.
        FingerprintError: two of them were made with different models or options.
        StorageError: `out` is there already, or can't be written.
    """
    parts: dict[Split, list[Path]] = {split: _parts_of(folders, split) for split in SPLITS}
    _check_alike(parts)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StorageError(f"{out}: expected a folder that is new or empty, got one with files in it")
    shards = {split: [path for part in parts[split] for path in shards_in(part)] for split in SPLITS}
    projects: dict[Split, set[str]] = {split: projects_of(shards[split]) for split in SPLITS}
    gone = relatives(projects)
    partial = out.with_name(f".{out.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    sides = _Sides(partial, {(each.split, each.project) for each in gone})
    try:
        for done, split in enumerate(reversed(SPLITS)):
            if progress is not None:
                progress(f"putting together {split}", done / len(SPLITS))
            sides.write(split, shards[split])
            shutil.copy(parts[split][0] / ABOUT, partial / split / ABOUT)
        left_out = tuple(replace(each, functions=sides.lost[each.split, each.project]) for each in gone)
        _write_corpus(folders, partial, sides, left_out)
        out.mkdir(parents=True, exist_ok=True)
        partial.replace(out)
    except OSError as error:
        raise StorageError(f"{out}: the harvests can't be put together ({error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Merged(folder=out, functions=sides.functions, copies=sides.copies, left_out=left_out)


def _parts_of(folders: Sequence[Path], split: Split) -> list[Path]:
    names = (path for folder in folders for path in sorted(folder.glob(f"{split}*")))
    found = [path for path in names if (path / ABOUT).is_file()]
    if not found:
        listed = ", ".join(map(str, folders)) or "no folders"
        raise InputError(f"expected a harvest with a folder {split} with {ABOUT} in it, got {listed}")
    return found


def _check_alike(parts: Mapping[Split, Sequence[Path]]) -> None:
    """One model and layer for all; one set of options for each side."""
    first = _about(parts["train"][0])
    for split, folders in parts.items():
        own = _about(folders[0])
        for folder in folders:
            about = _about(folder)
            names = {name for name in {*own, *about} - _MAY_DIFFER if own.get(name) != about.get(name)}
            names |= {name for name in ("fingerprint", "layer") if first.get(name) != about.get(name)}
            if first["tree"]["slots"] != about["tree"]["slots"]:
                names.add("tree")
            if names:
                raise FingerprintError(
                    f"{folder}: made with another {', '.join(sorted(names))} than {folders[0]} ({split});"
                    " only harvests of one model with the same options can be put together"
                )


def _about(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        return {**about, "tree": {**about["tree"]}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / ABOUT}: expected what a harvest was made with ({error!r})") from error


@dataclass(slots=True)
class _Sides:
    """Writes one side after the other; held-out ones first, since the later of two equal functions goes.

    `lost` counts the functions of the projects `gone`; `names` are the functions of each side by project and
    path.
    """

    out: Path
    gone: set[tuple[Split, str]]
    functions: dict[Split, int] = field(default_factory=dict)
    names: dict[Split, set[tuple[str, str]]] = field(default_factory=dict)
    copies: int = 0
    lost: Counter[tuple[Split, str]] = field(default_factory=Counter)
    seen: set[bytes] = field(default_factory=set)

    def write(self, split: Split, paths: Sequence[Path]) -> None:
        (self.out / split).mkdir(parents=True)
        self.names[split] = set()
        count = number = 0
        for path in paths:
            shard = read_shard(path)
            kept = [self._takes(split, tree, text) for tree, text in _texts_of(shard)]
            if any(kept):
                place = self.out / split / f"shard-{number:05}.safetensors"
                _link(path, place) if all(kept) else write_shard(place, keep_trees(shard, kept))
                number += 1
            count += sum(kept)
        if not count:
            raise InputError(f"no function is left for {split}; put harvests of more projects together")
        self.functions[split] = count

    def _takes(self, split: Split, tree: Mapping[str, Any], text: bytes) -> bool:
        project = str(tree["project"])
        if (split, project) in self.gone:
            self.lost[split, project] += 1
            return False
        if text in self.seen:
            self.copies += 1
            return False
        self.seen.add(text)
        self.names[split].add((project, str(tree["name"])))
        return True


def _texts_of(shard: Shard) -> Iterator[tuple[Mapping[str, Any], bytes]]:
    """Each tree with the tokens of its clean function."""
    own = tree_of_tokens(shard)
    for number, tree in enumerate(shard.trees):
        yield tree, shard.ids[(own == number) & shard.clean].numpy().tobytes()


def _link(path: Path, place: Path) -> None:
    """The same file under another name; a copy where the disk can't do that."""
    try:
        os.link(path, place)
    except OSError:
        shutil.copy(path, place)


def _write_corpus(folders: Sequence[Path], out: Path, sides: _Sides, left_out: Sequence[LeftOut]) -> None:
    """What is known of the corpora: versions and licences, and the texts of the functions that are kept."""
    abouts = [folder / ABOUT_CORPUS for folder in folders if (folder / ABOUT_CORPUS).is_file()]
    projects = {name: list(each) for path in abouts for name, each in about_projects(path).items()}
    about = {"merged": [str(folder) for folder in folders], "projects": projects}
    about["left_out"] = [asdict(each) for each in left_out]
    for split, names in sides.names.items():
        texts = [folder / functions_file(split) for folder in folders]
        known = {
            (each.project, each.path): each
            for path in texts
            if path.is_file()
            for each in read_functions(path)
            if (each.project, each.path) in names
        }
        if known:
            write_functions(out / functions_file(split), known.values())
    (out / ABOUT_CORPUS).write_text(json.dumps(about, indent=1), encoding="utf-8")

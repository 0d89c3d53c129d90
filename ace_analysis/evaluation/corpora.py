"""From what a user names to functions to train, validate and test on.

A corpus is a folder of Python, a folder of projects, a file of JSON lines, or the word `installed`: the
standard library and the installed packages under a permissive licence. Whole projects are held out, because
functions of one project resemble each other, and so do those of its relatives under other names, which are
left out. No project gives more than its share.

    corpus.json                what was asked for; each project's version and licence; relatives left out
    functions-<split>.jsonl    the functions, in the order in which they are run
"""

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from ace_analysis.errors import FingerprintError, InputError, StorageError
from ace_analysis.source.corpus import (
    CodeFunction,
    Progress,
    Split,
    functions_of_file,
    functions_of_jsonl,
    python_files,
    split_of,
    unique,
)
from ace_analysis.source.families import LeftOut, relatives
from ace_analysis.source.installed import installed_projects
from ace_analysis.source.licences import spdx_of

INSTALLED = "installed"
ABOUT_CORPUS = "corpus.json"
SPLITS: tuple[Split, ...] = get_args(Split)
FUNCTIONS_PER_FILE = 4
HELD_OUT_SHARE, LEAST_HELD_OUT = 10, 20
"""Validation and test have at most one function for so many of training, but this many may always be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusRequest:
    """`names` as above; with `projects`, each sub-folder of a folder is a project, else the folder is one.

    Of each project at most `per_project` functions are taken, and `functions` for training in all.
    """

    names: tuple[str, ...]
    projects: bool = False
    per_project: int = 60
    functions: int = 10_000
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """`about` maps projects to their version and licence, where they are known.

    `left_out` are the projects that are not used, because of a relative on another side of the split.
    """

    functions: Mapping[Split, tuple[CodeFunction, ...]]
    about: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()


def corpus_in(folder: Path, request: CorpusRequest, progress: Progress | None = None) -> Corpus:
    """The corpus that a folder was begun with; a new folder is begun with the one that is asked for.

    Raises:
        FingerprintError: the folder holds another corpus.
        InputError: a name is no corpus, or there are too few projects.
        StorageError: the folder can't be written.
    """
    path = folder / ABOUT_CORPUS
    asked = json.loads(json.dumps(asdict(request)))
    if not path.is_file():
        corpus = gather(request, progress)
        _write(folder, corpus, asked)
        return corpus
    about = about_projects(path)
    kept = json.loads(path.read_text(encoding="utf-8"))
    begun = kept.get("request", {})
    if begun != asked:
        other = sorted(name for name in asked if begun.get(name) != asked[name])
        raise FingerprintError(
            f"{folder}: this harvest was begun with another {', '.join(other)}; name a new folder"
        )
    functions: dict[Split, tuple[CodeFunction, ...]] = {
        split: tuple(read_functions(folder / functions_file(split))) for split in SPLITS
    }
    left_out = tuple(LeftOut(**each) for each in kept.get("left_out", ()))
    return Corpus(functions=functions, about=about, left_out=left_out)


def about_projects(path: Path) -> dict[str, tuple[str, str]]:
    """Versions and licences by project: of a corpus.json, or of a plain {project: [version, licence]}.

    Licences are named as SPDX names them, where that is known.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        projects = content.get("projects", content)
        return {name: (str(each[0]), spdx_of(str(each[1]))) for name, each in projects.items()}
    except (OSError, ValueError, AttributeError, IndexError, TypeError, KeyError) as error:
        raise InputError(
            f"{path}: expected JSON of the form {{project: [version, licence]}} ({error!r})"
        ) from error


def gather(request: CorpusRequest, progress: Progress | None = None) -> Corpus:
    """Read the corpora; projects are split once and for all, relatives and duplicates dropped across them."""
    about: dict[str, tuple[str, str]] = {}
    found: dict[str, list[CodeFunction]] = {}
    for project in _projects(request, about, progress):
        for function in project:
            found.setdefault(function.project, []).append(function)
    sizes = {project: len(functions) for project, functions in found.items()}
    sides = sides_of(sizes)
    left_out = _leave_out_relatives(sides, sizes)
    if progress is not None and left_out:
        progress(f"left out {len(left_out)} projects with relatives on another side of the split", None)
    # Held-out projects first: of two equal functions the later one is dropped.
    order = sorted(sides, key=lambda project: (SPLITS[::-1].index(sides[project]), project))
    chosen: dict[Split, list[CodeFunction]] = {split: [] for split in SPLITS}
    for function in unique(function for project in order for function in found[project]):
        chosen[sides[function.project]].append(function)
    held_out = max(LEAST_HELD_OUT, request.functions // HELD_OUT_SHARE)
    functions: dict[Split, tuple[CodeFunction, ...]] = {
        split: _some(chosen[split], request.functions if split == "train" else held_out, request.seed)
        for split in SPLITS
    }
    return Corpus(functions=functions, about=about, left_out=left_out)


def _leave_out_relatives(sides: dict[str, Split], sizes: Mapping[str, int]) -> tuple[LeftOut, ...]:
    """Take projects with a relative on another side out of `sides`; returns what went.

    Raises InputError where a side would have nothing left.
    """
    gone = relatives({split: [each for each in sides if sides[each] == split] for split in SPLITS})
    for each in gone:
        del sides[each.project]
    for split in SPLITS:
        if split not in sides.values():
            listed = "; ".join(str(each) for each in gone if each.split == split)
            raise InputError(f"no project is left for {split}: {listed}; name more projects")
    return tuple(replace(each, functions=sizes[each.project]) for each in gone)


def sides_of(sizes: Mapping[str, int]) -> dict[str, Split]:
    """Each project's side; one that chance left empty gets the smallest project of the fullest."""
    if len(sizes) < len(SPLITS):
        raise InputError(
            f"training, validation and test need projects of their own, got {len(sizes)} with functions;"
            f" name more folders, a folder of projects with --projects, or `{INSTALLED}`"
        )
    sides: dict[str, Split] = {project: split_of(project) for project in sizes}
    for split in SPLITS:
        if split not in sides.values():
            fullest, _ = Counter(sides.values()).most_common(1)[0]
            smallest = min((p for p in sizes if sides[p] == fullest), key=lambda p: (sizes[p], p))
            sides[smallest] = split
    return sides


def _projects(
    request: CorpusRequest, about: dict[str, tuple[str, str]], progress: Progress | None
) -> Iterator[list[CodeFunction]]:
    sources: list[tuple[str, Path, Sequence[Path]]] = []
    for name in request.names:
        path = Path(name).expanduser()
        if name == INSTALLED and not path.exists():
            for project in installed_projects():
                about[project.name] = (project.version, project.licence)
                sources.append((project.name, project.root, project.files))
        elif path.is_file() and path.suffix == ".jsonl":
            yield from _lines(path, request)
        elif path.is_dir():
            roots = sorted(p for p in path.iterdir() if p.is_dir()) if request.projects else [path]
            sources += [(root.resolve().name, root, python_files(root)) for root in roots]
        else:
            raise InputError(f"expected a folder, a .jsonl file or `{INSTALLED}`, got {name}")
    for number, (project, root, files) in enumerate(sources):
        if progress is not None:
            progress(f"reading projects: {project}", number / len(sources))
        yield _of_files(project, root, files, request)


def _of_files(project: str, root: Path, files: Sequence[Path], request: CorpusRequest) -> list[CodeFunction]:
    """Functions of many files alike; large packages are not read to their end, which would take minutes."""
    rng = random.Random(f"{request.seed}:{project}")
    found: list[CodeFunction] = []
    for path in rng.sample(list(files), len(files)):
        new = functions_of_file(path, project=project, root=root)
        found += rng.sample(new, min(len(new), FUNCTIONS_PER_FILE))
        if len(found) >= request.per_project:
            break
    return found[: request.per_project]


def _lines(path: Path, request: CorpusRequest) -> Iterator[list[CodeFunction]]:
    by_project: dict[str, list[CodeFunction]] = {}
    for function in functions_of_jsonl(path):
        by_project.setdefault(function.project, []).append(function)
    for functions in by_project.values():
        yield list(_some(functions, request.per_project, request.seed))


def _some(functions: Sequence[CodeFunction], count: int, seed: int) -> tuple[CodeFunction, ...]:
    return tuple(random.Random(seed).sample(list(functions), min(count, len(functions))))


def _write(folder: Path, corpus: Corpus, request: Mapping[str, Any]) -> None:
    """The functions first: corpus.json says that all is there."""
    about = {
        "request": request,
        "projects": {name: list(each) for name, each in corpus.about.items()},
        "left_out": [asdict(each) for each in corpus.left_out],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for split, functions in corpus.functions.items():
            write_functions(folder / functions_file(split), functions)
        _replace(folder / ABOUT_CORPUS, [json.dumps(about, indent=1)])
    except OSError as error:
        raise StorageError(f"{folder}: the corpus can't be written ({error})") from error


def _replace(path: Path, parts: Iterable[str]) -> None:
    partial = path.with_name(f".{path.name}.part")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(parts)
    partial.replace(path)


def functions_file(split: Split) -> str:
    """The name of the file with one side's functions."""
    return f"functions-{split}.jsonl"


def write_functions(path: Path, functions: Iterable[CodeFunction]) -> None:
    """Write functions as JSON lines, each with `project`, `path`, `text` and `header`."""
    _replace(path, (json.dumps(asdict(each)) + "\n" for each in functions))


def read_functions(path: Path) -> Iterator[CodeFunction]:
    """The functions that were written.

    Raises InputError where the file is broken.
    """
    try:
        with path.open(encoding="utf-8") as file:
            yield from (CodeFunction(**json.loads(line)) for line in file)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: expected one function a line, as `ace train harvest` writes them ({error!r})"
        ) from error

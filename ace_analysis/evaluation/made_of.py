"""Exactly what a bundle was made of: each function by project, version, licence, place and SHA-256.

Without it, nobody can repeat a bundle, look up whose code it read, or tell whether a measurement is on
functions that it was fitted on. The list ships inside the bundle, compressed; where all functions would take
more than a megabyte, files are listed with the number of their functions.

    {"format": 1,
     "projects": {project: {"version", "licence"}},        what is known of them
     "functions": {split: {project: [[path, sha256 of the text or null]]}},      or instead
     "files": {split: {project: {path of a file: functions}}}}
"""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ace_analysis.errors import BundleError
from ace_analysis.evaluation.corpora import SPLITS, functions_file, read_functions
from ace_analysis.features.bundle_files import CORPUS_FILE
from ace_analysis.features.harvest import read_trees
from ace_analysis.source.corpus import Split

FORMAT_VERSION = 1
LARGEST = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeOf:
    """What a bundle was made of.

    `projects` maps names to version and licence where they are known; `functions` maps each split's projects
    to paths "folder/file.py::name" and the SHA-256 of the text ("" where it is not known), or `files` to the
    files and how many of their functions there are.
    """

    projects: Mapping[str, tuple[str, str]]
    functions: Mapping[Split, Mapping[str, tuple[tuple[str, str], ...]]] = field(default_factory=dict)
    files: Mapping[Split, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)

    def projects_of(self, *splits: Split) -> frozenset[str]:
        """The projects of some sides of the split."""
        return frozenset(
            project
            for split in splits
            for some in (self.functions, self.files)
            for project in some.get(split, ())
        )

    def packed(self, largest: int = LARGEST) -> bytes:
        """The list as it ships; without the single functions where it would be larger than allowed."""
        whole = _packed({"functions": self.functions, "files": self.files}, self.projects)
        if len(whole) <= largest or not self.functions:
            return whole
        files = {
            split: {name: Counter(path.split("::")[0] for path, _ in some) for name, some in projects.items()}
            for split, projects in self.functions.items()
        }
        return _packed({"files": files}, self.projects)


def made_of(
    shards: Mapping[Split, Sequence[Path]], folder: Path, about: Mapping[str, tuple[str, str]]
) -> MadeOf:
    """The functions that are in the shards of a harvest.

    Args:
        shards: by side of the split.
        folder: the harvest's; its `functions-<split>.jsonl` say what the texts were, if they are there.
        about: versions and licences by project.
    """
    functions: dict[Split, dict[str, tuple[tuple[str, str], ...]]] = {}
    for split in SPLITS:
        sums = _sums_in(folder / functions_file(split))
        found: dict[str, set[tuple[str, str]]] = {}
        for path in shards[split]:
            for tree in read_trees(path):
                project, name = str(tree["project"]), str(tree["name"])
                found.setdefault(project, set()).update(
                    (name, each) for each in sums.get((project, name), ("",))
                )
        functions[split] = {project: tuple(sorted(found[project])) for project in sorted(found)}
    used = {project for projects in functions.values() for project in projects}
    return MadeOf(projects={name: about[name] for name in sorted(used) if name in about}, functions=functions)


def read_made_of(folder: Path) -> MadeOf | None:
    """The list in a bundle's folder; None for a bundle that has none.

    Raises BundleError where it is broken.
    """
    path = folder / CORPUS_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(gzip.decompress(path.read_bytes()))
        if content["format"] != FORMAT_VERSION:
            raise ValueError(f"format {content['format']!r}")
        return MadeOf(
            projects={n: (each["version"], each["licence"]) for n, each in content["projects"].items()},
            functions={
                split: {
                    project: tuple((name, text or "") for name, text in some)
                    for project, some in projects.items()
                }
                for split, projects in content.get("functions", {}).items()
            },
            files=content.get("files", {}),
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{path}: expected the list of what the bundle was made of, format {FORMAT_VERSION} ({error!r})"
        ) from error


def _sums_in(path: Path) -> dict[tuple[str, str], list[str]]:
    """Of each name; a property and its setter share theirs, for example."""
    sums: dict[tuple[str, str], list[str]] = {}
    for each in read_functions(path) if path.is_file() else ():
        text = each.text.encode("utf-8", "surrogatepass")
        sums.setdefault((each.project, each.path), []).append(hashlib.sha256(text).hexdigest())
    return sums


def _packed(content: Mapping[str, Any], projects: Mapping[str, tuple[str, str]]) -> bytes:
    """The same bytes for the same list."""
    known = {name: {"version": version, "licence": licence} for name, (version, licence) in projects.items()}
    lists = {name: some for name, some in content.items() if some}
    text = json.dumps({"format": FORMAT_VERSION, "projects": known, **lists}, ensure_ascii=False)
    return gzip.compress(text.encode("utf-8", "surrogatepass"), mtime=0)

"""Harvests to measure on: what they were made with, and a small one of what is installed anyway."""

import hashlib
import json
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path

from ace_analysis.errors import FingerprintError, InputError
from ace_analysis.evaluation.made_of import read_made_of
from ace_analysis.features.bundle import Bundle
from ace_analysis.features.examples import TreeOptions
from ace_analysis.features.harvest import ABOUT, HarvestOptions, Progress, harvest, read_trees
from ace_analysis.model.scan import ResidualScanner, never
from ace_analysis.settings import cache_dir
from ace_analysis.source.corpus import CodeFunction, Split, functions_of_file, split_of, unique
from ace_analysis.source.families import family_of, relatives
from ace_analysis.source.installed import InstalledProject, installed_projects

KEPT = "results"
"""The folder of the cache for what can be made again: `ace cache clear --results` deletes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvested:
    """A folder of shards and what they were made with."""

    folder: Path
    fingerprint: str
    options: HarvestOptions
    shards: tuple[Path, ...]

    @classmethod
    def read(cls, folder: Path) -> "Harvested":
        """Raises InputError where there is no harvest."""
        path = folder / ABOUT
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            tree = about["tree"]
            options = HarvestOptions(
                layer=about["layer"],
                tree=TreeOptions(**{**tree, "slots": tuple(tree["slots"])}),
                functions=about["functions"],
                token_budget=about["token_budget"],
            )
            fingerprint = str(about["fingerprint"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: expected what a harvest was made with ({error!r})") from error
        shards = tuple(shards_in(folder))
        if not shards:
            raise InputError(f"{folder}: expected a harvest with at least one complete shard, found none")
        return cls(folder=folder, fingerprint=fingerprint, options=options, shards=shards)

    def check(self, bundle: Bundle) -> None:
        """Refuse activations that the bundle does not read."""
        bundle.check_fingerprint(self.fingerprint)
        read = (self.options.layer, self.options.tree.slots)
        if read != (bundle.layer, bundle.readout.slots):
            raise FingerprintError(
                f"{self.folder}: expected layer {bundle.layer} and slots {list(bundle.readout.slots)} for"
                f" {bundle.folder}, got {read[0]} and {list(read[1])}; harvest again or name another bundle"
            )

    def check_whole(self) -> None:
        """Refuse mutants without all of their sites: nothing can be ranked among them."""
        tree = self.options.tree
        if tree.full < tree.mutants:
            raise InputError(
                f"{self.folder}: detection is measured on whole mutants, and only {tree.full} of up to"
                f" {tree.mutants} are; harvest test functions with `full` equal to `mutants`"
            )


def shards_in(folder: Path) -> list[Path]:
    """The complete shards of a folder, in their order."""
    return sorted(folder.glob("shard-*.safetensors"))


def projects_of(shards: Sequence[Path]) -> set[str]:
    """The projects that shards hold functions of."""
    return {str(tree["project"]) for path in shards for tree in read_trees(path)}


def installed_functions(
    count: int,
    split: Split = "test",
    *,
    seed: int = 0,
    progress: Progress | None = None,
    avoid: Collection[str] = (),
) -> list[CodeFunction]:
    """Functions of installed projects on one side of the split, as evenly over the projects as there are.

    Projects with a relative on another side of the split are left out, and so are those to `avoid` and their
    relatives.
    """
    rng = random.Random(seed)
    families = {family_of(project, avoid) for project in avoid}
    projects = [
        each
        for each in _without_relatives(installed_projects(), split)
        if family_of(each.name, avoid) not in families
    ]
    queues = []
    for number, project in enumerate(projects):
        if progress is not None:
            progress("reading installed packages", number / len(projects))
        # Files in random order, and no more than can be needed: large packages would take minutes.
        files = rng.sample(project.files, len(project.files))
        queues.append(_some(project.name, project.root, files, count, rng))
    turns = (function for turn in zip_longest(*queues) for function in turn if function is not None)
    return list(islice(unique(turns), count))


def _without_relatives(projects: Sequence[InstalledProject], split: Split) -> list[InstalledProject]:
    sides: dict[Split, list[str]] = {}
    for project in projects:
        sides.setdefault(split_of(project.name), []).append(project.name)
    gone = {each.project for each in relatives(sides)}
    return [each for each in projects if split_of(each.name) == split and each.name not in gone]


def _some(
    project: str, root: Path, files: Sequence[Path], count: int, rng: random.Random
) -> list[CodeFunction]:
    found: dict[str, CodeFunction] = {}
    for path in files:
        for function in unique(functions_of_file(path, project=project, root=root)):
            found[function.text] = function
        if len(found) >= count:
            break
    return rng.sample(list(found.values()), len(found))


def harvest_installed(
    scanner: ResidualScanner,
    bundle: Bundle,
    count: int,
    *,
    mutants: int = 4,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> Harvested:
    """Whole mutants of held-out installed functions, kept in the cache; goes on where it was stopped.

    What the bundle says that it was fitted on is left out, with its relatives.

    Raises:
        InputError: no installed package is on the test side of the split.
    """
    known = read_made_of(bundle.folder)
    fitted = known.projects_of("train", "validation") if known else ()
    functions = installed_functions(count, progress=progress, avoid=fitted)
    if not functions:
        raise InputError(
            "expected installed packages on the test side of the split, found none; name a harvest instead"
        )
    tree = TreeOptions(slots=bundle.readout.slots, mutants=mutants, full=mutants)
    options = HarvestOptions(layer=bundle.layer, tree=tree, functions=10)
    texts = "".join(f"{each.project}:{each.path}:{each.header}{each.text}" for each in functions)
    name = hashlib.sha256(f"{scanner.info.fingerprint}:{options}:{texts}".encode()).hexdigest()[:16]
    folder = cache_dir() / KEPT / f"bench-{name}"
    harvest(functions, scanner, folder, options, progress=progress, cancelled=cancelled)
    return Harvested.read(folder)

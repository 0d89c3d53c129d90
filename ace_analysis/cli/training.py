"""What `ace train` does: progress on stderr, results on stdout, and after Ctrl-C how to go on."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from ace_analysis.cli.messages import printable_path, tell
from ace_analysis.cli.pulling import PullReporter
from ace_analysis.cli.scanning import interruptible, results_alone_on_stdout
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.evaluation.coders import Harvests, dtype_of, trained_coder, work_folder
from ace_analysis.evaluation.corpora import ABOUT_CORPUS, SPLITS, CorpusRequest, about_projects
from ace_analysis.evaluation.harvests import HarvestRequest, make_harvest
from ace_analysis.evaluation.merging import merge_harvests
from ace_analysis.evaluation.recipe import RecipeOptions, make_bundle
from ace_analysis.features.bundle import Bundle
from ace_analysis.features.coder_quality import coder_quality
from ace_analysis.features.harvest import ABOUT
from ace_analysis.features.storage import save_sparse_coder
from ace_analysis.features.training import TrainingOptions
from ace_analysis.settings import cache_dir
from ace_analysis.source.families import LeftOut

INTERRUPTED = 130
LEAST_TOKENS = 3_000_000
Progress = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True)
class Outlet:
    as_json: bool
    quiet: bool

    def write(self, result: dict[str, Any], text: str) -> None:
        """The result as JSON on stdout, or in words on stderr."""
        if self.as_json:
            typer.echo(json.dumps(result, indent=2))
        else:
            tell(f"ace: {text}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HarvestChoice:
    """The options of a harvest, as given."""

    model: str
    layer: int | None
    names: tuple[str, ...]
    projects: bool
    per_project: int
    functions: int
    mutants: int
    device: str
    dtype: str

    def request(self) -> HarvestRequest:
        corpus = CorpusRequest(
            names=self.names, projects=self.projects, per_project=self.per_project, functions=self.functions
        )
        return HarvestRequest(
            corpus=corpus,
            model=self.model,
            layer=self.layer,
            mutants=self.mutants,
            device=self.device,
            dtype=self.dtype,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CoderChoice:
    width: int
    k: float
    tokens: int | None
    device: str = "auto"

    def options(self, harvests: Harvests) -> TrainingOptions:
        tokens = self.tokens or max(LEAST_TOKENS, harvests.ordinary_tokens())
        return TrainingOptions(d_sae=self.width, k=self.k, tokens=tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleChoice:
    harvest: HarvestChoice
    coder: CoderChoice
    about: Path | None
    trained: Path | None = None


@contextmanager
def _working(outlet: Outlet) -> Iterator[tuple[Progress, Callable[[], bool]]]:
    """Progress and the cancel check; a stop is told with the command that goes on."""
    try:
        with (
            results_alone_on_stdout(),
            interruptible() as asked,
            PullReporter(quiet=outlet.quiet) as progress,
        ):
            yield progress, asked
    except Cancelled as stopped:
        tell(f"ace: {stopped}")
        tell(f"ace: to go on, run the same command again: {shlex.join(['ace', *sys.argv[1:]])}")
        raise typer.Exit(INTERRUPTED) from stopped


def run_harvest(choice: HarvestChoice, out: Path, outlet: Outlet) -> None:
    with _working(outlet) as (progress, cancelled):
        corpus = make_harvest(choice.request(), out, progress=progress, cancelled=cancelled)
    counts = {split: len(functions) for split, functions in corpus.functions.items()}
    listed = ", ".join(f"{count:,} for {split}" for split, count in counts.items())
    outlet.write(
        {
            "folder": str(out),
            "model": choice.model,
            "functions": counts,
            "left_out": [asdict(each) for each in corpus.left_out],
        },
        f"functions harvested into {printable_path(out)}: {listed}{_listed(corpus.left_out)}",
    )


def run_merge(folders: list[Path], out: Path, outlet: Outlet) -> None:
    with _working(outlet) as (progress, _):
        merged = merge_harvests(folders, out, progress)
    listed = ", ".join(f"{merged.functions[split]:,} for {split}" for split in SPLITS)
    copies = f"\n     left out: {merged.copies:,} functions that were there twice" if merged.copies else ""
    result = asdict(merged) | {"folder": str(out)}
    text = f"functions in {printable_path(out)}: {listed}{copies}{_listed(merged.left_out)}"
    outlet.write(result, text)


def _listed(left_out: Sequence[LeftOut]) -> str:
    return "".join(f"\n     left out: {each}" for each in left_out)


def run_sae(harvest: Path, out: Path, choice: CoderChoice, outlet: Outlet) -> None:
    with _working(outlet) as (progress, cancelled):
        harvests = Harvests.read(harvest)
        options = choice.options(harvests)
        coder = trained_coder(harvests, work_folder(out), options, progress, cancelled, device=choice.device)
        shards = [*harvests.validation.shards, *harvests.test.shards]
        quality = coder_quality(shards, coder, progress=progress, cancelled=cancelled)
        save_sparse_coder(out, coder, dtype_of(coder))
    result = {
        "folder": str(out),
        "hook": coder.site.hook_name,
        "width": coder.d_sae,
        "tokens": options.tokens,
        "explained_variance": quality.explained_variance,
        "l0": quality.l0,
        "dead_latents": quality.dead,
    }
    text = (
        f"the sparse coder is in {printable_path(out)}: explained variance {quality.explained_variance:.3f},"
        f" L0 {quality.l0:.1f}, {quality.dead:,} of {coder.d_sae:,} latents dead on held-out projects"
    )
    outlet.write(result, text)


def run_bundle(choice: BundleChoice, out: Path | None, outlet: Outlet) -> None:
    folder = out or cache_dir() / "bundles" / _folder_name(choice.harvest.model)
    with _working(outlet) as (progress, cancelled):
        harvest = _harvest_of(choice.harvest.names)
        if harvest is None:
            harvest = work_folder(folder) / "harvest"
            make_harvest(choice.harvest.request(), harvest, progress=progress, cancelled=cancelled)
        options = RecipeOptions(
            training=choice.coder.options(Harvests.read(harvest)),
            about=_about(choice.about, harvest),
            coder=choice.trained,
            device=choice.harvest.device,
            dtype=choice.harvest.dtype,
        )
        bundle = make_bundle(harvest, folder, options, progress=progress, cancelled=cancelled)
    replicated = sum(feature.replicated for feature in bundle.catalog)
    text = (
        f"the bundle for {bundle.model} is in {printable_path(folder)}: {len(bundle.catalog)} error features,"
        f" {replicated} of them replicated on held-out projects; its card.md has all measurements"
    )
    outlet.write(_described(bundle, replicated), text)


def _described(bundle: Bundle, replicated: int) -> dict[str, Any]:
    return {
        "folder": str(bundle.folder),
        "model": bundle.model,
        "fingerprint": bundle.fingerprint,
        "layer": bundle.layer,
        "error_features": len(bundle.catalog),
        "replicated": replicated,
        "card": str(bundle.folder / "card.md"),
    }


def _harvest_of(names: tuple[str, ...]) -> Path | None:
    """The harvest that the names are, or None where they are corpora."""
    paths = [Path(name).expanduser() for name in names]
    harvests = [path for path in paths if (path / "train" / ABOUT).is_file()]
    if harvests and len(paths) > 1:
        raise InputError(f"expected one harvest or some corpora, got a harvest among others: {harvests[0]}")
    return harvests[0] if harvests else None


def _about(given: Path | None, harvest: Path) -> dict[str, tuple[str, str]]:
    if given is not None:
        return about_projects(given)
    path = harvest / ABOUT_CORPUS
    return about_projects(path) if path.is_file() else {}


def _folder_name(model: str) -> str:
    """A model's name as a folder's: hub names hold slashes, and a path is called after its end."""
    path = Path(model).expanduser()
    return (path.resolve().name if path.exists() else model).replace("/", "--")

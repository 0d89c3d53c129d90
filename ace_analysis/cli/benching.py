"""What `ace bench detection` and `ace bench speed` run, told as plain data."""

import gc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ace_analysis.engine import Engine
from ace_analysis.errors import InputError
from ace_analysis.evaluation.baselines import fit_dense_probe, random_scores
from ace_analysis.evaluation.coders import Harvests
from ace_analysis.evaluation.detection import measure_detection
from ace_analysis.evaluation.fix_speed import measure_fix
from ace_analysis.evaluation.held_out import Harvested, harvest_installed, projects_of
from ace_analysis.evaluation.hover_speed import measure_hover
from ace_analysis.evaluation.learning_curve import CurveOptions, learning_curve
from ace_analysis.evaluation.made_of import read_made_of
from ace_analysis.evaluation.probe_file import read_probe
from ace_analysis.evaluation.server_speed import measure_editing, measure_initialize
from ace_analysis.evaluation.speed import measure_scan_throughput
from ace_analysis.evaluation.surprisal import LanguageModel, Surprisal, SurprisalOptions, measure_surprisal
from ace_analysis.features.bundle import SHIPPED, Bundle, find_bundle
from ace_analysis.features.bundle_files import BUNDLE_FILE, PROBE_FILE
from ace_analysis.features.readout import logits
from ace_analysis.features.table import site_table
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.store import resolve_model
from ace_analysis.settings import EngineSettings, cache_dir, load_settings
from ace_analysis.source.families import family_of
from ace_analysis.source.installed import standard_library

Progress = Callable[[str, float | None], None]
Scores = dict[str, NDArray[np.float64]]

VERSION = 1
SPARSE = "sparse features"
FUNCTIONS_FOR_SPEED = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionRequest:
    """What the command line asks for; see `ace bench detection --help`."""

    harvest: Path | None = None
    bundle: str | None = None
    functions: int = 100
    surprisal: int = 25


def run_detection(request: DetectionRequest, progress: Progress) -> dict[str, Any]:
    """The report of `measure_detection`, what was measured, and notes on what was left out."""
    settings = load_settings(Path.cwd())
    bundle = chosen_bundle(request.bundle, settings)
    notes: list[str] = []
    if request.harvest is None:
        test = _installed(request, settings, bundle, progress)
    else:
        folder = request.harvest
        test = Harvested.read(folder / "test" if (folder / "test").is_dir() else folder)
    test.check(bundle)
    test.check_whole()
    table = site_table(test.shards, bundle.coder, progress=progress)
    scores: Scores = {"random": random_scores(len(table))}
    if request.surprisal:
        found = _surprisal(request, settings, bundle, test, progress)
        scores |= {"surprisal": found.surprisal, "surprisal - best other": found.margin}
        if found.left_out:
            notes.append(f"surprisal: {found.left_out} functions left out, this version makes other mutants")
    _seen(bundle, test, notes)
    scores |= _dense(request, bundle, test, notes, progress)
    # A kind of site that the bundle has no bias for is never shown.
    scores[SPARSE] = np.nan_to_num(logits(table, bundle.readout), nan=-np.inf)
    progress("measuring", None)
    return {
        "version": VERSION,
        "model": bundle.model,
        "fingerprint": bundle.fingerprint,
        "bundle": str(bundle.folder),
        "layer": bundle.layer,
        "harvest": str(test.folder),
        "notes": notes,
        **measure_detection(table, scores).to_json(),
    }


def run_curve(harvest: Path, name: str | None, progress: Progress) -> dict[str, Any]:
    """Detection on a harvest's test projects, for readouts fitted on growing shares of its training data."""
    bundle = chosen_bundle(name, load_settings(Path.cwd()))
    harvests = Harvests.read(harvest)
    for each in (*harvests.train, harvests.test):
        each.check(bundle)
    harvests.test.check_whole()
    train = site_table(harvests.train_shards, bundle.coder, progress=progress)
    test = site_table(harvests.test.shards, bundle.coder, progress=progress)
    points = learning_curve(train, test, CurveOptions(slots=bundle.readout.slots), progress=progress)
    return {"version": VERSION, "model": bundle.model, "points": [asdict(point) for point in points]}


def chosen_bundle(name: str | None, settings: EngineSettings) -> Bundle:
    """A bundle by its folder, its folder's name or its model's; without a name, the settings' model's."""
    if name is not None:
        for folder in (Path(name), cache_dir() / "bundles" / name, SHIPPED / name):
            if (folder / BUNDLE_FILE).is_file():
                return Bundle.load(folder)
    stored = resolve_model(name or settings.model.name)
    return find_bundle(stored.name, stored.fingerprint)


def _model_of(bundle: Bundle, settings: EngineSettings) -> str:
    """What to load for a bundle: the settings' model if it is the bundle's, else the model by its name."""
    stored = resolve_model(settings.model.name)
    return settings.model.name if stored.fingerprint == bundle.fingerprint else bundle.model


def _installed(
    request: DetectionRequest, settings: EngineSettings, bundle: Bundle, progress: Progress
) -> Harvested:
    name, how = _model_of(bundle, settings), settings.model
    progress(f"loading {name}", None)
    scanner = load_scanner(name, device=how.device, dtype=how.dtype, n_blocks=bundle.layer + 1)
    bundle.check_fingerprint(scanner.info.fingerprint)
    return harvest_installed(scanner, bundle, request.functions, progress=progress)


def _surprisal(
    request: DetectionRequest,
    settings: EngineSettings,
    bundle: Bundle,
    test: Harvested,
    progress: Progress,
) -> Surprisal:
    gc.collect()
    name, how = _model_of(bundle, settings), settings.model
    progress(f"loading all of {name}", None)
    model = LanguageModel.load(name, device=how.device, dtype=how.dtype)
    bundle.check_fingerprint(model.scanner.info.fingerprint)
    options = SurprisalOptions(functions=request.surprisal, token_budget=test.options.token_budget)
    return measure_surprisal(test.shards, model, test.options.tree, options, progress=progress)


def _dense(
    request: DetectionRequest, bundle: Bundle, test: Harvested, notes: list[str], progress: Progress
) -> Scores:
    """The dense probe's scores: fitted on the harvest's other sides, else as it came with the bundle.

    None, and a note, where there is neither.
    """
    folders = [request.harvest / name for name in ("train", "validation")] if request.harvest else []
    if folders and all(folder.is_dir() for folder in folders):
        train, validation = (Harvested.read(folder) for folder in folders)
        for each in (train, validation):
            each.check(bundle)
            shared = projects_of(each.shards) & projects_of(test.shards)
            if shared:
                raise InputError(
                    f"{each.folder}: expected other projects than in {test.folder},"
                    f" both have {sorted(shared)[0]}"
                )
        probe, whose = fit_dense_probe(train.shards, validation.shards, progress=progress), "the harvest's"
    elif (bundle.folder / PROBE_FILE).is_file():
        width = len(bundle.readout.slots) * bundle.coder.d_model
        probe, whose = read_probe(bundle.folder / PROBE_FILE, width), "the bundle's"
    else:
        notes.append("no dense probe: this bundle has none; name a --harvest with train/ and validation/")
        return {}
    notes.append(f"dense probe: {whose}, {probe.rows:,} rows, L2 {probe.l2:g} chosen on validation projects")
    return {"dense probe": probe.scores(test.shards, progress)}


def _seen(bundle: Bundle, test: Harvested, notes: list[str]) -> None:
    """A note where the bundle was fitted on projects that it is measured on, or on their relatives."""
    known = read_made_of(bundle.folder)
    fitted = known.projects_of("train", "validation") if known else frozenset[str]()
    families = {family_of(project, fitted) for project in fitted}
    seen = sorted(each for each in projects_of(test.shards) if family_of(each, fitted) in families)
    if seen:
        notes.append(
            f"not held out: the bundle was fitted on projects of the test or relatives: {', '.join(seen)}"
        )


def run_speed(rounds: int, progress: Progress) -> dict[str, Any]:
    """Throughput of scans beside the plain forward, and the server with its worker as an editor sees them."""
    settings = load_settings(Path.cwd())
    engine = Engine.load(settings, progress)
    functions = list(islice(standard_library().functions(), FUNCTIONS_FOR_SPEED))
    progress("scans beside the plain forward", None)
    scan = measure_scan_throughput(engine, functions, rounds=rounds)
    about = engine.info()
    del engine
    gc.collect()
    progress("edits in the server", None)
    editing = measure_editing({"model": asdict(settings.model)}, rounds=rounds)
    progress("hovers in the server", None)
    hover = measure_hover({"model": asdict(settings.model)}, rounds=rounds)
    progress("fixes in the server", None)
    fix = measure_fix({"model": asdict(settings.model)}, rounds=rounds)
    progress("starts of the server", None)
    start = measure_initialize(rounds)
    return {
        "version": VERSION,
        **{name: about[name] for name in ("model", "device", "dtype", "bundle", "layer")},
        "scan": {
            "ratio": scan.ratio,
            "tokens": scan.tokens,
            "scan": scan.scan_tokens_per_second,
            "plain": scan.plain_tokens_per_second,
        },
        "editing": {**asdict(editing), "seconds": editing.seconds},
        "hover": {**asdict(hover), "medians": hover.medians},
        "fix": {**asdict(fix), "medians": fix.medians, "worst": fix.worst},
        "initialize": {**asdict(start), "ratio": start.ratio},
    }

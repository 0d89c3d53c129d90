"""What `ace bench editing` runs, told as plain data."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ace_analysis.editing.concept import token_spellings
from ace_analysis.editing.deltas import RowDelta
from ace_analysis.editing.disentangler import Disentangler, find_disentangler, load_disentangler
from ace_analysis.errors import InputError
from ace_analysis.evaluation.coders import Harvests
from ace_analysis.evaluation.corpora import functions_file, read_functions
from ace_analysis.evaluation.disentangler import Telling
from ace_analysis.evaluation.editing_behaviour import behaviour_of
from ace_analysis.evaluation.editing_concept import ConceptOptions, measure_concept
from ace_analysis.evaluation.editing_errors import planted
from ace_analysis.evaluation.editing_errors_bench import ErrorOptions, Subject, bench_errors
from ace_analysis.evaluation.editing_errors_measured import ErrorBench, Material
from ace_analysis.evaluation.editing_repair import Hole, holes_of
from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.evaluation.pass_at_1 import Answerer, read_problems
from ace_analysis.features.bundle import Bundle, find_bundle
from ace_analysis.features.examples import TreeOptions
from ace_analysis.model.causal import CausalModel, load_causal
from ace_analysis.settings import cache_dir, load_settings
from ace_analysis.source.corpus import CodeFunction, Split

Progress = Callable[[str, float | None], None]
Beyond = Callable[[Mapping[str, Sequence[RowDelta]]], dict[str, Any]]


def check_problems(folder: Path | None, count: int) -> None:
    """Refuse to ask for problems that are nowhere, with an InputError."""
    if count and folder is None:
        raise InputError(f"expected a folder with problems to solve {count} of, got none: --problems")


@dataclass(frozen=True, slots=True, kw_only=True)
class EditingRequest:
    """What the command line asks for; see `ace bench editing --help`."""

    harvest: Path
    words: tuple[str, ...]
    disentangler: Path | None = None
    latents: int = 5
    mus: tuple[float, ...] = ()
    taus: tuple[float, ...] = ()
    texts: int = 24
    longest: int = 128
    keep: Path | None = None
    problems: Path | None = field(default=None, repr=False)
    count: int = field(default=0, repr=False)
    repairs: int = field(default=0, repr=False)
    """These don't change what is measured of the words, so they are not in the name that it is kept under."""

    def __post_init__(self) -> None:
        check_problems(self.problems, self.count)

    def options(self) -> ConceptOptions:
        default = ConceptOptions()
        return ConceptOptions(
            limit=self.latents,
            with_concept=self.texts,
            without=self.texts * 3 // 2,
            longest=self.longest,
            mus=self.mus or default.mus,
            taus=self.taus or default.taus,
        )


def run_editing(request: EditingRequest, progress: Progress, cancelled: Callable[[], bool]) -> dict[str, Any]:
    """Search on the validation projects, report on the test projects."""
    harvests = Harvests.read(request.harvest)
    settings = load_settings(Path.cwd())
    progress(f"loading {settings.model.name}", None)
    causal = load_causal(settings.model.name, settings.model.device, settings.model.dtype)
    found = _disentangler(request.disentangler, _bundle(causal))
    found.check_fingerprint(causal.info.fingerprint)
    vocabulary = len(causal.model.get_output_embeddings().weight)
    known = min(vocabulary, causal.tokenizer.vocabulary_size)
    tokens = token_spellings(causal.tokenizer.spell, known, request.words)
    ledger = _ledger(request.keep)
    key = f"{found.identity()[:16]}/{found.layer}/{request}"
    splits = (harvests.validation.shards, harvests.test.shards)
    told = measure_concept(
        causal.model,
        found.coder,
        tokens,
        splits,
        request.options(),
        (ledger, key),
        telling := Telling(progress, cancelled),
        _beyond(request, causal, ledger, telling),
    )
    return {"model": causal.info.name, "fingerprint": found.fingerprint, "layer": found.layer, **told}


def _beyond(request: EditingRequest, causal: CausalModel, ledger: Ledger, telling: Telling) -> Beyond | None:
    """What measures problems solved and lines mended, where any are asked for."""
    problems = read_problems(request.problems, request.count) if request.problems is not None else []
    tree, holes, given = TreeOptions(mutants=ErrorOptions().mutants), list[Hole](), ""
    if request.repairs:
        functions = _functions(request.harvest, "test")
        given = identity_of(functions)
        both = planted(functions, causal.tokenizer, tree, ErrorOptions().functions)
        holes = holes_of([function for function, _ in both], tree, request.repairs)
    if not problems and not holes:
        return None
    material = Material(trees=(), tree=tree, texts=(), longest=0, problems=problems, holes=holes)
    key = f"behaviour/{causal.info.fingerprint[:16]}/{given}"
    return partial(behaviour_of, ErrorBench(causal, material, Answerer(causal), ledger, key, telling))


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRequest:
    """What the command line asks for with --errors. `problems`: a folder of tasks; `count` 0 asks none."""

    harvest: Path
    kinds: tuple[str, ...] = ()
    disentangler: Path | None = None
    latents: int = 5
    mus: tuple[float, ...] = ()
    taus: tuple[float, ...] = ()
    functions: int = 24
    repairs: int = 64
    texts: int = 24
    longest: int = 128
    problems: Path | None = None
    count: int = 0
    pisces: bool = True
    keep: Path | None = None

    def __post_init__(self) -> None:
        check_problems(self.problems, self.count)

    def options(self) -> ErrorOptions:
        default = ErrorOptions()
        return ErrorOptions(
            kinds=self.kinds,
            limit=self.latents,
            functions=self.functions,
            learned=self.functions,
            repairs=self.repairs,
            texts=self.texts,
            longest=self.longest,
            mus=self.mus or default.mus,
            taus=self.taus or default.taus,
        )


def run_errors(request: ErrorRequest, progress: Progress, cancelled: Callable[[], bool]) -> dict[str, Any]:
    """What erasing the bundle's error latents does, measured on the harvest's test functions."""
    splits: tuple[Split, ...] = ("train", "test")
    functions: dict[Split, list[CodeFunction]] = {
        split: _functions(request.harvest, split) for split in splits
    }
    given = identity_of([each for split in splits for each in functions[split]])
    problems = read_problems(request.problems, request.count) if request.problems is not None else []
    settings = load_settings(Path.cwd())
    progress(f"loading {settings.model.name}", None)
    causal = load_causal(settings.model.name, settings.model.device, settings.model.dtype)
    bundle = _bundle(causal)
    bundle.check_fingerprint(causal.info.fingerprint)
    found = _disentangler(request.disentangler, bundle) if request.pisces else None
    if found is not None:
        found.check_fingerprint(causal.info.fingerprint)
    told = bench_errors(
        Subject(causal, bundle, found),
        (functions, problems),
        request.options(),
        (_ledger(request.keep), f"errors/{causal.info.fingerprint[:16]}/{bundle.identity()[:16]}/{given}"),
        Telling(progress, cancelled),
    )
    return {"model": causal.info.name, "fingerprint": causal.info.fingerprint, **told}


def identity_of(functions: Sequence[CodeFunction]) -> str:
    """The same for the same functions in the same order: what was measured of others is not theirs."""
    digest = hashlib.sha256()
    for each in functions:
        digest.update(repr((each.project, each.path, each.header, each.text)).encode())
    return digest.hexdigest()[:16]


def _functions(harvest: Path, split: Split) -> list[CodeFunction]:
    path = harvest / functions_file(split)
    if not path.is_file():
        raise InputError(f"{path}: expected the functions of a harvest, got none; run `ace train harvest`")
    return list(read_functions(path))


def _ledger(path: Path | None) -> Ledger:
    return Ledger(path or cache_dir() / "bench-editing" / "measured.jsonl")


def _bundle(causal: CausalModel) -> Bundle:
    return find_bundle(causal.info.name, causal.info.fingerprint)


def _disentangler(folder: Path | None, bundle: Bundle) -> Disentangler:
    return load_disentangler(folder) if folder is not None else find_disentangler(bundle.folder)

"""What `ace bench editing` runs, told as plain data."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ace_analysis.editing.concept import token_spellings
from ace_analysis.editing.disentangler import Disentangler, find_disentangler, load_disentangler
from ace_analysis.evaluation.coders import Harvests
from ace_analysis.evaluation.disentangler import Telling
from ace_analysis.evaluation.editing_concept import ConceptOptions, measure_concept
from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.features.bundle import find_bundle
from ace_analysis.model.causal import CausalModel, load_causal
from ace_analysis.settings import cache_dir, load_settings

Progress = Callable[[str, float | None], None]


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
    found = _disentangler(request.disentangler, causal)
    found.check_fingerprint(causal.info.fingerprint)
    vocabulary = len(causal.model.get_output_embeddings().weight)
    known = min(vocabulary, causal.tokenizer.vocabulary_size)
    tokens = token_spellings(causal.tokenizer.spell, known, request.words)
    ledger = Ledger(request.keep or cache_dir() / "bench-editing" / "measured.jsonl")
    key = f"{found.fingerprint[:16]}/{found.layer}/{request}"
    splits = (harvests.validation.shards, harvests.test.shards)
    told = measure_concept(
        causal.model,
        found.coder,
        tokens,
        splits,
        request.options(),
        (ledger, key),
        Telling(progress, cancelled),
    )
    return {"model": causal.info.name, "fingerprint": found.fingerprint, "layer": found.layer, **told}


def _disentangler(folder: Path | None, causal: CausalModel) -> Disentangler:
    if folder is not None:
        return load_disentangler(folder)
    return find_disentangler(find_bundle(causal.info.name, causal.info.fingerprint).folder)

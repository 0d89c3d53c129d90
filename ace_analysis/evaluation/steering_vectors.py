"""`ace train steering`: vectors for `ace bench repair` to compare, each with the control that it needs.

    means-<kind>       difference of means over planted bugs of one kind, or of all
    random             the control of the means: a random direction of the same length
    latents            error features of the bundle, chosen by what taking them out does on some projects
    indifferent        as many latents that tell nothing: the control of the latents

The effect of the chosen latents is told on projects that they were not chosen on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ace_analysis.errors import BundleError
from ace_analysis.evaluation.corpora import CorpusRequest, gather
from ace_analysis.features.bundle import Bundle, find_bundle
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.scan import never
from ace_analysis.source.corpus import CodeFunction
from ace_analysis.source.mutation import MutationGenerator, MutationPair
from ace_analysis.steering.latents import (
    as_about,
    chosen_latents,
    effects_of,
    indifferent_latents,
    vector_from_latents,
)
from ace_analysis.steering.training import ALL, PairOptions, vectors_from_pairs
from ace_analysis.steering.vector import SteeringVector

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeringRequest:
    """What is made.

    Attributes:
        corpus: where functions come from, and how many.
        layers: where the stream is read and steered; empty: the bundle's layer, or 0.4 of the model's depth.
        mutants: bugs that are planted in each function.
        latents: how many latents the sparse vector has.
        cases: pairs that latents are chosen on; as many again tell their effect.
        pairs: how pairs become vectors.
    """

    corpus: CorpusRequest
    layers: tuple[int, ...] = ()
    mutants: int = 4
    latents: int = 8
    cases: int = 40
    pairs: PairOptions = field(default_factory=PairOptions)


def make_vectors(
    causal: CausalModel,
    request: SteeringRequest,
    out: Path,
    progress: Progress,
    cancelled: Callable[[], bool] = never,
) -> dict[str, Any]:
    """Write the vectors into a folder; what is returned says of each what its own `about` says.

    Raises:
        InputError: a corpus that can't be read, or one with too few projects or bugs.
        StorageError: the folder can't be written.
        Cancelled: when `cancelled()` turns true; vectors that are written by then stay.
    """
    functions = gather(request.corpus, progress).functions["train"]
    pairs, projects = planted(functions, request.mutants)
    bundle = _bundle_of(causal)
    layers = request.layers or (bundle.layer if bundle is not None else int(0.4 * causal.info.n_layers),)
    made: dict[str, SteeringVector] = {}
    for number, layer in enumerate(layers):
        progress(f"reading {len(pairs)} pairs behind block {layer}", number / (len(layers) + 1))
        vectors = vectors_from_pairs(causal, pairs, projects, layer, request.pairs, cancelled)
        made |= {f"means-{kind}-layer{layer}": vector for kind, vector in vectors.items()}
        made[f"random-layer{layer}"] = vectors[ALL].random_like()
    if bundle is not None and bundle.catalog:
        progress("measuring what latents do to the output", len(layers) / (len(layers) + 1))
        made |= _sparse(causal, bundle, (pairs, projects), request, cancelled)
    for name, vector in made.items():
        vector.save(out / name)
    progress("done", 1.0)
    return {
        "model": causal.info.name,
        "functions": len(functions),
        "pairs": len(pairs),
        "projects": len(set(projects)),
        "vectors": {name: {**vector.about, "length": vector.length} for name, vector in made.items()},
    }


def planted(functions: Sequence[CodeFunction], mutants: int) -> tuple[list[MutationPair], list[str]]:
    """Bugs planted in functions, and the project of each."""
    generator = MutationGenerator(pairs_per_snippet=mutants)
    pairs: list[MutationPair] = []
    projects: list[str] = []
    for function in functions:
        new = generator.generate_pairs([function.text])
        pairs += new
        projects += [function.project] * len(new)
    return pairs, projects


def _bundle_of(causal: CausalModel) -> Bundle | None:
    try:
        return find_bundle(causal.info.name, causal.info.fingerprint)
    except BundleError:
        return None


def _sparse(
    causal: CausalModel,
    bundle: Bundle,
    planted_bugs: tuple[Sequence[MutationPair], Sequence[str]],
    request: SteeringRequest,
    cancelled: Callable[[], bool],
) -> Mapping[str, SteeringVector]:
    """Latents chosen on one half of the projects, their effect told on the other half."""
    pairs, projects = planted_bugs
    names = sorted(set(projects))
    first = set(names[: (len(names) + 1) // 2])
    sides = [
        [pair for pair, project in zip(pairs, projects, strict=True) if (project in first) == side]
        for side in (True, False)
    ]
    candidates = [each.feature_idx for each in bundle.catalog if each.replicated] or [
        each.feature_idx for each in bundle.catalog
    ]
    effects = effects_of(causal, bundle, candidates, sides[0][: request.cases], cancelled=cancelled)
    chosen = chosen_latents(effects, request.latents)
    if not chosen or not sides[1]:
        return {}
    told = effects_of(causal, bundle, chosen, sides[1][: request.cases], cancelled=cancelled)
    vector = vector_from_latents(bundle, chosen)
    others = vector_from_latents(bundle, indifferent_latents(bundle, len(chosen)))
    about = {**vector.about, "effects_on_other_projects": as_about(told)}
    return {"latents": replace(vector, about=about), "indifferent": others}

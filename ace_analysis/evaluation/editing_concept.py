"""A plain concept, such as a library's name, erased: what it costs and what it brings, beside controls.

The setting is searched on a harvest's validation projects and reported on its test projects. Beside the
erasure stand the removal of the same latents' common direction from the same MLP, and the erasure's own
change at rows and along directions by chance.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.editing.concept import Concept, concept_of_tokens
from ace_analysis.editing.deltas import RowDelta
from ace_analysis.editing.pisces import PISCES
from ace_analysis.editing.plan import EditPlan
from ace_analysis.editing.search import MUS, TAUS, Grid, erasing, search
from ace_analysis.errors import InputError
from ace_analysis.evaluation.disentangler import Telling
from ace_analysis.evaluation.editing import (
    Gauge,
    Measured,
    Tail,
    Text,
    controls_of,
    fall_of,
    perplexity_change,
    silence_of,
)
from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.features.harvest import read_shard, tree_of_tokens
from ace_analysis.features.sparse_coder import SparseCoder


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptOptions:
    """`limit` latents at most; `with_concept` and `without`: texts to report on, fewer to search on."""

    limit: int = 5
    with_concept: int = 24
    without: int = 40
    longest: int = 128
    mus: tuple[float, ...] = MUS
    taus: tuple[float, ...] = TAUS
    setting: tuple[float, float] | None = None
    """(mu, tau) that were found elsewhere, instead of a search."""


def measure_concept(  # noqa: PLR0913 - what is kept and told is no option of the measurement
    model: Any,
    coder: SparseCoder,
    tokens: Sequence[int],
    splits: tuple[Sequence[Path], Sequence[Path]],
    options: ConceptOptions,
    kept: tuple[Ledger, str],
    telling: Telling,
    beyond: Callable[[Mapping[str, Sequence[RowDelta]]], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Search on the first split's shards, report on the second's.

    `kept` is where results are kept, and under which name; `beyond` what else is measured of the arms, told
    as "behaviour".

    Raises:
        InputError: too few texts hold the tokens, or no latent writes them.
        Cancelled: the caller asked to stop; what was measured is kept.
    """
    concept = concept_of_tokens(model, coder, tokens, limit=options.limit)
    pisces = PISCES(model, coder)
    near = cache(lambda: _gauge(model, coder, concept, splits[0], _half(options), telling))
    kept_here = (kept[0], f"{kept[1]}/{concept.latents}")
    signs = _signs(near, kept_here)
    setting, searched = options.setting, []
    if setting is None:
        setting, searched = _searched(near, erasing(pisces, concept, signs), options, kept_here, telling)
    plan = pisces.erase(concept, *setting, signs=signs)
    neurons = Anatomy.of(model).blocks[coder.site.layer].mlp.down.weight.shape[1]
    arms = {"PISCES": plan.deltas, **_removals(pisces, coder, concept), **controls_of(plan, neurons)}
    far = cache(lambda: _gauge(model, coder, concept, splits[1], options, telling))
    return {
        "concept": concept.told() | {"tokens": len(concept.tokens)},
        "mu": setting[0],
        "tau": setting[1],
        "rows": len(plan.deltas[0].left),
        "searched": searched,
        **report(far, arms, telling, (kept[0], f"{kept_here[1]}/{setting}")),
        **({} if beyond is None else {"behaviour": beyond(arms)}),
    }


def _signs(gauge: Callable[[], Gauge], kept: tuple[Ledger, str]) -> Tensor:
    """Read off the validation texts once, and kept as a text of + and -."""
    key = f"{kept[1]}/signs"
    known = kept[0].get(key)
    if known is None:
        known = "".join("-" if each < 0 else "+" for each in gauge().signs())
        kept[0].put(key, known)
    return torch.tensor([-1.0 if each == "-" else 1.0 for each in known])


def _searched(
    gauge: Callable[[], Gauge],
    plan: Callable[[float, float], EditPlan],
    options: ConceptOptions,
    kept: tuple[Ledger, str],
    telling: Telling,
) -> tuple[tuple[float, float], list[dict[str, Any]]]:
    """The best mu and tau, and all that were tried."""
    before = cache(lambda: gauge().measure())
    found = search(
        plan,
        lambda edit: gauge().quality(before(), edit),
        Grid(mus=options.mus, taus=options.taus, kept=kept[0], key=kept[1]),
        progress=telling.progress,
        cancelled=telling.cancelled,
    )
    tried = [asdict(each) | {"score": each.quality.score} for each in found.tried]
    return (found.best.mu, found.best.tau), tried


def report(
    gauge: Callable[[], Gauge],
    arms: dict[str, Sequence[RowDelta]],
    telling: Telling,
    kept: tuple[Ledger, str],
) -> dict[str, Any]:
    """All arms on the same texts, compared with the model as it is; each is kept when it is measured."""

    def measured(name: str, number: int, deltas: Sequence[RowDelta]) -> list[Measured]:
        rows = kept[0].get(key := f"{kept[1]}/{name}")
        if rows is None:
            found = gauge()
            telling(f"measuring {name}", number / (len(arms) + 1))
            rows = [asdict(each) for each in found.measure(deltas)]
            kept[0].put(key, rows)
        return [Measured(**row) for row in rows]

    before = measured("the model as it is", 0, ())
    told = {}
    for number, (name, deltas) in enumerate(arms.items(), start=1):
        told[name] = compared(before, measured(name, number, deltas)) | {"norm": norm_of(deltas)}
    places = sum(each.places for each in before)
    return {
        "texts": {
            "with": sum(each.has_concept for each in before),
            "without": sum(not each.has_concept for each in before),
            "places": places,
            "tokens": sum(each.tokens for each in before),
        },
        "probability_before": sum(each.probability for each in before) / max(places, 1),
        "arms": told,
    }


def compared(before: Sequence[Measured], after: Sequence[Measured]) -> dict[str, Any]:
    """Shares with intervals over projects, as JSON."""
    return {
        "probability_fall": fall_of(before, after).as_json(),
        "activation_fall": silence_of(before, after).as_json(),
        "perplexity_near": perplexity_change(before, after, True).as_json(),
        "perplexity_other": perplexity_change(before, after, False).as_json(),
    }


def norm_of(deltas: Sequence[RowDelta]) -> float:
    return float(sum(float(each.dense().double().pow(2).sum()) for each in deltas) ** 0.5)


def _removals(pisces: PISCES, coder: SparseCoder, concept: Concept) -> dict[str, Sequence[RowDelta]]:
    """The common direction of what the latents write, taken away from the same MLP, once and turned round."""
    signs = torch.tensor([1.0 if up else -1.0 for up in concept.promotes])
    direction: Tensor = (signs[:, None] * coder.W_dec[list(concept.latents)].float()).sum(dim=0)
    layer = coder.site.layer
    return {
        "remove_direction": pisces.remove_direction(direction, layer).deltas,
        "remove_direction, strength 4": pisces.remove_direction(direction, layer, strength=4.0).deltas,
    }


def _half(options: ConceptOptions) -> ConceptOptions:
    return ConceptOptions(
        with_concept=max(2, options.with_concept // 2),
        without=max(2, options.without // 3),
        longest=options.longest,
    )


def _gauge(
    model: Any,
    coder: SparseCoder,
    concept: Concept,
    shards: Sequence[Path],
    options: ConceptOptions,
    telling: Telling,
) -> Gauge:
    texts = texts_of(shards, concept.tokens, options)
    ids = [each.ids for each in texts]
    tail = Tail(model, coder.site.layer, ids, progress=telling.progress, cancelled=telling.cancelled)
    return Gauge(tail, texts, concept.tokens, coder, concept.latents)


def texts_of(shards: Sequence[Path], tokens: Sequence[int], options: ConceptOptions) -> list[Text]:
    """Clean functions with the tokens and without, by turns from all projects.

    Of a long one so many tokens are taken: the first ones, or those around the first of the concept's.

    Raises InputError where there are fewer than two with or two without.
    """
    wanted = torch.tensor(sorted(tokens))
    found: dict[bool, dict[str, list[Text]]] = {True: {}, False: {}}
    for path in shards:
        shard = read_shard(path)
        own = tree_of_tokens(shard)
        for index, tree in enumerate(shard.trees):
            ids = shard.ids[(own == index) & shard.clean].long()
            if len(ids) < 16:
                continue
            here = torch.isin(ids[1:], wanted).nonzero().flatten().tolist()
            ids = _window(ids, here[0] if here else 0, options.longest)
            text = Text(ids=ids, cluster=tree["project"], has_concept=bool(here))
            found[text.has_concept].setdefault(text.cluster, []).append(text)
    chosen = [
        *_by_turns(found[True], options.with_concept),
        *_by_turns(found[False], options.without),
    ]
    count = sum(each.has_concept for each in chosen)
    if count < 2 or len(chosen) - count < 2:
        raise InputError(
            f"expected at least 2 functions with the concept's tokens and 2 without, got {count} and "
            f"{len(chosen) - count}; choose other words or harvest more functions"
        )
    return chosen


def _window(ids: Tensor, place: int, longest: int) -> Tensor:
    """The prefix token and up to `longest` - 1 others; `place`, counted behind it, is three quarters in."""
    start = max(0, min(place - 3 * longest // 4, len(ids) - longest))
    return torch.cat([ids[:1], ids[1 + start : start + longest]])


def _by_turns(projects: dict[str, list[Text]], count: int) -> list[Text]:
    """Up to `count` texts, the first of each project, then the second of each, and so on."""
    turns = max((len(each) for each in projects.values()), default=0)
    ordered = [
        each[turn] for turn in range(turns) for _, each in sorted(projects.items()) if turn < len(each)
    ]
    return ordered[:count]

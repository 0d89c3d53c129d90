"""Vectors from many pairs of right and wrong code: the difference of means, for each kind of mistake.

Difference of means is the strongest of the cheap methods (AxBench, arXiv:2501.17148, Table 1), and for about
a third of inputs it still pushes the wrong way (arXiv:2505.22637). So whole projects are held out, and a
vector says how coherent it is there: how many of the pairs that it has not seen lie on its side. The stream
is read behind the place, where both texts have the same token: at the place itself most of a difference is
which token stands there.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.features.positions import site_positions
from ace_analysis.model.scan import never
from ace_analysis.settings import SteeringSettings
from ace_analysis.source.document import TextSpan
from ace_analysis.source.mutation import MutationPair
from ace_analysis.steering.subject import Subject
from ace_analysis.steering.vector import SteeringVector, vector_for

ALL = "all"
"""The key of the vector of all kinds of mistakes together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairOptions:
    """How pairs become vectors.

    Attributes:
        behind: how many tokens behind the place the stream is read; 0 is the place itself.
        held_out: share of projects that coherence is measured on.
        least: pairs of a kind that a vector of its own needs, on either side.
        rows: texts in one pass.
        normalize: of the vectors; None: as the settings' default says.
    """

    behind: int = 1
    held_out: float = 0.2
    least: int = 4
    rows: int = 8
    normalize: bool | None = None


def vectors_from_pairs(
    model: Any,
    pairs: Sequence[MutationPair],
    projects: Sequence[str],
    layer: int,
    options: PairOptions | None = None,
    cancelled: Callable[[], bool] = never,
) -> Mapping[str, SteeringVector]:
    """By kind of mistake, and for ALL together, the direction from wrong to right.

    `about` of each vector tells: "pairs", "projects", and on held-out projects "held_out_pairs",
    "agreeing" (share of pairs whose own difference points the same way) and "cosine" (their mean cosine).

    Args:
        model: from `load_hooked_model` or `load_causal`.
        pairs: right and wrong texts.
        projects: the project of each pair; a project is trained on or held out as a whole.
        layer: the block behind which the stream is read, and later steered.

    Raises:
        InputError: too few pairs or projects.
        Cancelled: when `cancelled()`, asked before each pass, turns true.
    """
    options = options or PairOptions()
    held_out = _held_out(pairs, projects, options.held_out)
    subject = Subject.of(model)
    differences = _differences(subject, pairs, layer, options, cancelled)
    normalize = SteeringSettings().normalize if options.normalize is None else options.normalize
    trained = len({name for name, out in zip(projects, held_out.tolist(), strict=True) if not out})
    shared = {"method": "difference of means", "behind": options.behind, "projects": trained}
    kinds = [pair.mutation_type.value for pair in pairs]
    vectors: dict[str, SteeringVector] = {}
    for kind in (ALL, *dict.fromkeys(kinds)):
        own = torch.tensor([kind in (ALL, each) for each in kinds])
        seen, unseen = differences[own & ~held_out], differences[own & held_out]
        if min(len(seen), len(unseen)) >= options.least:
            direction = seen.mean(dim=0)
            about = {**shared, "mutation_type": kind, "pairs": len(seen), **coherence(direction, unseen)}
            vectors[kind] = vector_for(subject.info, direction, layer, normalize=normalize, about=about)
    return _with_all(vectors, len(pairs), options)


def _with_all(
    vectors: dict[str, SteeringVector], pairs: int, options: PairOptions
) -> Mapping[str, SteeringVector]:
    if ALL not in vectors:
        raise InputError(
            f"expected at least {options.least} pairs on either side of the split, got {pairs} in all;"
            " plant more bugs"
        )
    return vectors


def coherence(
    direction: Float[Tensor, " d_model"], differences: Float[Tensor, "pair d_model"]
) -> dict[str, float]:
    """How far pairs' own differences go along with a direction."""
    cosines = torch.cosine_similarity(differences, direction[None], dim=-1)
    return {
        "held_out_pairs": len(differences),
        "agreeing": float((cosines > 0).float().mean()),
        "cosine": float(cosines.mean()),
    }


def _held_out(pairs: Sequence[MutationPair], projects: Sequence[str], share: float) -> Bool[Tensor, " pair"]:
    """Whole projects, the same ones each time: those whose digests are lowest, at least one."""
    if len(pairs) != len(projects):
        raise InputError(f"expected a project for each pair, got {len(projects)} for {len(pairs)}")
    if len(set(projects)) < 2:
        raise InputError(
            f"expected pairs of at least two projects, one to hold out, got {len(set(projects))};"
            " name more projects"
        )
    names = sorted(set(projects), key=lambda name: hashlib.sha256(name.encode()).digest())
    chosen = set(names[: max(1, round(len(names) * share))])
    return torch.tensor([name in chosen for name in projects], dtype=torch.bool)


def _differences(
    subject: Subject,
    pairs: Sequence[MutationPair],
    layer: int,
    options: PairOptions,
    cancelled: Callable[[], bool],
) -> Float[Tensor, "pair d_model"]:
    """For each pair, the stream of the right text minus that of the wrong one."""
    right = [(pair.positive, pair.positive_span) for pair in pairs]
    wrong = [(pair.negative, pair.negative_span) for pair in pairs]
    rows = [_read(subject, texts, layer, options, cancelled) for texts in (right, wrong)]
    return rows[0] - rows[1]


def _read(
    subject: Subject,
    places: Sequence[tuple[str, TextSpan]],
    layer: int,
    options: PairOptions,
    cancelled: Callable[[], bool],
) -> Float[Tensor, "place d_model"]:
    """The stream at each place, texts of like length together; what comes behind a place is not read."""
    found = subject.tokenizer.encode_many([text for text, _ in places])
    at = [
        int(site_positions(text, each.spans, [span], (options.behind,))[0, 0])
        for (text, span), each in zip(places, found, strict=True)
    ]
    order = sorted(range(len(places)), key=lambda index: at[index])
    read: dict[int, Tensor] = {}
    for start in range(0, len(order), options.rows):
        if cancelled():
            raise Cancelled("training was cancelled by the caller; nothing was kept")
        part = order[start : start + options.rows]
        rows = [torch.tensor(found[index].ids[: at[index] + 1]) for index in part]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        resid = subject.scanner.resid_post(ids, layer, cancelled=cancelled)
        for row, index in enumerate(part):
            read[index] = resid[row, at[index]].float().cpu()
    return torch.stack([read[index] for index in range(len(places))])

"""The search for mu and tau that `ace edit plan --search` makes, on the text that was given.

Efficacy is how much of the words' probability is gone where they come next, specificity how well the rest of
the same pieces of text is still predicted, coherence how well code without the words is. Pieces that are
searched on are not those that the plan's effects are told of (see `editing.preparing`). What was measured is
kept, so that a search that was stopped goes on where it was.

Source: objective, Gur-Arieh et al. 2025 (PISCES, arXiv:2505.22586), section 4.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ace_analysis.editing.measuring import MEASURED_TOKENS, example_ids
from ace_analysis.editing.preparing import WINDOW, Erasure
from ace_analysis.editing.search import Grid, erasing, search
from ace_analysis.errors import InputError
from ace_analysis.evaluation.editing import Gauge, Tail, Text
from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.model.disk import Progress
from ace_analysis.settings import cache_dir

FOLDER = "edit-search"
OTHERS = 4
"""Pieces of code without the words that are read at most."""


def search_setting(
    erasure: Erasure, progress: Progress, cancelled: Callable[[], bool], grid: Grid | None = None
) -> tuple[float, float, Mapping[str, Any]]:
    """(mu, tau) with the highest harmonic mean, and how it was found; see `editing.preparing.Searcher`.

    Raises:
        InputError: no code without the words to measure coherence on.
        Cancelled: the caller asked to stop; what was measured is kept.
    """
    texts = _texts(erasure)
    layer, tokens = erasure.coder.site.layer, erasure.concept.tokens
    ids = [each.ids for each in texts]
    tail = Tail(erasure.causal.model, layer, ids, progress=progress, cancelled=cancelled)
    gauge = Gauge(tail, texts, tokens)
    before = gauge.measure()
    grid = grid or Grid()
    kept = Ledger(cache_dir() / FOLDER / f"{_key(erasure, texts)}.jsonl")
    found = search(
        erasing(erasure.pisces, erasure.concept, erasure.signs),
        lambda plan: gauge.quality(before, plan),
        Grid(mus=grid.mus, taus=grid.taus, kept=kept),
        progress=progress,
        cancelled=cancelled,
    )
    quality = found.best.quality
    told = {
        "searched": f"{len(found.tried)} settings, {found.left_out} left out as they could not win",
        "score": round(quality.score, 4),
        "efficacy": round(quality.efficacy, 4),
        "specificity": round(quality.specificity, 4),
        "coherence": round(quality.coherence, 4),
    }
    return found.best.mu, found.best.tau, told


def _texts(erasure: Erasure) -> list[Text]:
    """Pieces with the words, and others: of the given text, and of the example behind what is reported on."""
    wanted = torch.tensor(erasure.concept.tokens)
    rest = example_ids(erasure.causal)[MEASURED_TOKENS:].split(WINDOW)
    others = [each for each in (*erasure.others, *rest) if _can_stand_for_other_code(each, wanted)][:OTHERS]
    if not others:
        raise InputError(
            "expected code without the words, to see what else an erasure costs, got none; give a text that"
            " has some, too"
        )
    having = [Text(ids=ids, cluster=str(at), has_concept=True) for at, ids in enumerate(erasure.pieces)]
    without = [Text(ids=ids, cluster=f"other {at}", has_concept=False) for at, ids in enumerate(others)]
    return [*having, *without]


def _can_stand_for_other_code(ids: Tensor, wanted: Tensor) -> bool:
    return len(ids) > 1 and not bool(torch.isin(ids[1:], wanted).any())


def _key(erasure: Erasure, texts: list[Text]) -> str:
    """What results depend on: the model, the disentangler's own latents, the signs and the texts."""
    coder = erasure.coder
    digest = hashlib.sha256(erasure.causal.info.fingerprint.encode())
    digest.update(json.dumps([coder.site.layer, erasure.concept.told()], sort_keys=True).encode())
    for each in (coder.W_enc, coder.W_dec, erasure.signs, *(text.ids for text in texts)):
        if each is not None:
            digest.update(each.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]

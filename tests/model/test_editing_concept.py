"""On the real model: a library's name is erased with the disentangler that ships, and comes back exactly."""

import pytest
import torch

from ace_analysis.editing.concept import Concept
from ace_analysis.editing.deltas import with_deltas
from ace_analysis.editing.disentangler import find_disentangler
from ace_analysis.editing.pisces import PISCES
from ace_analysis.editing.signs import signs_on
from ace_analysis.features.bundle import find_bundle
from ace_analysis.model.causal import load_causal

pytestmark = pytest.mark.model

SEEN = (
    "import numpy as np\n\n\ndef scale(x):\n    return np.asarray(x) / np.max(x)\n",
    "import numpy as np\n\nx = np.zeros(3)\ny = np.ones(3)\nprint(np.dot(x, y))\n",
)
UNSEEN = """import numpy as np


def spread(rows):
    means = np.mean(rows)
    return np.sqrt(np.var(rows)) + means
"""
OTHER = """def add(stack, item):
    if item is None:
        raise ValueError(item)
    stack.append(item)
    return stack
"""


def test_a_librarys_name_is_erased_and_the_weights_come_back_to_the_bit() -> None:
    causal = load_causal("qwen2.5-coder-0.5b-instruct", "cpu", "float32")
    found = find_disentangler(find_bundle(causal.info.name, causal.info.fingerprint).folder)
    found.check_fingerprint(causal.info.fingerprint)
    encode = causal.tokenizer.encode
    tokens = sorted({encode(text).ids[1] for text in ("np", " np", "(np")})
    concept = Concept(name="np", latents=(496, 701), promotes=(False, False), tokens=tuple(tokens))
    seen = [torch.tensor(encode(text).ids) for text in SEEN]
    signs = signs_on(causal.model, found.layer, seen, tokens)
    plan = PISCES(causal.model, found.coder).erase(concept, 4.0, 0.5, signs=signs)
    unseen, other = (torch.tensor(encode(text).ids) for text in (UNSEEN, OTHER))
    weight = causal.model.base_model.layers[found.layer].mlp.down_proj.weight
    before, kept = (likely(causal.model, unseen, tokens), weight.detach().clone())
    loss = loss_of(causal.model, other)
    with with_deltas(causal.model, plan.deltas):
        after, edited = likely(causal.model, unseen, tokens), loss_of(causal.model, other)
    assert before > 0.2 and after < 0.3 * before
    assert edited < 1.05 * loss
    assert torch.equal(weight, kept)


@torch.no_grad()
def likely(model: torch.nn.Module, ids: torch.Tensor, tokens: list[int]) -> float:
    """The tokens' mean probability where one of them comes next."""
    chances = model(input_ids=ids[None]).logits[0, :-1].softmax(-1)
    return float(chances[torch.isin(ids[1:], torch.tensor(tokens))][:, tokens].sum(1).mean())


@torch.no_grad()
def loss_of(model: torch.nn.Module, ids: torch.Tensor) -> float:
    logits = model(input_ids=ids[None]).logits[0, :-1]
    return float(torch.nn.functional.cross_entropy(logits, ids[1:]))

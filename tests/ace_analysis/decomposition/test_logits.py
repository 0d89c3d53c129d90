"""A logit with its norm and its cap frozen."""

from typing import Any

import torch
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.frozen import freeze
from ace_analysis.decomposition.logits import frozen_logit, logits_of


def test_every_logit_is_its_weights_and_its_constant(anatomy: Anatomy, ids: Tensor) -> None:
    x = freeze(anatomy, ids, 4).resid[-1]
    with torch.no_grad():
        expected = logits_of(anatomy, x[None])[0]
        for token in (0, 7, 50):
            weights, constant = frozen_logit(anatomy, x, token)
            assert torch.allclose(weights @ x + constant, expected[token], rtol=0, atol=1e-12)


def test_a_layer_norms_bias_is_the_constant(starcoder2: Any, ids: Tensor) -> None:
    anatomy = Anatomy.of(starcoder2)
    x = freeze(anatomy, ids, 3).resid[-1]
    with torch.no_grad():
        expected = logits_of(anatomy, x[None])[0, 7]
        weights, constant = frozen_logit(anatomy, x, 7)
    assert abs(constant) > 1e-3
    assert torch.allclose(weights @ x + constant, expected, rtol=0, atol=1e-12)


def test_a_cap_binds_large_logits(causal: Any, ids: Tensor) -> None:
    anatomy = Anatomy.of(causal)
    large = 1e3 * torch.eye(anatomy.d_model, dtype=torch.float64)
    logits = logits_of(anatomy, large)
    assert anatomy.logit_cap is None or logits.abs().max() <= anatomy.logit_cap

"""Numbers before and after are the model's own, made for a few positions at a time."""

from pathlib import Path

import pytest
import torch

from ace_analysis.editing import measuring
from ace_analysis.editing.deltas import RowDelta, with_deltas
from ace_analysis.editing.firing import firing_on
from ace_analysis.editing.measuring import (
    EXAMPLE,
    MEASURED_TOKENS,
    Watched,
    effects_of,
    example_ids,
    log_probabilities,
)
from ace_analysis.errors import Cancelled, ModelError
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.causal import CausalModel, load_causal
from ace_analysis.model.disk import silent
from ace_analysis.model.scan import never
from ace_analysis.model.sites import Site

IDS = torch.tensor([3, 9, 27, 5, 11, 14, 70, 8])
DELTA = RowDelta(
    layer=1, module="mlp.down", rows=(3, 40), left=torch.ones(2, 1), right=torch.linspace(-3, 3, 32)[None]
)


@pytest.fixture
def causal(tiny_model: Path) -> CausalModel:
    return load_causal(str(tiny_model), "cpu", "float32")


@torch.no_grad()
def plain(causal: CausalModel, ids: torch.Tensor) -> torch.Tensor:
    return causal.model(input_ids=ids[None]).logits[0, :-1].log_softmax(-1)


def test_log_probabilities_are_those_of_the_whole_forward(
    causal: CausalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_POSITIONS", 3)
    expected = plain(causal, IDS)
    assert torch.allclose(
        log_probabilities(causal, IDS, IDS[1:, None]), expected.gather(1, IDS[1:, None]), atol=1e-4
    )
    at = torch.tensor([False, True, False, True, True, True, False])
    tokens = torch.tensor([4, 70]).expand(7, -1)
    assert torch.allclose(log_probabilities(causal, IDS, tokens, at), expected[at][:, [4, 70]], atol=1e-4)


def test_never_more_positions_have_logits_than_are_allowed(
    causal: CausalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a person's machine has room for: the logits of a text would be the largest thing there."""
    monkeypatch.setattr(measuring, "_POSITIONS", 3)
    sizes: list[int] = []
    real = torch.Tensor.logsumexp
    monkeypatch.setattr(
        torch.Tensor,
        "logsumexp",
        lambda self, *args, **named: sizes.append(len(self)) or real(self, *args, **named),
    )
    log_probabilities(causal, IDS, IDS[1:, None])
    assert sizes == [3, 3, 1]


def test_before_and_after_are_measured_and_the_model_is_as_before(causal: CausalModel) -> None:
    kept = {name: each.clone() for name, each in causal.model.state_dict().items()}
    watched = Watched(pieces=(IDS,), tokens=(14, 70), called=", and more")
    steps: list[str] = []
    told = effects_of(causal, [DELTA], watched, lambda message, _: steps.append(message), never)
    assert told["on"] == f"{len(example_ids(causal)[:MEASURED_TOKENS])} tokens of {EXAMPLE.name}, and more"
    at = torch.isin(IDS[1:], torch.tensor([14, 70]))
    before = float(plain(causal, IDS)[at][:, [14, 70]].exp().sum(-1).mean())
    assert told["word_probability"]["before"] == pytest.approx(before, rel=1e-3)
    ids = example_ids(causal)[:MEASURED_TOKENS]
    with with_deltas(causal.model, [DELTA]):
        after = float((-plain(causal, ids).gather(1, ids[1:, None])).mean().exp())
    assert told["perplexity"]["after"] == pytest.approx(after, rel=1e-3)
    assert told["perplexity"]["before"] != pytest.approx(after, rel=1e-3)
    assert steps == ["measuring before", "measuring after"]
    assert all(torch.equal(each, kept[name]) for name, each in causal.model.state_dict().items())


def test_latents_without_words_are_watched_by_how_strongly_they_fire(causal: CausalModel) -> None:
    rows = torch.randn(4, 32, generator=torch.Generator().manual_seed(3))
    zeros = torch.zeros(4)
    coder = SparseCoder(rows.T.contiguous(), zeros, rows, torch.zeros(32), zeros, Site(1, "mlp_out"))
    watched = Watched(pieces=(IDS,), coder=coder, latents=(1, 2))
    told = effects_of(causal, [DELTA], watched, silent, never)["latent_activation"]
    assert told["before"] == firing_on(causal.model, coder, (1, 2), [IDS]).activation
    with with_deltas(causal.model, [DELTA]):
        assert told["after"] == firing_on(causal.model, coder, (1, 2), [IDS]).activation
    assert told["before"] != told["after"]


@pytest.mark.parametrize("answers", [[True], [False, True], [False, False, True], [False] * 3 + [True]])
def test_a_cancel_is_heard_between_pieces_and_leaves_the_model_as_it_was(
    causal: CausalModel, answers: list[bool]
) -> None:
    kept = {name: each.clone() for name, each in causal.model.state_dict().items()}
    watched, left = Watched(pieces=(IDS, IDS), tokens=(70,)), list(answers)
    with pytest.raises(Cancelled, match="nothing was written"):
        effects_of(causal, [DELTA], watched, silent, lambda: left.pop(0))
    assert left == []
    assert all(torch.equal(each, kept[name]) for name, each in causal.model.state_dict().items())


def test_a_decoder_alone_has_no_probabilities(causal: CausalModel) -> None:
    decoder = CausalModel(causal.decoder, causal.tokenizer, causal.info)
    with pytest.raises(ModelError, match="expected a whole model with its unembedding"):
        log_probabilities(decoder, IDS, IDS[1:, None])

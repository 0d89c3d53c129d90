"""What is explained: exact at the run that it was bound to, and linear around it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.frozen import freeze
from ace_analysis.decomposition.relp import bind
from ace_analysis.decomposition.targets import (
    HeadTarget,
    LatentTarget,
    LogitDifference,
    LogitTarget,
    ReadoutTarget,
    Target,
)
from ace_analysis.errors import InputError, ModelError
from ace_analysis.features.bundle import Bundle, Calibration, Readout
from ace_analysis.features.scoring import SitePrompt, SiteScorer
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.sites import Site
from ace_analysis.source.document import TextSpan
from ace_analysis.source.sites import CandidateSite, SiteKind

LAYER, D_SAE = 1, 60


def coder_of(anatomy: Anatomy, **changes: Any) -> SparseCoder:
    torch.manual_seed(0)
    width = anatomy.d_model
    values: dict[str, Any] = {
        "W_enc": torch.randn(width, D_SAE) / width**0.5,
        "b_enc": 0.1 * torch.randn(D_SAE),
        "W_dec": torch.randn(D_SAE, width),
        "b_dec": 0.1 * torch.randn(width),
        "threshold": torch.full((D_SAE,), 0.3),
        "site": Site(LAYER),
    }
    return SparseCoder(**{**values, **changes})


def bundle_of(anatomy: Anatomy, **changes: Any) -> Bundle:
    coder = coder_of(anatomy, **changes)
    return Bundle(
        folder=Path(),
        model="tiny",
        fingerprint="none",
        layer=LAYER,
        coder=coder,
        readout=Readout(
            weights=torch.randn(4, D_SAE) * (torch.rand(4, D_SAE) < 0.5),
            kind_bias={"comparison": -1.5},
            slots=(0, 1, 2, "line_end"),
        ),
        calibration=Calibration(scale=1.0, offset=0.0, prior=0.02, thresholds={1.0: 0.0}),
    )


def every_target(anatomy: Anatomy) -> list[Target]:
    coder, bundle = coder_of(anatomy), bundle_of(anatomy)
    return [
        LogitTarget(7),
        LogitDifference(position=5),
        LogitDifference(3, 4),
        LatentTarget(coder, 5, position=6),
        ReadoutTarget(bundle, (4, 5, 6, 9), "comparison"),
        ReadoutTarget(bundle, (4, -1, 4, 4), "comparison"),
        HeadTarget(2, 1),
        HeadTarget(3, 0, position=4),
    ]


def test_the_linear_form_is_the_real_value_at_the_run_that_it_was_bound_to(
    anatomy: Anatomy, ids: Tensor
) -> None:
    run = freeze(anatomy, ids, 4)
    for target in every_target(anatomy):
        bound = bind(run, target)
        site = bound.site
        activation = run.resid_post(site.layer) if site.stream == "resid_post" else None
        activation = run.blocks[site.layer].z[:, site.head] if activation is None else activation
        with torch.no_grad():
            real, linear = bound.measure(activation[None])[0], bound.readout(activation)
        assert float(linear) == pytest.approx(float(real), rel=1e-5, abs=1e-5), bound.name
        assert isinstance(target, Target)


def test_a_logit_is_the_models_own(causal: Any, ids: Tensor) -> None:
    anatomy = Anatomy.of(causal)
    run = freeze(anatomy, ids, 4)
    with torch.no_grad():
        logits = causal(ids).logits[0]
    assert float(bind(run, LogitTarget(7)).readout(run.resid)) == pytest.approx(
        float(logits[-1, 7]), abs=1e-4
    )
    bound = bind(run, LogitDifference(position=5))
    best = logits[5].topk(2)
    assert bound.tokens == tuple(best.indices.tolist())
    assert float(bound.readout(run.resid)) == pytest.approx(float(best.values[0] - best.values[1]), abs=1e-4)


def test_the_best_alternative_is_never_the_token_itself(anatomy: Anatomy, ids: Tensor) -> None:
    run = freeze(anatomy, ids, 4)
    best, second = bind(run, LogitDifference()).tokens
    assert bind(run, LogitDifference(best)).tokens == (best, second)
    assert bind(run, LogitDifference(second)).tokens == (second, best)


def test_a_findings_score_is_the_scorers(anatomy: Anatomy) -> None:
    """The same log-odds that a scan shows, sinks and all."""
    text = "a < b + c\nd"
    spans = [TextSpan(0, 0), *(TextSpan(at, at + 1) for at in range(len(text)))]
    site = CandidateSite(TextSpan(2, 3), SiteKind("comparison"), "<")
    torch.manual_seed(5)
    resid = torch.randn(len(spans), anatomy.d_model)
    resid[0] *= 100
    bundle = bundle_of(anatomy)
    (scores,) = SiteScorer(bundle).score(resid[None], [SitePrompt(text, spans, [site])])
    bound = ReadoutTarget(bundle, (3, 4, 5, 10), "comparison").bind(resid, anatomy)
    assert float(bound.readout(resid)) == pytest.approx(scores.logits[0], abs=1e-5)
    assert float(bound.measure(resid[None])[0]) == pytest.approx(scores.logits[0], abs=1e-5)


def test_a_slot_at_a_sink_counts_as_zero(anatomy: Anatomy) -> None:
    torch.manual_seed(5)
    resid = torch.randn(12, anatomy.d_model)
    resid[4] *= 100
    bundle = bundle_of(anatomy)
    at_sink = ReadoutTarget(bundle, (4, 5, 6, 9), "comparison").bind(resid, anatomy)
    left_out = ReadoutTarget(bundle, (-1, 5, 6, 9), "comparison").bind(resid, anatomy)
    assert float(at_sink.readout(resid)) == float(left_out.readout(resid))
    assert at_sink.readout.positions == (5, 6, 9)


def test_latents_that_begin_to_fire_are_measured_and_not_foreseen(anatomy: Anatomy) -> None:
    torch.manual_seed(5)
    resid = torch.randn(12, anatomy.d_model)
    bound = ReadoutTarget(bundle_of(anatomy), (4, 5, 6, 9), "comparison").bind(resid, anatomy)
    moved = resid + torch.randn(12, anatomy.d_model)
    assert abs(float(bound.measure(moved[None])[0] - bound.readout(moved))) > 1e-2


def test_a_coder_that_does_not_centre_its_input_is_read_as_it_is(anatomy: Anatomy) -> None:
    resid = torch.randn(12, anatomy.d_model)
    bundle = bundle_of(anatomy, apply_b_dec_to_input=False)
    bound = ReadoutTarget(bundle, (4, 5, 6, 9), "comparison").bind(resid, anatomy)
    assert float(bound.measure(resid[None])[0]) == pytest.approx(float(bound.readout(resid)), abs=1e-5)


def test_a_heads_output_is_one_by_construction(anatomy: Anatomy, ids: Tensor) -> None:
    run = freeze(anatomy, ids, 4)
    for target in (HeadTarget(2, 1), HeadTarget(2, 1, position=3)):
        assert float(bind(run, target).readout(run.blocks[2].z[:, 1])) == pytest.approx(1.0)


def test_nothing_behind_the_last_position_that_is_read_matters(anatomy: Anatomy) -> None:
    bundle = bundle_of(anatomy)
    assert LogitTarget(7).last_position(14) == 13
    assert LogitDifference(position=5).last_position(14) == 5
    assert ReadoutTarget(bundle, (4, -1, 6, 9), "comparison").last_position(14) == 9
    assert LatentTarget(bundle.coder, 0, position=-2).last_position(14) == 12
    assert HeadTarget(2, 1).last_position(14) == 13


@pytest.mark.parametrize("position", [14, -15])
def test_a_position_outside_the_text_is_an_error(anatomy: Anatomy, position: int) -> None:
    for target in (LogitTarget(7, position), LogitDifference(position=position), HeadTarget(2, 1, position)):
        with pytest.raises(InputError, match=f"a position in a text of 14 tokens, got {position}"):
            target.last_position(14)


def test_a_token_that_the_model_does_not_have_is_an_error(anatomy: Anatomy, ids: Tensor) -> None:
    run = freeze(anatomy, ids, 4)
    for target in (LogitTarget(10**6), LogitDifference(10**6), LogitDifference(3, 10**6)):
        with pytest.raises(InputError, match=r"expected a token id from 0 to \d+, got 1000000"):
            bind(run, target)


def test_a_token_is_not_compared_with_itself(anatomy: Anatomy, ids: Tensor) -> None:
    with pytest.raises(InputError, match="expected two different tokens to compare, got 3 twice"):
        bind(freeze(anatomy, ids, 4), LogitDifference(3, 3))


def test_a_latent_that_the_coder_does_not_have_is_an_error(anatomy: Anatomy, ids: Tensor) -> None:
    with pytest.raises(InputError, match="expected a latent from 0 to 59, got 60"):
        bind(freeze(anatomy, ids, 4), LatentTarget(coder_of(anatomy), D_SAE))


def test_a_site_that_is_read_nowhere_is_an_error(anatomy: Anatomy) -> None:
    with pytest.raises(InputError, match="read at one token at least, got none: it has no score"):
        ReadoutTarget(bundle_of(anatomy), (-1, -1, -1, -1), "comparison").last_position(14)


def test_a_site_of_an_unknown_kind_or_with_other_slots_is_an_error(anatomy: Anatomy, ids: Tensor) -> None:
    run, bundle = freeze(anatomy, ids, 2), bundle_of(anatomy)
    with pytest.raises(InputError, match=r"each of 4 slots and a kind among comparison, got 4 .* and 'name'"):
        bind(run, ReadoutTarget(bundle, (4, 5, 6, 9), "name"))
    with pytest.raises(InputError, match=r"each of 4 slots .* got 3 positions and 'comparison'"):
        bind(run, ReadoutTarget(bundle, (4, 5, 6), "comparison"))


def test_a_coder_behind_the_loaded_blocks_is_an_error(anatomy: Anatomy) -> None:
    target = LatentTarget(coder_of(anatomy, site=Site(9)), 0)
    with pytest.raises(InputError, match=r"one of the 4 loaded blocks of .* one behind block 9; load more"):
        target.site(anatomy)


def test_a_coder_of_another_stream_is_an_error(anatomy: Anatomy) -> None:
    target = LatentTarget(coder_of(anatomy, site=Site(1, "mlp_out")), 0)
    with pytest.raises(InputError, match="expected a sparse coder of resid_post, got one of mlp_out"):
        target.site(anatomy)


@pytest.mark.parametrize(("layer", "head"), [(4, 0), (0, 4), (-1, 0)])
def test_a_head_that_is_not_there_is_an_error(anatomy: Anatomy, layer: int, head: int) -> None:
    with pytest.raises(
        InputError, match=f"a layer from 0 to 3 and a head from 0 to 3.*got {layer} and {head}"
    ):
        HeadTarget(layer, head).site(anatomy)


def test_a_decoder_alone_has_no_logits(causal: Any) -> None:
    decoder = Anatomy.of(causal.model)
    with pytest.raises(ModelError, match="with its unembedding to explain a logit, got 4 of 4 blocks"):
        LogitTarget(7).site(decoder)

"""Log-odds of sites, compared with the formula computed site by site."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ace_analysis.errors import InputError
from ace_analysis.features import scoring
from ace_analysis.features.bundle import Bundle, Calibration, Readout
from ace_analysis.features.scoring import SitePrompt, SiteScorer, SiteScores
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.sites import Site
from ace_analysis.model.tokens import TokenizedText
from ace_analysis.source.document import TextSpan
from ace_analysis.source.sites import CandidateSite, SiteKind, candidate_sites

D_MODEL, D_SAE = 8, 40
TEXT = "def f(a, b):\n    if a < b:\n        return a - 1\n    return None\n"


def tokenized(text: str, size: int = 3) -> TokenizedText:
    """Tokens of `size` code points, behind a prefix."""
    spans = [TextSpan(i, min(i + size, len(text))) for i in range(0, len(text), size)]
    return TokenizedText([0, *range(1, len(spans) + 1)], [TextSpan(0, 0), *spans])


def bundle_of(seed: int = 0, **changes: object) -> Bundle:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    coder = SparseCoder(
        random(D_MODEL, D_SAE),
        random(D_SAE),
        random(D_SAE, D_MODEL),
        random(D_MODEL),
        random(D_SAE).abs(),
        Site(0),
    )
    sparse = random(4, D_SAE) * (torch.rand(4, D_SAE, generator=generator) < 0.3)
    values = {
        "folder": Path("memory"),
        "model": "tiny",
        "fingerprint": "f",
        "layer": 0,
        "coder": coder,
        "readout": Readout(
            weights=sparse,
            kind_bias={kind.value: index / 10 for index, kind in enumerate(SiteKind)},
            slots=(0, 1, 2, "line_end"),
        ),
        "calibration": Calibration(scale=1.0, offset=0.0, prior=0.5, thresholds={1.0: -100.0}),
    }
    return Bundle(**{**values, **changes})


def resid_of(tokens: TokenizedText, seed: int = 0, sinks: Sequence[int] = ()) -> torch.Tensor:
    resid = torch.randn(len(tokens), D_MODEL, generator=torch.Generator().manual_seed(seed))
    for position in (0, *sinks):
        resid[position] *= 1000
    return resid


def score_sites(
    resid: torch.Tensor, text: str, tokens: TokenizedText, sites: Sequence[CandidateSite], bundle: Bundle
) -> SiteScores:
    """A batch of one prompt."""
    scorer = SiteScorer(bundle, device=resid.device, dtype=resid.dtype)
    return scorer.score(resid.unsqueeze(0), [SitePrompt(text, tokens.spans, sites)])[0]


def by_formula(bundle: Bundle, resid: torch.Tensor, tokens: TokenizedText, site: CandidateSite) -> float:
    latents = bundle.coder.encode(resid)
    token = max(i for i, span in enumerate(tokens.spans) if span.start < site.span.end <= span.end)
    newline = TEXT.index("\n", site.span.end)
    line_end = max(i for i, span in enumerate(tokens.spans) if span.start <= newline < span.end)
    norms = resid.norm(dim=-1)
    total = bundle.readout.kind_bias[site.kind]
    for slot, position in enumerate([token, token + 1, token + 2, max(line_end, token)]):
        position = min(position, len(tokens) - 1)
        if position > 0 and norms[position] < 10 * norms[1:].median():
            total += float(bundle.readout.weights[slot] @ latents[position])
    return total


@settings(deadline=None)
@given(seed=st.integers(0, 30), size=st.integers(1, 7), k=st.sampled_from([None, 6]))
def test_log_odds_are_the_readouts_formula(seed: int, size: int, k: int | None) -> None:
    bundle = bundle_of(seed)
    bundle = replace(bundle, coder=replace(bundle.coder, k=k))
    tokens, sites = tokenized(TEXT, size), candidate_sites(TEXT)
    resid = resid_of(tokens, seed, sinks=[5])
    scores = score_sites(resid, TEXT, tokens, sites, bundle)
    assert len(scores.logits) == len(sites) > 5
    for site, logit in zip(sites, scores.logits, strict=True):
        assert logit == pytest.approx(by_formula(bundle, resid, tokens, site), abs=1e-4)


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 7), min_size=1, max_size=4))
def test_a_batch_gives_what_its_rows_give_alone(sizes: list[int]) -> None:
    bundle, sites = bundle_of(), candidate_sites(TEXT)
    texts = [tokenized(TEXT, size) for size in sizes]
    resids = [resid_of(tokens, seed) for seed, tokens in enumerate(texts)]
    width = max(map(len, resids))
    padded = torch.full((len(texts), width, D_MODEL), 1e6)
    for row, resid in zip(padded, resids, strict=True):
        row[: len(resid)] = resid
    prompts = [SitePrompt(TEXT, tokens.spans, sites) for tokens in texts]
    for scores, tokens, resid in zip(SiteScorer(bundle).score(padded, prompts), texts, resids, strict=True):
        alone = score_sites(resid, TEXT, tokens, sites, bundle)
        assert scores.logits == pytest.approx(alone.logits, abs=1e-4)


def test_only_tokens_that_a_site_is_read_at_are_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[tuple[int, int]] = []
    original = SparseCoder.encode

    def counted(self: SparseCoder, x: torch.Tensor) -> torch.Tensor:
        encoded.append((x.shape[0], self.d_sae))
        return original(self, x)

    monkeypatch.setattr(SparseCoder, "encode", counted)
    bundle, tokens = bundle_of(), tokenized(TEXT, 1)
    sites = candidate_sites(TEXT)[:1]
    score_sites(resid_of(tokens), TEXT, tokens, sites, bundle)
    ((rows, latents),) = encoded
    assert rows <= 4 and latents == int((bundle.readout.weights != 0).any(dim=0).sum()) < D_SAE


def test_evidence_adds_up_with_what_it_leaves_out() -> None:
    """The strongest latents that speak for a finding: positive, sorted, at most five, each one once."""
    bundle, tokens, sites = bundle_of(), tokenized(TEXT), candidate_sites(TEXT)
    resid = resid_of(tokens)
    latents = bundle.coder.encode(resid)
    scores = score_sites(resid, TEXT, tokens, sites, bundle)
    assert set(scores.evidence) == set(range(len(sites)))
    for firings in scores.evidence.values():
        assert 0 < len(firings) <= 5
        assert len({(each.latent, each.span) for each in firings}) == len(firings)
        adds = [each.weight * each.activation for each in firings]
        assert adds == sorted(adds, reverse=True) and adds[-1] > 0
        for each in firings:
            position = tokens.spans.index(each.span)
            assert each.activation == pytest.approx(float(latents[position, each.latent]), abs=1e-4)
            assert each.threshold == pytest.approx(float(bundle.coder.threshold[each.latent]))
            assert each.activation > each.threshold


def test_a_latent_that_is_read_through_two_slots_stands_there_once_with_both_weights() -> None:
    weights = torch.zeros(4, D_SAE)
    weights[:, 3] = torch.tensor([1.0, 10.0, 100.0, 1000.0])
    bundle = bundle_of()
    bundle = replace(bundle, readout=replace(bundle.readout, weights=weights))
    bundle.coder.b_enc[3] = 50.0
    text = "x = a\n"
    tokens = TokenizedText([0, 1, 2], [TextSpan(0, 0), TextSpan(0, 4), TextSpan(4, 6)])
    (site,) = candidate_sites(text)
    scores = score_sites(resid_of(tokens), text, tokens, [site], bundle)
    (firing,) = scores.evidence[0]
    assert firing.weight == 1111.0 and firing.span == TextSpan(4, 6)


def test_evidence_is_given_from_the_loosest_threshold_on() -> None:
    tokens, sites = tokenized(TEXT), candidate_sites(TEXT)
    logits = score_sites(resid_of(tokens), TEXT, tokens, sites, bundle_of()).logits
    middle = sorted(logits)[len(logits) // 2]
    calibration = Calibration(scale=1.0, offset=0.0, prior=0.5, thresholds={1.0: 99.0, 5.0: middle})
    scores = score_sites(resid_of(tokens), TEXT, tokens, sites, bundle_of(calibration=calibration))
    assert set(scores.evidence) == {i for i, logit in enumerate(logits) if logit >= middle}


def test_a_site_of_a_kind_without_a_bias_or_behind_the_last_token_has_no_score() -> None:
    bundle, tokens, sites = bundle_of(), tokenized(TEXT), candidate_sites(TEXT)
    bundle = replace(bundle, readout=replace(bundle.readout, kind_bias={"name": 0.0}))
    short = TokenizedText(tokens.ids[:8], tokens.spans[:8])
    logits = score_sites(resid_of(short), TEXT, short, sites, bundle).logits
    last = short.spans[-1].end
    for site, logit in zip(sites, logits, strict=True):
        assert math.isnan(logit) == (site.kind != "name" or site.span.end > last)


def test_a_readout_without_weights_gives_each_kind_its_bias() -> None:
    bundle, tokens, sites = bundle_of(), tokenized(TEXT), candidate_sites(TEXT)
    bundle = replace(bundle, readout=replace(bundle.readout, weights=torch.zeros(4, D_SAE)))
    scores = score_sites(resid_of(tokens), TEXT, tokens, sites, bundle)
    assert scores.logits == tuple(bundle.readout.kind_bias[site.kind] for site in sites)


def test_without_sites_there_is_nothing_to_score() -> None:
    tokens = tokenized(TEXT)
    assert score_sites(resid_of(tokens), TEXT, tokens, [], bundle_of()).logits == ()


def test_wide_coders_are_encoded_in_the_models_own_dtype_and_stay_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle, tokens, sites = bundle_of(), tokenized(TEXT), candidate_sites(TEXT)
    resid = resid_of(tokens).bfloat16()
    exact = score_sites(resid, TEXT, tokens, sites, bundle).logits
    monkeypatch.setattr(scoring, "WIDEST_EXACT", 1)
    rounded = score_sites(resid, TEXT, tokens, sites, bundle).logits
    assert rounded != exact
    assert rounded == pytest.approx(exact, abs=0.5)


def test_as_many_rows_as_prompts_are_needed() -> None:
    with pytest.raises(InputError, match="expected a row of activations per prompt, got 2 for 1"):
        SiteScorer(bundle_of()).score(torch.zeros(2, 3, D_MODEL), [SitePrompt("", [TextSpan(0, 0)], [])])

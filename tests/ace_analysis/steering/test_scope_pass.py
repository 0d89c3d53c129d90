"""One pass over all variants says of each what a pass over it alone says."""

import math
from collections.abc import Callable

import pytest
import torch

from ace_analysis.errors import Cancelled, FingerprintError
from ace_analysis.features.bundle import Bundle
from ace_analysis.features.scoring import SitePrompt, SiteScorer
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.hooks import hooks
from ace_analysis.source.document import TextSpan
from ace_analysis.source.sites import candidate_sites
from ace_analysis.steering import scope_pass
from ace_analysis.steering.scope_pass import ScopePass, ScopeScores, ScopeText

HEADER = "class Stack:\n"
TEXT = """    def pop(self, items):
        if len(items) == 0:
            return None
        return items[0]
"""
LINE = "if len(items) == 0:"
OTHERS = ("if len(items) != 0:", "if not items:", "if len(items) == 1 and items:")


def scope_text(line: str) -> ScopeText:
    text = TEXT.replace(LINE, line)
    start = text.index(line)
    return ScopeText(text, TextSpan(start, start + len(line)), len(text))


def alone(causal: CausalModel, text: str, skipped: int) -> float:
    """The log-probability of a prompt's tokens from the first that differs on, by the plain model."""
    ids = causal.tokenizer.encode(HEADER + text).ids
    with torch.no_grad():
        logprobs = causal.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(float(logprobs[at - 1, ids[at]]) for at in range(skipped, len(ids)))


def shared(causal: CausalModel) -> int:
    rows = [causal.tokenizer.encode(HEADER + scope_text(line).text).ids for line in (LINE, *OTHERS)]
    return next(at for at in range(len(rows[0])) if len({row[at] for row in rows}) > 1)


@pytest.mark.parametrize("at_once", [7, 256])
def test_each_likelihood_is_that_of_the_text_alone(
    causal: CausalModel, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scope_pass, "TOKENS_AT_ONCE", at_once)
    texts = [scope_text(line) for line in (LINE, *OTHERS)]
    expected = [alone(causal, each.text, shared(causal)) for each in texts]
    assert ScopePass(causal, HEADER).logprobs(texts) == pytest.approx(expected, abs=2e-2)


def test_scores_cost_the_blocks_up_to_the_readouts(
    qwen: CausalModel, bundle_for: Callable[..., Bundle]
) -> None:
    bundle, run = bundle_for(), list[int]()
    watched = [
        (block, lambda module, arguments, at=at: run.append(at)) for at, block in enumerate(qwen.blocks)
    ]
    with hooks(before=watched):
        ScopePass(qwen, HEADER).scores(bundle, [scope_text(line) for line in (LINE, *OTHERS)])
    assert run == list(range(bundle.layer + 1))


def test_each_score_is_the_scans(qwen: CausalModel, bundle_for: Callable[..., Bundle]) -> None:
    bundle = bundle_for()
    texts = [scope_text(line) for line in (LINE, *OTHERS)]
    readings = ScopePass(qwen, HEADER).scores(bundle, texts)
    scorer = SiteScorer(bundle)
    for each, reading in zip(texts, readings, strict=True):
        prompt = HEADER + each.text
        tokens = qwen.tokenizer.encode(prompt)
        sites = [site for site in candidate_sites(each.text) if scorer.can_score(site)]
        moved = [type(site)(site.span.shifted(len(HEADER)), site.kind, site.text) for site in sites]
        resid = qwen.scanner.resid_post(torch.tensor([tokens.ids]), bundle.layer)
        (expected,) = scorer.score(resid, [SitePrompt(prompt, tokens.spans, moved)])
        assert [site.span for site in reading.sites] == [site.span for site in sites]
        assert [site.logit for site in reading.sites] == pytest.approx(expected.logits, abs=1e-3)
        assert {site.span for site in reading.sites if site.in_region} == {
            site.span for site in sites if each.region.start <= site.span.start < each.region.end
        }


def test_what_lies_behind_the_end_is_not_read(qwen: CausalModel, bundle_for: Callable[..., Bundle]) -> None:
    whole = map(scope_text, (LINE, *OTHERS))
    short = [ScopeText(each.text, each.region, each.region.end + 1) for each in whole]
    for each, reading in zip(short, ScopePass(qwen, HEADER).scores(bundle_for(), short), strict=True):
        assert all(site.span.end <= each.end for site in reading.sites)
        assert reading.highest(in_region=True) > -math.inf


def test_a_text_without_sites_has_no_highest_score() -> None:
    assert ScopeScores().highest(in_region=True) == -math.inf


def test_it_can_be_stopped(qwen: CausalModel, bundle_for: Callable[..., Bundle]) -> None:
    reader, texts = ScopePass(qwen, HEADER), [scope_text(LINE), scope_text(OTHERS[0])]
    with pytest.raises(Cancelled, match="nothing was changed"):
        reader.logprobs(texts, lambda: True)
    with pytest.raises(Cancelled):
        reader.scores(bundle_for(), texts, lambda: True)


def test_another_models_bundle_is_refused(qwen: CausalModel, bundle_for: Callable[..., Bundle]) -> None:
    with pytest.raises(FingerprintError):
        ScopePass(qwen, HEADER).scores(bundle_for(fingerprint="0" * 64), [scope_text(LINE)])

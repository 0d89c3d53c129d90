"""Why the real model says what it says: its own numbers, split, and held against taking parts out of it."""

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.frozen import freeze
from ace_analysis.decomposition.logits import logits_of
from ace_analysis.decomposition.patching import ablate
from ace_analysis.decomposition.relp import OnePassOptions, one_pass
from ace_analysis.decomposition.targets import ReadoutTarget
from ace_analysis.features.bundle import Bundle, find_bundle
from ace_analysis.features.positions import site_positions
from ace_analysis.features.scoring import SitePrompt, SiteScorer
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.model.store import resolve_model
from ace_analysis.settings import DEFAULT_MODEL
from ace_analysis.source.sites import candidate_sites

pytestmark = [pytest.mark.model, pytest.mark.slow]

CLAMP = """\
def clamp(value: float, low: float, high: float) -> float:
    if value < low:
        return high
    if value > high:
        return high
    return value
"""
"""Its first return gives the wrong bound, and a scan finds that."""


@pytest.fixture(scope="module")
def scanner() -> ResidualScanner:
    return load_scanner(DEFAULT_MODEL, device="cpu", dtype="float32", n_blocks=10)


@pytest.fixture(scope="module")
def bundle(scanner: ResidualScanner) -> Bundle:
    return find_bundle(scanner.info.name, scanner.info.fingerprint)


@pytest.fixture(scope="module")
def finding(scanner: ResidualScanner, bundle: Bundle) -> tuple[Tensor, ReadoutTarget, float]:
    """The text's ids, the wrong name's score as a target, and the score that a scan gives it."""
    tokenized = scanner.tokenizer.encode(CLAMP)
    site = next(each for each in candidate_sites(CLAMP) if each.span.start == CLAMP.index("return high") + 7)
    ids = torch.tensor([tokenized.ids])
    (positions,) = site_positions(CLAMP, tokenized.spans, [site.span], bundle.readout.slots).tolist()
    resid = scanner.resid_post(ids, bundle.layer)
    (scores,) = SiteScorer(bundle).score(resid, [SitePrompt(CLAMP, tokenized.spans, [site])])
    return ids, ReadoutTarget(bundle, tuple(positions), site.kind), scores.logits[0]


def test_the_written_out_forward_pass_gives_the_models_logits() -> None:
    from transformers import AutoModelForCausalLM

    folder = resolve_model(DEFAULT_MODEL).folder
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    ids = torch.tensor([[151643, 750, 912, 2877, 11, 293, 982, 262, 470, 264, 481, 293]])
    anatomy = Anatomy.of(plain)
    with torch.no_grad():
        expected = plain(ids).logits[0]
        got = logits_of(anatomy, freeze(anatomy, ids, anatomy.n_blocks).resid)
    del plain, anatomy
    gc.collect()
    assert (got - expected).abs().max() < 1e-3
    assert torch.equal(got.argmax(-1), expected.argmax(-1))


@pytest.mark.parametrize("nodes", ["mixed", "frozen"])
def test_a_findings_score_is_its_tokens_and_the_constants(
    scanner: ResidualScanner, finding: tuple[Tensor, ReadoutTarget, float], nodes: str
) -> None:
    ids, target, score = finding
    options = OnePassOptions(nodes="mixed" if nodes == "mixed" else "frozen")
    scores = one_pass(Anatomy.of(scanner), ids, target, options=options)
    assert score > target.bundle.calibration.threshold(1.0)
    assert scores.total == pytest.approx(score, abs=2e-3)
    assert abs(scores.unexplained) < 2e-3
    assert scores.unit == "log-odds" and scores.heads.shape == (10, 14)


def test_one_pass_agrees_with_taking_each_head_and_mlp_out(
    scanner: ResidualScanner, finding: tuple[Tensor, ReadoutTarget, float]
) -> None:
    """All 150 of them, with the latents that fire held, and as they then fire."""
    ids, target, _ = finding
    exact = ablate(scanner, ids, None, target)
    scores = one_pass(Anatomy.of(scanner), ids, target)
    estimate = torch.tensor([scores[node] for node in exact.nodes], dtype=torch.float64)
    assert len(exact.nodes) == 150
    assert pearson(estimate, exact.linear_effects) > 0.85
    assert pearson(estimate, exact.effects) > 0.75


def test_all_heads_cost_no_more_than_three_plain_forward_passes(
    scanner: ResidualScanner, finding: tuple[Tensor, ReadoutTarget, float]
) -> None:
    """Multiplications are counted, not seconds: those of the scan's own pass over the same text."""
    ids, target, _ = finding
    ids = ids[:, : target.last_position(ids.shape[1]) + 1]
    anatomy = Anatomy.of(scanner)
    plain = multiplications(lambda: scanner.resid_post(ids, 9))
    explained = multiplications(lambda: one_pass(anatomy, ids, target))
    assert 0 < plain < explained <= 3 * plain


class Multiplications(TorchDispatchMode):
    """Counts those of the matrix products that are run in it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        done = func(*args, **(kwargs or {}))
        operations = flop_registry.get(func._overloadpacket)
        if operations is not None:
            self.count += operations(*args, **(kwargs or {}), out_val=done) // 2
        return done


def multiplications(run: Callable[[], object]) -> int:
    with Multiplications() as counted, torch.no_grad():
        run()
    return counted.count


def pearson(first: Tensor, second: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([first.double(), second.double()]))[0, 1])

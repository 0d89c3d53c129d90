"""PAHQ on the real weights: memory falls, a head in focus is exact, scores hold, and nothing is lost."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ace_analysis import PAHQQuantizer, QuantizationConfig
from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.relp import one_pass
from ace_analysis.decomposition.scores import NodeScores
from ace_analysis.decomposition.targets import HeadTarget
from ace_analysis.evaluation.attribution_agreement import correlations
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.quantization.memory import resident_bytes, weight_bytes
from ace_analysis.settings import DEFAULT_MODEL

pytestmark = [pytest.mark.model, pytest.mark.slow]

LAYER = 9
MEGABYTE = 2**20
HEAD_DIM, GROUP = 64, 7


@pytest.fixture(scope="module")
def scanner() -> ResidualScanner:
    return load_scanner(DEFAULT_MODEL, device="cpu", dtype="float32", n_blocks=LAYER + 1)


@pytest.fixture(scope="module")
def ids(scanner: ResidualScanner) -> Tensor:
    text = "def mean(values):\n    total = 0.0\n    for value in values:\n        total += value\n    return"
    return torch.tensor([scanner.tokenizer.encode(text).ids])


def weights_of(scanner: ResidualScanner) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in scanner.decoder.state_dict().items()}


def scores_of(scanner: ResidualScanner, ids: Tensor) -> NodeScores:
    return one_pass(Anatomy.of(scanner), ids, HeadTarget(LAYER, 3))


def test_an_int8_background_saves_memory_keeps_the_scores_and_loses_nothing(
    scanner: ResidualScanner, ids: Tensor
) -> None:
    exact, reference = weights_of(scanner), scanner.resid_post(ids, LAYER)
    scores = scores_of(scanner, ids)
    pahq = PAHQQuantizer(
        scanner, QuantizationConfig(target_precision=torch.float32, background_precision=torch.int8)
    )
    report = pahq.quantize_background()

    # Ten blocks of 14.9 million weights, from four bytes to one each; all of them are in the model's files.
    assert report.matrices == 70 and report.written_bytes == 0
    assert report.bytes_before - report.bytes_after > 420 * MEGABYTE
    assert report.bytes_after == weight_bytes(scanner.decoder)
    if report.resident_before is not None and report.resident_after is not None:
        assert report.resident_before - report.resident_after > 350 * MEGABYTE
    assert report.relative_error < 0.02

    rounded = scanner.resid_post(ids, LAYER)
    error = ((rounded - reference).norm() / reference.norm()).item()
    assert 0 < error < 0.05
    pearson, spearman = correlations(scores.heads.flatten(), scores_of(scanner, ids).heads.flatten()) or (
        0,
        0,
    )
    assert pearson > 0.95 and spearman > 0.9

    attention: Any = scanner.decoder.get_submodule("layers.5.self_attn")
    with pahq.focus_on_head(layer=5, head=9):
        for role, number in (("q", 9), ("k", 9 // GROUP), ("v", 9 // GROUP)):
            rows = slice(number * HEAD_DIM, (number + 1) * HEAD_DIM)
            original = exact[f"layers.5.self_attn.{role}_proj.weight"][rows]
            assert torch.equal(getattr(attention, f"{role}_proj").weight[rows], original)

    pahq.restore()
    now = scanner.decoder.state_dict()
    assert all(torch.equal(now[name], value) for name, value in exact.items())
    assert torch.equal(scanner.resid_post(ids, LAYER), reference)


def test_weights_that_are_stored_in_bf16_lose_nothing_in_a_bf16_background(
    scanner: ResidualScanner, ids: Tensor
) -> None:
    reference, before = scanner.resid_post(ids, LAYER), resident_bytes()
    pahq = PAHQQuantizer(
        scanner, QuantizationConfig(target_precision=torch.float32, background_precision=torch.bfloat16)
    )
    report = pahq.quantize_background()
    assert report.relative_error == 0.0
    assert torch.equal(scanner.resid_post(ids, LAYER), reference)
    after = resident_bytes()
    pahq.restore()
    assert before is None or after is None or before - after > 200 * MEGABYTE

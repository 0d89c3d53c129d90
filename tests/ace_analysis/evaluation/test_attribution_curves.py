"""Faithfulness as a ratio of sums, the areas under its curve, and the real ablations behind it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ace_analysis.decomposition.ablator import upstream_nodes
from ace_analysis.decomposition.patching import prepare
from ace_analysis.decomposition.targets import LogitDifference
from ace_analysis.errors import InputError
from ace_analysis.evaluation.attribution_curves import (
    SHARES,
    CurveValues,
    curve_values,
    curves_of,
    kept_counts,
)

IDS = torch.tensor([[0, 17, 42, 8, 42, 31, 5, 77, 12, 9]])
TARGET = LogitDifference(12, 30, 8)


def values(*points: float) -> CurveValues:
    return CurveValues(points, points)


LINE = values(*SHARES)
"""As much as the share of the nodes."""


@pytest.fixture(scope="module")
def model(tiny_qwen2: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_qwen2, dtype=torch.float64, local_files_only=True).eval()


def test_a_curve_that_is_all_there_at_once_has_the_whole_area() -> None:
    found = curves_of([values(0.0, *[2.0] * 9)])
    assert found.by_push == (0.0, *[1.0] * 9)
    assert found.cpr.value == pytest.approx(1 - SHARES[1] / 2)
    assert found.cmd.value == pytest.approx(SHARES[1] / 2)


def test_a_curve_that_grows_with_the_share_has_half_the_area() -> None:
    found = curves_of([LINE])
    assert found.cpr.value == pytest.approx(0.5) and found.cmd.value == pytest.approx(0.5)
    assert np.isnan(found.cpr.low)


def test_faithfulness_is_a_ratio_of_sums_over_texts() -> None:
    strong = values(*(10 * share for share in SHARES))
    flat = values(0.0, *[1.0] * 9)
    found = curves_of([strong, flat])
    assert found.by_push[5] == pytest.approx((10 * SHARES[5] + 1) / 11)
    assert found.cpr.low <= found.cpr.value <= found.cpr.high


def test_a_target_that_the_nodes_lower_counts_as_much_as_one_that_they_raise() -> None:
    lowered = values(*(-share for share in SHARES))
    assert curves_of([lowered, LINE]).by_push == pytest.approx(curves_of([LINE]).by_push)


def test_no_text_is_refused() -> None:
    with pytest.raises(InputError, match="needs at least one text"):
        curves_of([])


def test_at_least_one_node_is_kept_behind_the_first_share() -> None:
    assert kept_counts(20) == [0, 1, 1, 1, 1, 1, 2, 4, 10, 20]
    assert kept_counts(1000)[:3] == [0, 2, 5]


def test_the_points_are_real_ablations_of_all_but_the_best(model: Any) -> None:
    prepared = prepare(model, IDS, TARGET)
    nodes = upstream_nodes(prepared.run.model.anatomy, prepared.bound.site)
    scores = torch.randn(len(nodes), generator=torch.Generator().manual_seed(0))
    found = curve_values(prepared, nodes, scores)
    whole, none = prepared.values([(), nodes])[0].tolist()
    sign = 1 if whole >= none else -1
    for order, points in (((sign * scores), found.by_push), (scores.abs(), found.by_size)):
        ranked = [nodes[at] for at in order.argsort(descending=True).tolist()]
        for count, value in zip(kept_counts(len(nodes)), points, strict=True):
            assert value == pytest.approx(prepared.values([ranked[count:]])[0].item(), abs=1e-6)
    assert found.by_push[0] == pytest.approx(none) and found.by_size[-1] == pytest.approx(whole)

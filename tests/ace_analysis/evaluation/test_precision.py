"""What a background is said to cost is what it costs: nothing where nothing is rounded, or only elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from ace_analysis.decomposition.patching import ablate
from ace_analysis.decomposition.targets import LogitDifference, LogitTarget
from ace_analysis.errors import Cancelled, InputError, SettingsError
from ace_analysis.evaluation.precision import (
    EDGES,
    EXACT,
    IN_FOCUS,
    ONE_PASS,
    ROUNDED,
    PrecisionCase,
    PrecisionOptions,
    agreement,
    measure_precision,
)

CASES = [
    PrecisionCase(torch.arange(5, 17), LogitTarget(9)),
    PrecisionCase(torch.arange(40, 49), LogitDifference(actual=7, alternative=8)),
]


@pytest.fixture
def model(tiny_qwen2: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_qwen2, dtype=torch.float32).eval()


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_a_background_that_rounds_nothing_agrees_wholly_with_every_method(model: Any) -> None:
    options = PrecisionOptions(backgrounds=("fp32",), heads=3)
    report = measure_precision(model, CASES, options)
    (row,) = report.rows
    assert set(row.agreement) == {EXACT, ONE_PASS, EDGES, ROUNDED, IN_FOCUS}
    for agreed in row.agreement.values():
        assert agreed.error < 1e-5
        assert agreed.spearman == pytest.approx(1.0) and agreed.pearson == pytest.approx(1.0)
    assert (report.cases, report.tokens) == (2, 12 + 9)
    assert row.agreement[EXACT].scores == 2 * 4 * (4 + 1)
    assert row.agreement[IN_FOCUS].scores == 2 * 3


def test_narrower_backgrounds_agree_less_and_hold_less(model: Any) -> None:
    report = measure_precision(model, CASES, PrecisionOptions(backgrounds=("bf16", "fp8"), heads=0))
    bf16, fp8 = report.rows
    for method in (EXACT, ONE_PASS, EDGES):
        assert 0 < bf16.agreement[method].error < fp8.agreement[method].error
        assert bf16.agreement[method].pearson > fp8.agreement[method].pearson  # pyright: ignore
    assert fp8.quantization.bytes_after < bf16.quantization.bytes_after < bf16.quantization.bytes_before
    assert IN_FOCUS not in fp8.agreement and set(fp8.seconds) == set(report.seconds) == {
        EXACT,
        ONE_PASS,
        EDGES,
    }


def test_the_model_is_given_back_bit_for_bit_even_when_cancelled(model: Any) -> None:
    before = state(model)
    measure_precision(model, CASES[:1], PrecisionOptions(backgrounds=("int8",), heads=1))
    assert all(torch.equal(value, before[name]) for name, value in state(model).items())
    told: list[str] = []
    with pytest.raises(Cancelled):
        measure_precision(
            model,
            CASES[:1],
            PrecisionOptions(backgrounds=("int8",)),
            progress=lambda message, fraction: told.append(message),
            cancelled=lambda: len(told) > 1,
        )
    assert told == ["scoring in full precision", "scoring with a background in int8"]
    assert all(torch.equal(value, before[name]) for name, value in state(model).items())


def test_a_head_in_focus_keeps_its_score_where_it_alone_is_rounded(model: Any) -> None:
    """All weights are made such that int8 holds them exactly; then those of the highest head are not."""
    generator = torch.Generator().manual_seed(0)
    for layer in model.model.layers:
        for linear in (each for each in layer.modules() if isinstance(each, nn.Linear)):
            whole = torch.randint(-127, 128, linear.weight.shape, generator=generator).float()
            whole[:, 0] = 127
            linear.weight.data = whole / 512
    (case,) = CASES[:1]
    found = ablate(model, case.ids, None, case.target)
    best: Any = max(
        (at for at, node in enumerate(found.nodes) if hasattr(node, "head")),
        key=lambda at: abs(float(found.effects[at])),
    )
    head: Any = found.nodes[best]
    rows = model.model.layers[head.layer].self_attn.q_proj.weight.data[head.head * 8 : (head.head + 1) * 8]
    rows[:, 1:] += 0.4 / 512 * torch.rand(rows[:, 1:].shape, generator=generator)
    options = PrecisionOptions(backgrounds=("int8",), heads=1, edges=False)
    (row,) = measure_precision(model, [case], options).rows
    assert row.agreement[ROUNDED].error > 1e-4
    assert row.agreement[IN_FOCUS].error < 0.05 * row.agreement[ROUNDED].error


def test_without_a_case_there_is_nothing_to_measure(model: Any) -> None:
    with pytest.raises(InputError, match="expected at least one case to measure, got none"):
        measure_precision(model, [])


def test_an_unknown_background_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"expected backgrounds among fp64, fp32, .*, got 'int4'"):
        PrecisionOptions(backgrounds=("int4",))


def test_a_negative_number_of_heads_is_refused() -> None:
    with pytest.raises(SettingsError, match="expected a number of heads from 0 up, got -1"):
        PrecisionOptions(heads=-1)


def test_a_background_wider_than_the_model_is_refused_before_anything_is_run(model: Any) -> None:
    with pytest.raises(SettingsError, match="narrower than the target's"):
        measure_precision(model, CASES, PrecisionOptions(backgrounds=("fp64",)))


def test_agreement_is_told_of_ranks_and_of_sizes() -> None:
    first = np.array([1.0, 2.0, 3.0, 4.0, 0.0])
    same = agreement([first, first], [first, first])
    assert (same.spearman, same.pearson, same.lowest_spearman) == pytest.approx((1.0, 1.0, 1.0))
    assert (same.error, same.scores) == (0.0, 8)
    bent = agreement([first, first], [first**3, -first])
    assert bent.lowest_spearman == pytest.approx(-1.0) and bent.spearman == pytest.approx(0.0)
    assert bent.error == pytest.approx((np.abs(first**3 - first).sum() + 20) / 20)


def test_agreement_over_too_few_scores_is_none() -> None:
    few = agreement([[1.0, 2.0]], [[2.0, 1.0]])
    assert few.spearman is None and few.pearson is None and few.lowest_spearman is None
    assert few.error == pytest.approx(2 / 3)


def test_scores_that_do_not_stand_opposite_each_other_are_refused() -> None:
    with pytest.raises(InputError, match="expected a score for each effect"):
        agreement([[1.0, 2.0, 3.0]], [[1.0, 2.0]])

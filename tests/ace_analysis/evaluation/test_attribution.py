"""Texts are measured once, piece by piece, and what is told of them is what was measured."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ace_analysis.decomposition.patching import HOWS, ablate
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.evaluation.attribution import (
    CURVE,
    EXACT,
    ONE_BY_ONE,
    PLAIN,
    RANDOM,
    AttributionOptions,
    Measured,
    hows_of,
    measure_prompts,
)
from ace_analysis.evaluation.attribution_agreement import correlations
from ace_analysis.evaluation.attribution_methods import EAP, FAST, ONE_PASS, PAPER
from ace_analysis.evaluation.attribution_prompts import AttributionPrompt, PromptOptions, finding_prompts
from ace_analysis.evaluation.attribution_records import LINES, Records
from ace_analysis.evaluation.attribution_report import LINEAR, report_of
from ace_analysis.features.bundle import Bundle
from ace_analysis.model.loading import load_scanner
from ace_analysis.source.corpus import CodeFunction

OPTIONS = AttributionOptions(methods=(ONE_PASS, EAP, PAPER), slow_prompts=1, one_by_one=1)


@pytest.fixture(scope="module")
def measured(tiny_qwen2: Path, tiny_bundle: Bundle) -> Measured:
    scanner = load_scanner(str(tiny_qwen2), device="cpu", dtype="float32", n_blocks=2)
    return Measured(scanner, lambda ids: scanner.resid_post(ids, tiny_bundle.layer), tiny_bundle)


@pytest.fixture(scope="module")
def prompts(few_functions: list[CodeFunction], measured: Measured) -> list[AttributionPrompt]:
    options = PromptOptions(count=2, fewest_tokens=8, most_tokens=160)
    return finding_prompts(few_functions, measured.model, measured.bundle, options)


@pytest.fixture(scope="module")
def records(
    tmp_path_factory: pytest.TempPathFactory, measured: Measured, prompts: list[AttributionPrompt]
) -> Records:
    """Two texts, measured."""
    records = Records(tmp_path_factory.mktemp("records"), {})
    measure_prompts(measured, prompts, records, OPTIONS)
    return records


def test_every_piece_is_there(records: Records, prompts: list[AttributionPrompt]) -> None:
    first, second = (prompt.name for prompt in prompts)
    for name in (first, second):
        assert records.get(name, PLAIN)
        for how in HOWS:
            assert records.get(name, EXACT, how) and records.get(name, EAP, how)
        for ranked in (EXACT, RANDOM, ONE_PASS, EAP):
            assert records.get(name, CURVE + ranked, "counterfactual")
    assert records.get(first, PAPER, "zero") and records.get(first, ONE_BY_ONE, "zero")
    assert records.get(second, PAPER, "zero") is None and records.get(second, ONE_BY_ONE, "zero") is None
    assert records.get(first, PAPER, "mean") is None


def test_effects_are_those_of_exact_ablation(
    records: Records, prompts: list[AttributionPrompt], measured: Measured
) -> None:
    prompt = prompts[1]
    found = ablate(measured.model, torch.tensor([prompt.ids]), None, prompt.target(measured.bundle))
    record = records.get(prompt.name, EXACT, "zero") or {}
    assert record["effects"] == pytest.approx(found.effects.tolist(), abs=1e-5)
    assert (records.get(prompt.name, PLAIN) or {})["nodes"] == [str(node) for node in found.nodes]


def test_what_is_there_is_not_measured_again(
    records: Records, prompts: list[AttributionPrompt], measured: Measured
) -> None:
    path = records.folder / LINES
    before = path.read_text(encoding="utf-8")
    measure_prompts(measured, prompts, Records(records.folder, {}), OPTIONS)
    assert path.read_text(encoding="utf-8") == before


def test_a_measurement_that_was_stopped_goes_on(
    tmp_path: Path, prompts: list[AttributionPrompt], measured: Measured
) -> None:
    calls = 0

    def later() -> bool:
        nonlocal calls
        calls += 1
        return calls > 30

    records = Records(tmp_path, {})
    with pytest.raises(Cancelled, match="what was measured is kept"):
        measure_prompts(measured, prompts[:1], records, OPTIONS, cancelled=later)
    kept = len(Records(tmp_path, {}))
    assert kept > 0
    told: list[float | None] = []
    again = Records(tmp_path, {})
    measure_prompts(measured, prompts[:1], again, OPTIONS, progress=lambda message, share: told.append(share))
    assert len(again) > kept and told == sorted(told, key=lambda share: share or 0.0)
    for line in (tmp_path / LINES).read_text(encoding="utf-8").splitlines():
        assert json.loads(line)["prompt"] == prompts[0].name


def test_the_report_is_what_the_records_say(records: Records, prompts: list[AttributionPrompt]) -> None:
    report = report_of(records, prompts, OPTIONS)
    assert report["prompts"] == 2 and report["nodes"] == 10 and report["projects"] >= 1
    pearsons = []
    for prompt in prompts:
        exact, scored = (records.get(prompt.name, part, "mean") or {} for part in (EXACT, EAP))
        pearsons.append((correlations(exact["effects"], scored["scores"]) or (0, 0))[0])
    told = report["agreement"]["mean"][EAP]
    assert told["prompts"] == 2 and told["all"]["pearson"]["value"] == pytest.approx(sum(pearsons) / 2)
    assert set(report["agreement"]) == {*HOWS} and PAPER not in report["agreement"]["mean"]
    assert report["agreement"]["zero"][PAPER]["prompts"] == 1
    assert report["agreement"]["zero"][LINEAR]["all"]["pearson"]["value"] <= 1
    linear = report["agreement_linear"]["zero"]
    assert LINEAR not in linear and linear[EAP]["prompts"] == 2
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_costs_are_in_forward_passes_of_the_same_text(
    records: Records, prompts: list[AttributionPrompt]
) -> None:
    report = report_of(records, prompts[:1], OPTIONS)
    plain = (records.get(prompts[0].name, PLAIN) or {})["seconds"]
    for part in (EXACT, ONE_BY_ONE, ONE_PASS, PAPER):
        seconds = (records.get(prompts[0].name, part, "zero") or {})["seconds"]
        told = report["cost"][part]
        assert told["seconds"] == seconds and told["forward_passes"] == pytest.approx(seconds / plain)
    one_pass = (records.get(prompts[0].name, ONE_PASS, "zero") or {})["seconds"]
    assert report["speed"]["one_pass_in_forward_passes"] == pytest.approx(one_pass / plain)
    assert report["speed"]["exact_batched_beside_one_pass"] == pytest.approx(
        report["cost"][EXACT]["seconds"] / one_pass
    )


def test_curves_are_told_for_every_ranking(records: Records, prompts: list[AttributionPrompt]) -> None:
    curves: Any = report_of(records, prompts, OPTIONS)["curves"]
    assert set(curves) == {EXACT, RANDOM, ONE_PASS, EAP}
    for told in curves.values():
        assert told["prompts"] == 2 and told["by_push"][0] == 0 and told["by_push"][-1] == pytest.approx(1)


def test_a_report_of_nothing_says_so() -> None:
    class Nothing:
        def get(self, *_: str) -> None:
            return None

    report = report_of(Nothing(), [], OPTIONS)  # pyright: ignore
    assert report["prompts"] == 0 and report["tokens"] is None and report["curves"] == {}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"methods": ("guess",)}, "methods: expected some of one-pass.*got 'guess'"),
        ({"hows": ()}, "hows: expected some of zero, mean, counterfactual"),
    ],
)
def test_what_can_not_be_measured_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AttributionOptions(**wrong)


def test_sorts_of_ablation_have_names() -> None:
    assert hows_of(None) == HOWS and hows_of([]) == HOWS and hows_of(["mean"]) == ("mean",)
    with pytest.raises(InputError, match="how: expected one of zero, mean, counterfactual, got 'noise'"):
        hows_of(["noise"])


def test_curves_are_of_an_ablation_that_is_measured() -> None:
    assert AttributionOptions().curve_how == "counterfactual"
    assert AttributionOptions(hows=("zero", "mean")).curve_how == "zero"
    assert AttributionOptions(curves=None).curve_how is None


def test_without_curves_none_are_run(
    tmp_path: Path, prompts: list[AttributionPrompt], measured: Measured
) -> None:
    records = Records(tmp_path, {})
    options = AttributionOptions(hows=("zero",), methods=tuple(FAST), curves=None, one_by_one=0)
    measure_prompts(measured, prompts[:1], records, options)
    assert report_of(records, prompts[:1], options)["curves"] == {}

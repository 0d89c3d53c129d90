"""Texts to explain come in pairs of the same length, end where the target is read, and are the same again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.targets import LogitDifference, ReadoutTarget
from ace_analysis.errors import InputError
from ace_analysis.evaluation.attribution_prompts import (
    AttributionPrompt,
    PromptOptions,
    finding_prompts,
    token_prompts,
)
from ace_analysis.features.bundle import Bundle
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.source.corpus import CodeFunction

OPTIONS = PromptOptions(count=5, fewest_tokens=8, most_tokens=160)


@pytest.fixture(scope="module")
def scanner(tiny_qwen2: Path) -> ResidualScanner:
    return load_scanner(str(tiny_qwen2), device="cpu", dtype="float32", n_blocks=2)


@pytest.fixture(scope="module")
def findings(
    few_functions: list[CodeFunction], scanner: ResidualScanner, tiny_bundle: Bundle
) -> list[AttributionPrompt]:
    return finding_prompts(few_functions, scanner, tiny_bundle, OPTIONS)


@pytest.fixture(scope="module")
def tokens(few_functions: list[CodeFunction], scanner: ResidualScanner) -> list[AttributionPrompt]:
    return token_prompts(few_functions, scanner.tokenizer, OPTIONS)


def test_both_texts_have_tokens_opposite_each_other(
    findings: list[AttributionPrompt], tokens: list[AttributionPrompt]
) -> None:
    assert findings and tokens
    for prompt in (*findings, *tokens):
        assert len(prompt.ids) == len(prompt.counterfactual) and prompt.ids != prompt.counterfactual
        assert OPTIONS.fewest_tokens <= len(prompt.ids) <= OPTIONS.most_tokens


def test_a_finding_ends_with_the_last_token_that_its_site_is_read_at(
    findings: list[AttributionPrompt], tiny_bundle: Bundle, scanner: ResidualScanner
) -> None:
    for prompt in findings:
        target = prompt.target(tiny_bundle)
        assert isinstance(target, ReadoutTarget)
        assert target.last_position(len(prompt.ids)) == len(prompt.ids) - 1
        resid = scanner.resid_post(torch.tensor([prompt.ids]), tiny_bundle.layer)[0]
        value = target.bind(resid, Anatomy.of(scanner)).readout(resid)
        assert float(value) >= tiny_bundle.calibration.loosest


def test_a_token_follows_its_text(
    tokens: list[AttributionPrompt], few_functions: list[CodeFunction], scanner: ResidualScanner
) -> None:
    whole = [tuple(scanner.tokenizer.encode(each.header + each.text).ids) for each in few_functions]
    for prompt in tokens:
        assert any(ids[: len(prompt.ids) + 1] == (*prompt.ids, prompt.actual) for ids in whole)
        assert prompt.target(None) == LogitDifference(actual=prompt.actual)  # pyright: ignore


def test_names_tell_prompts_apart(findings: list[AttributionPrompt], tokens: list[AttributionPrompt]) -> None:
    names = [prompt.name for prompt in (*findings, *tokens)]
    assert len({*names}) == len(names)


def test_the_same_seed_gives_the_same_texts_and_fewer_are_the_first_of_more(
    findings: list[AttributionPrompt],
    few_functions: list[CodeFunction],
    scanner: ResidualScanner,
    tiny_bundle: Bundle,
) -> None:
    told: list[float | None] = []
    fewer = finding_prompts(
        few_functions,
        scanner,
        tiny_bundle,
        replace(OPTIONS, count=2),
        progress=lambda message, share: told.append(share),
    )
    assert fewer == findings[:2] and told[-1] == 1.0


def test_prompts_go_to_json_and_back(findings: list[AttributionPrompt]) -> None:
    import json
    from dataclasses import asdict

    for prompt in findings:
        assert AttributionPrompt.of(json.loads(json.dumps(asdict(prompt)))) == prompt


def test_texts_of_no_length_are_refused() -> None:
    with pytest.raises(InputError, match="expected texts of 2 tokens or more, got 30 to 20"):
        PromptOptions(fewest_tokens=30, most_tokens=20)


def test_without_functions_there_are_no_prompts(
    scanner: ResidualScanner, tiny_bundle: Bundle, few_functions: list[CodeFunction]
) -> None:
    nothing: Callable[[], list[AttributionPrompt]] = lambda: finding_prompts([], scanner, tiny_bundle)  # noqa: E731
    assert nothing() == [] and token_prompts([], scanner.tokenizer) == []

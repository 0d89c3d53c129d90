"""Explanations with the real model: of the example's planted bug, and of what the model expects."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from ace_analysis.cli import app
from ace_analysis.decomposition.nodes import Head
from ace_analysis.decomposition.patching import ablate
from ace_analysis.decomposition.targets import ReadoutTarget
from ace_analysis.engine import Engine, ExplainOptions, ScanOptions
from ace_analysis.features.positions import site_positions
from ace_analysis.report.attribution import Attribution, TargetKind
from ace_analysis.settings import load_settings
from ace_analysis.source.document import CodeDocument
from ace_analysis.source.syntax import scopes_of

pytestmark = pytest.mark.model

EXAMPLE = Path(__file__).parents[2] / "ace_analysis/examples/buggy_example.py"
TEXT = EXAMPLE.read_text(encoding="utf-8")
BUG = TEXT.index('["name"] == users') + len('["name"] == ')


@pytest.fixture(scope="module")
def engine() -> Engine:
    """Nothing is kept from runs before: everything is computed here."""
    loaded = Engine.load(load_settings(None, {}))
    return Engine(loaded.scanner, loaded.bundle)


@pytest.fixture(scope="module")
def why(engine: Engine) -> Attribution:
    return engine.explain(document(), BUG)


def document() -> CodeDocument:
    return CodeDocument(uri=str(EXAMPLE), text=TEXT)


def test_the_planted_name_is_explained_by_its_own_score(engine: Engine, why: Attribution) -> None:
    reports = engine.scan(document(), options=ScanOptions(sites=True))
    score = next(site.score for report in reports for site in report.sites if site.span.start == BUG)
    assert (why.target.kind, why.target.text, why.unit) == (TargetKind.FINDING, "users", "log-odds")
    assert why.target.probability == score
    assert engine.bundle.calibration.probability(why.value) == pytest.approx(score, abs=1e-3)


def test_nothing_of_it_is_left_unexplained(why: Attribution) -> None:
    latents = why.constant + why.other_latents + sum(each.score for each in why.latents)
    tokens = why.constant_of_tokens + sum(each.score for each in why.tokens)
    assert latents == pytest.approx(why.value, abs=1e-2)
    assert abs(why.unexplained) < 1e-2 and tokens == pytest.approx(why.value, abs=2e-2)


def test_the_strongest_head_really_does_what_is_said(engine: Engine, why: Attribution) -> None:
    """Against the model itself: without the head, the score falls."""
    scope = next(each for each in scopes_of(TEXT) if each.span.start <= BUG < each.span.end)
    prompt = scope.prompt(TEXT)
    tokens = engine.scanner.tokenizer.encode(prompt)
    span = why.target.span.shifted(len(scope.header) - scope.span.start)
    positions = site_positions(prompt, tokens.spans, [span], engine.bundle.readout.slots)[0].tolist()
    target = ReadoutTarget(engine.bundle, tuple(positions), "name")
    strongest = why.heads[0]
    ids = torch.tensor(tokens.ids)
    result = ablate(engine.scanner, ids, [Head(strongest.layer, strongest.head)], target)
    (effect,) = result.effects.tolist()
    assert strongest.score > 0.5 and effect > 0.25 * strongest.score


def test_the_tokens_of_the_comparison_have_a_part_in_it(why: Attribution) -> None:
    near = [each for each in why.tokens if each.span and abs(each.span.start - BUG) < 40]
    assert max(abs(each.score) for each in near) >= 0.5 * abs(why.tokens[0].score)


def test_the_full_model_says_what_it_expects_at_the_planted_name(engine: Engine) -> None:
    expected = engine.explain(document(), BUG, options=ExplainOptions(expectation=True))
    assert (expected.unit, expected.target.text.strip()) == ("logits", "users")
    assert expected.value < 0 and (expected.target.alternative or "").strip() == "name"
    assert expected.target.probability < 0.1 < (expected.target.alternative_probability or 0.0)
    assert len(expected.layers) == 24 and abs(expected.unexplained) < 0.05


def test_ace_explain_writes_it_as_json() -> None:
    line, column = document().line_column(BUG)
    done = CliRunner().invoke(app, ["explain", "-q", "--json", f"{EXAMPLE}:{line}:{column}"])
    told = json.loads(done.stdout)
    assert done.exit_code == 0 and told["target"]["kind"] == "finding"
    sizes = [abs(each["score"]) for each in told["heads"]]
    assert len(sizes) == 10 * 14 and sizes == sorted(sizes, reverse=True)

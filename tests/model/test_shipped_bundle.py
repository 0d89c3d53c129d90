"""What ships, with the real model: findings on the example, and evidence that holds."""

import ast
import heapq
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ace_analysis.cli import app
from ace_analysis.engine import Engine, ScanOptions
from ace_analysis.features.bundle import SHIPPED, Bundle
from ace_analysis.features.detector import SAEDetector
from ace_analysis.features.examples import BUG, TreeOptions, batch_of, tree_of
from ace_analysis.model.loading import load_scanner
from ace_analysis.settings import DEFAULT_MODEL, load_settings
from ace_analysis.source.corpus import functions_of_file
from ace_analysis.source.document import CodeDocument
from ace_analysis.source.mutation import MutationGenerator, MutationPair, MutationType

pytestmark = pytest.mark.model

EXAMPLE = Path(__file__).parents[2] / "ace_analysis/examples/buggy_example.py"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(SHIPPED / DEFAULT_MODEL)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(load_settings(None, {}))


def test_the_bundle_is_small_enough_to_ship_and_keeps_what_it_promises(bundle: Bundle) -> None:
    assert (bundle.folder / "sparse_coder.safetensors").stat().st_size <= 64_000_000
    assert bundle.coder.d_sae >= 4096
    replicated = [feature for feature in bundle.catalog if feature.replicated]
    assert replicated and all(f.density <= 0.02 for f in bundle.catalog)
    assert all(feature.q_value <= 0.05 for feature in bundle.catalog)


def test_ace_check_finds_the_planted_name_in_the_example_and_says_why() -> None:
    done = CliRunner().invoke(app, ["check", "--quiet", "--json", str(EXAMPLE)])
    (file,) = json.loads(done.stdout)["files"]
    assert done.exit_code == 1
    line = next(
        i for i, text in enumerate(EXAMPLE.read_text().splitlines(), 1) if '["name"] == users' in text
    )
    found = next(each for each in file["findings"] if each["line"] == line)
    assert found["kind"] == "variable-misuse" and 0 < found["score"] < 1
    assert all(each["activation"] > each["threshold"] for each in found["evidence"])


def test_wrong_sites_of_the_example_score_above_the_same_sites_put_right(engine: Engine) -> None:
    wrong = EXAMPLE.read_text(encoding="utf-8")
    right = wrong.replace(
        "self.balance -= amount\n        self.history.append(amount)",
        "self.balance += amount\n        self.history.append(amount)",
    )
    right = right.replace('["name"] == users', '["name"] == name').replace(
        "if amount < self.balance", "if amount > self.balance"
    )
    assert right != wrong

    def total(text: str) -> float:
        scopes = engine.scan(CodeDocument(uri="example", text=text), options=ScanOptions(sites=True))
        return sum(site.score for scope in scopes for site in scope.sites)

    assert total(right) < total(wrong)


def test_a_branch_of_a_tree_has_the_activations_of_the_whole_mutant() -> None:
    scanner = load_scanner(DEFAULT_MODEL, device="cpu", dtype="float32", n_blocks=10)
    functions = functions_of_file(EXAMPLE, project="example")
    generator = MutationGenerator()
    tree = next(
        t for f in functions if (t := tree_of(f, generator, scanner.tokenizer.encode, TreeOptions(mutants=2)))
    )
    batch = batch_of([tree])
    resid = scanner.resid_post(
        batch.ids, 9, attention_mask=batch.attention_mask, position_ids=batch.position_ids
    )[0]
    row = next(row for row in tree.rows if row.label == BUG)
    inside = [i for i, number in enumerate(tree.branch) if number == row.variant]
    split = tree.parents[inside[0]]
    alone = scanner.resid_post(torch.tensor([[*tree.ids[:split], *(tree.ids[i] for i in inside)]]), 9)[0]
    np.testing.assert_allclose(resid[inside].numpy(), alone[split:].numpy(), rtol=2e-3, atol=2e-3)


def short_misuses(count: int) -> list[MutationPair]:
    """One misused variable in each of some short functions of the standard library."""
    modules = "bisect heapq textwrap colorsys fractions statistics fnmatch shlex calendar copy queue string"
    modules += " functools posixpath genericpath operator numbers random"
    paths = [Path(ast.__file__).with_name(f"{name}.py") for name in modules.split()]
    functions = [each for path in paths for each in functions_of_file(path, project="stdlib")]
    pairs: list[MutationPair] = []
    for function in functions:
        mutants = MutationGenerator().mutations_of(function.text) if len(function.text) < 320 else []
        pairs += [pair for pair in mutants if pair.mutation_type is MutationType.VARIABLE_MISUSE][:1]
    return pairs[:: len(pairs) // count][:count]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the pairs are of Python 3.11's standard library")
def test_the_detector_ranks_latents_of_the_shipped_coder_and_says_which_are_certain(bundle: Bundle) -> None:
    scanner = load_scanner(DEFAULT_MODEL, device="cpu", dtype="float32", n_blocks=bundle.layer + 1)
    detector = SAEDetector(scanner, bundle.layer)
    detector.load_sae(bundle.folder)
    pairs = short_misuses(32)
    features = detector.identify_error_features(
        positive_inputs=[pair.positive for pair in pairs], negative_inputs=[pair.negative for pair in pairs]
    )
    statistics = [feature.t_statistic for feature in features]
    assert len(pairs) == 32 and features and statistics == sorted(statistics, reverse=True)
    for feature in features:
        assert 0 <= feature.feature_idx < bundle.coder.d_sae
        assert feature.significant == (feature.q_value <= 0.05)
        assert feature.paired_t > 2 and feature.rate_buggy > feature.rate_matched
    assert statistics[0] > 2
    (detection,) = detector.detect([pairs[0].negative])
    assert len(detection.scores) == len(detection.ids) and max(detection.scores) > 0


def test_a_few_mixed_pairs_give_error_features_or_candidates_that_say_what_they_are(bundle: Bundle) -> None:
    """Two dozen bugs of all kinds prove little; the strongest latents are told with their q-values."""
    scanner = load_scanner(DEFAULT_MODEL, device="cpu", dtype="float32", n_blocks=bundle.layer + 1)
    detector = SAEDetector(scanner, bundle.layer)
    detector.use_sae(bundle.coder)
    texts = [each.text for each in functions_of_file(Path(heapq.__file__), project="stdlib")][:8]
    pairs = [pair for text in texts for pair in MutationGenerator(1).generate_pairs([text])[:3]]
    found = detector.identify_error_features(
        positive_inputs=[pair.positive for pair in pairs], negative_inputs=[pair.negative for pair in pairs]
    )
    assert len(pairs) >= 16 and found and len({feature.significant for feature in found}) == 1
    for feature in found:
        assert feature.significant == (feature.q_value <= 0.05) and feature.rate_buggy > feature.rate_matched

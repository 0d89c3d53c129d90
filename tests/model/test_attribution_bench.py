"""On the real weights: a finding's heads and MLPs are ablated, and the fast methods say the same."""

from pathlib import Path

import pytest
import torch

from ace_analysis.decomposition.ablator import Batching
from ace_analysis.decomposition.nodes import Mlp
from ace_analysis.decomposition.patching import AblationOptions, ablate
from ace_analysis.evaluation.attribution_agreement import correlations
from ace_analysis.evaluation.attribution_methods import EAP, ONE_PASS, Case, score
from ace_analysis.evaluation.attribution_prompts import AttributionPrompt, PromptOptions, finding_prompts
from ace_analysis.features.bundle import SHIPPED, Bundle
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.settings import DEFAULT_MODEL
from ace_analysis.source.corpus import functions_of_file

pytestmark = pytest.mark.model

EXAMPLE = Path(__file__).parents[2] / "ace_analysis/examples/buggy_example.py"
LAYERS = (0, 4, 9)
"""Of whose parts all are ablated; of the others, the MLPs: enough to compare, in some seconds."""


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(SHIPPED / DEFAULT_MODEL)


@pytest.fixture(scope="module")
def scanner(bundle: Bundle) -> ResidualScanner:
    return load_scanner(DEFAULT_MODEL, device="cpu", dtype="float32", n_blocks=bundle.layer + 1)


@pytest.fixture(scope="module")
def prompt(scanner: ResidualScanner, bundle: Bundle) -> AttributionPrompt:
    """The first planted bug that is found in the standard library's textwrap, or in the example."""
    import textwrap

    functions = functions_of_file(Path(textwrap.__file__), project="stdlib")
    functions += functions_of_file(EXAMPLE, project="example")
    options = PromptOptions(count=1, fewest_tokens=12, most_tokens=64)
    (found,) = finding_prompts(functions, scanner, bundle, options)
    return found


def test_scores_of_a_real_findings_parts_agree_with_their_exact_ablation(
    scanner: ResidualScanner, bundle: Bundle, prompt: AttributionPrompt
) -> None:
    ids, other = torch.tensor([prompt.ids]), torch.tensor([prompt.counterfactual])
    case = Case(scanner, ids, other, prompt.target(bundle))
    nodes = [node for node in case.nodes if node.layer in LAYERS or isinstance(node, Mlp)]
    at = [case.nodes.index(node) for node in nodes]
    exact = ablate(scanner, ids, nodes, case.target, AblationOptions(batching=Batching(rows=16)))
    found = {name: correlations(exact.effects, score(name, case, "zero")[at]) for name in (ONE_PASS, EAP)}
    one_pass, eap = found[ONE_PASS], found[EAP]
    assert one_pass is not None and eap is not None
    assert one_pass[0] > 0.6 and one_pass[0] > eap[0] - 0.1


def test_a_findings_value_is_what_a_scan_reads(
    scanner: ResidualScanner, bundle: Bundle, prompt: AttributionPrompt
) -> None:
    ids = torch.tensor([prompt.ids])
    found = ablate(scanner, ids, [Mlp(9)], prompt.target(bundle))
    assert found.clean >= bundle.calibration.loosest - 1e-3
    assert found.effects.abs().max() > 0 and found.unit == "log-odds"

"""In models whose circuit is known, it is found; and what a circuit says of itself was measured."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ace_analysis.decomposition.circuit import CircuitOptions, find_circuit
from ace_analysis.decomposition.circuit_scores import ScoreMethod
from ace_analysis.decomposition.nodes import Head, Mlp
from ace_analysis.decomposition.patching import AblationOptions, prepare
from ace_analysis.decomposition.targets import HeadTarget, LogitDifference
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.evaluation.known_circuits import TASKS, known_circuit
from ace_analysis.report.circuit import Circuit

IDS = torch.tensor([[0, 17, 42, 8, 42, 31, 5, 77, 12, 9]])
OTHER = torch.tensor([[0, 17, 42, 8, 23, 31, 5, 61, 12, 9]])
TARGET = LogitDifference(12, 30, 8)


@pytest.fixture(scope="module")
def model(tiny_qwen2: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_qwen2, dtype=torch.float64, local_files_only=True).eval()


def names(circuit: Circuit) -> set[str]:
    return {node.name for node in circuit.parts}


@pytest.mark.parametrize("method", ["one-pass", "hover", "cd-t"])
def test_known_circuits_are_found_in_most_texts_and_faithful(method: ScoreMethod) -> None:
    right, faithful, texts = 0, 0, 0
    for known in (known_circuit(task, seed) for task in TASKS for seed in (0, 1)):
        for prompt in known.prompts(3):
            ablation = AblationOptions(how="counterfactual", counterfactual=prompt.counterfactual)
            options = CircuitOptions(method=method, ablation=ablation)
            found = find_circuit(known.model, prompt.ids, prompt.target, options)
            right += names(found) == {str(node) for node in known.circuit}
            faithful += abs(found.faithfulness - 1) <= options.tolerance
            texts += 1
    assert texts == 18 and right >= 12 and faithful >= 15


@pytest.mark.parametrize("method", ["one-pass", "hover", "cd-t"])
def test_a_search_among_some_layers_leaves_the_others_as_they_are(model: Any, method: ScoreMethod) -> None:
    whole = find_circuit(model, IDS, TARGET, CircuitOptions(method=method))
    found = find_circuit(model, IDS, TARGET, CircuitOptions(method=method, layers=(1,)))
    assert {node.layer for node in found.parts} == {1} and found.upstream < whole.upstream
    assert found.clean == whole.clean and found.nothing != whole.nothing


def test_layers_that_are_not_upstream_are_refused(model: Any) -> None:
    with pytest.raises(InputError, match="layers: expected some from 0 to"):
        find_circuit(model, IDS, TARGET, CircuitOptions(layers=(99,)))


def test_what_feeds_a_found_head_is_found_through_it_though_alone_it_gains_nothing() -> None:
    known = known_circuit("induction", 2)
    prompt = known.prompts(1)[0]
    ablation = AblationOptions(how="counterfactual", counterfactual=prompt.counterfactual)
    options = CircuitOptions(percentiles=(93.0,), ablation=ablation)
    before, inducing = sorted(str(node) for node in known.circuit)
    found = find_circuit(known.model, prompt.ids, prompt.target, options)
    assert {node.name: node.through for node in found.nodes} == {inducing: None, before: inducing}
    assert found.faithfulness == pytest.approx(1.0, abs=0.1)
    first = CircuitOptions(percentiles=(93.0,), rounds=1, ablation=ablation)
    assert abs(find_circuit(known.model, prompt.ids, prompt.target, first).faithfulness) < 0.1


@pytest.mark.parametrize("how", ["zero", "mean", "counterfactual"])
def test_the_values_are_those_of_real_ablations(model: Any, how: Any) -> None:
    ablation = AblationOptions(how=how, counterfactual=OTHER if how == "counterfactual" else None)
    found = find_circuit(model, IDS, TARGET, CircuitOptions(ablation=ablation))
    prepared = prepare(model, IDS, TARGET, ablation)
    every = [*(Head(layer, head) for layer in range(4) for head in range(4))]
    rest = [node for node in every if str(node) not in names(found)]
    every_mlp = [Mlp(layer) for layer in range(4)]
    rest += [node for node in every_mlp if str(node) not in names(found)]
    alone, nothing = prepared.values([rest, [*every, *every_mlp]])[0].tolist()
    assert found.alone == pytest.approx(alone) and found.nothing == pytest.approx(nothing)
    assert found.clean == pytest.approx(prepared.clean) and found.upstream == 20
    for node in found.parts:
        own = next(each for each in [*every, *every_mlp] if str(each) == node.name)
        without = prepared.values([[*rest, own]])[0].item()
        assert node.lost == pytest.approx(abs(without - found.clean) - abs(alone - found.clean), abs=1e-6)


def test_more_percentiles_make_it_no_less_faithful(model: Any) -> None:
    strict = find_circuit(model, IDS, TARGET, CircuitOptions(percentiles=(99.0,), rounds=1))
    loose = find_circuit(model, IDS, TARGET, CircuitOptions(percentiles=(99.0, 50.0, 0.0), rounds=1))
    assert abs(loose.faithfulness - 1) <= abs(strict.faithfulness - 1)
    assert len(strict.parts) == 1


def test_a_loose_tolerance_gives_a_smaller_circuit(model: Any) -> None:
    sizes = [
        len(find_circuit(model, IDS, TARGET, CircuitOptions(tolerance=each, percentiles=(0.0,))).parts)
        for each in (0.01, 0.4)
    ]
    assert sizes[1] < sizes[0]


def test_the_curve_keeps_more_and_more_nodes(model: Any) -> None:
    curve = find_circuit(model, IDS, TARGET).curve
    assert [point.nodes for point in curve] == [1, 2, 3, 5, 8, 13]


def test_a_head_can_be_the_target(model: Any) -> None:
    found = find_circuit(model, IDS, HeadTarget(2, 1), CircuitOptions(percentiles=(0.0,)))
    assert found.unit == "share of the head" and found.upstream == 10
    assert all(node.layer < 2 for node in found.nodes)


def test_a_target_with_nothing_upstream_is_refused(model: Any) -> None:
    with pytest.raises(InputError, match="expected a target with heads and MLPs upstream"):
        find_circuit(model, IDS, HeadTarget(0, 0))


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "guess"}, "method: expected one of one-pass, hover, cd-t, got 'guess'"),
        ({"percentiles": ()}, "percentiles: expected some from 0 to 100"),
        ({"percentiles": (101.0,)}, "percentiles: expected some from 0 to 100"),
        ({"rounds": 0}, "rounds: expected at least 1, got 0"),
    ],
)
def test_options_that_mean_nothing_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CircuitOptions(**wrong)


def test_a_cancelled_search_leaves_no_hook(model: Any) -> None:
    calls = 0

    def later() -> bool:
        nonlocal calls
        calls += 1
        return calls > 25

    with pytest.raises(Cancelled):
        find_circuit(model, IDS, TARGET, cancelled=later)
    left: list[nn.Module] = [
        each for each in model.modules() if each._forward_hooks or each._forward_pre_hooks
    ]
    assert not left


def test_progress_is_told(model: Any) -> None:
    told: list[str] = []
    options = CircuitOptions(progress=lambda message, share: told.append(message), percentiles=(95.0,))
    find_circuit(model, IDS, TARGET, options)
    assert told == ["scoring the heads and MLPs", "a circuit of the 5 % best", "the curve"]

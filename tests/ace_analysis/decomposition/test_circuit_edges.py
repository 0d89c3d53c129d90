"""The picture's edges: between the circuit's nodes, from the tokens that it reads, to the target."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ace_analysis.decomposition.circuit import CircuitOptions, find_circuit
from ace_analysis.decomposition.circuit_edges import LEAST_SHARE, MOST_TOKENS, named, with_edges
from ace_analysis.decomposition.edges import eap_edges
from ace_analysis.decomposition.gradients import GradientOptions
from ace_analysis.decomposition.patching import AblationOptions
from ace_analysis.decomposition.targets import LogitDifference
from ace_analysis.report.circuit import TARGET as THE_TARGET
from ace_analysis.report.circuit import Circuit

IDS = torch.tensor([[0, 17, 42, 8, 42, 31, 5, 77, 12, 9]])
TARGET = LogitDifference(12, 30, 8)
ABLATION = AblationOptions(how="mean")


@pytest.fixture(scope="module")
def model(tiny_qwen2: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_qwen2, dtype=torch.float64, local_files_only=True).eval()


@pytest.fixture(scope="module")
def circuit(model: Any) -> Circuit:
    found = find_circuit(model, IDS, TARGET, CircuitOptions(percentiles=(60.0,), ablation=ABLATION))
    return with_edges(found, model, IDS, TARGET, ablation=ABLATION)


def test_edges_are_eaps_between_nodes_of_the_circuit(circuit: Circuit, model: Any) -> None:
    edges = eap_edges(model, IDS, TARGET, GradientOptions(against=ABLATION))
    at = {str(node): index for index, node in enumerate(edges.nodes)}
    inside = {node.name for node in circuit.parts}
    assert circuit.edges
    for edge in circuit.edges:
        source = int(edge.source[1:]) if edge.source.startswith("T") else at[edge.source]
        of_token = edge.source.startswith("T")
        assert edge.receiver in inside | {THE_TARGET} and (of_token or edge.source in inside)
        if edge.receiver == THE_TARGET:
            expected = (edges.tokens_to_target if of_token else edges.to_target)[source]
        else:
            expected = (edges.from_tokens if of_token else edges.between)[source, at[edge.receiver]]
        assert edge.score == pytest.approx(float(expected))


def test_edges_come_largest_first_and_none_is_too_thin(circuit: Circuit) -> None:
    sizes = [abs(edge.score) for edge in circuit.edges]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] >= LEAST_SHARE * sizes[0]


def test_tokens_are_those_that_edges_begin_at(circuit: Circuit) -> None:
    tokens = [node for node in circuit.nodes if node.kind == "token"]
    assert 0 < len(tokens) <= MOST_TOKENS
    for token in tokens:
        own = [edge.score for edge in circuit.edges if edge.source == token.name]
        assert token.score == pytest.approx(sum(own)) and token.lost is None


def test_tokens_get_their_texts(circuit: Circuit) -> None:
    texts = [f"<{index}>" for index in range(10)]
    for node in named(circuit, texts).nodes:
        assert node.text == (f"<{node.name[1:]}>" if node.kind == "token" else "")

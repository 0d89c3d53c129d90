"""A circuit as data: its faithfulness, and JSON there and back."""

import json
import math
from collections.abc import Callable

import pytest

from ace_analysis.report.circuit import VERSION, Circuit, circuit_from_json, circuit_to_json, faithfulness


@pytest.mark.parametrize(("value", "expected"), [(3.0, 1.0), (1.0, 0.0), (2.0, 0.5), (4.0, 1.5), (0.0, -0.5)])
def test_faithfulness_is_1_at_the_whole_and_0_at_nothing(value: float, expected: float) -> None:
    assert faithfulness(value, clean=3.0, nothing=1.0) == expected


def test_where_ablating_everything_changes_nothing_there_is_no_faithfulness(
    circuit_with: Callable[..., Circuit],
) -> None:
    circuit = circuit_with(clean=1.0, nothing=1.0)
    assert math.isnan(circuit.faithfulness)
    assert circuit_to_json(circuit)["faithfulness"] is None


def test_parts_are_the_nodes_that_are_no_tokens(circuit_with: Callable[..., Circuit]) -> None:
    circuit = circuit_with()
    assert [node.name for node in circuit.parts] == ["L0H1", "L1H0", "MLP1"]
    assert [node.name for node in circuit.nodes][-1] == "T3"


def test_json_goes_there_and_back(circuit_with: Callable[..., Circuit]) -> None:
    circuit = circuit_with()
    told = json.loads(json.dumps(circuit_to_json(circuit)))
    assert told["version"] == VERSION and told["faithfulness"] == pytest.approx(0.75)
    assert circuit_from_json(told) == circuit

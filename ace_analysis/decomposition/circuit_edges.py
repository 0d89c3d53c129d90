"""How a circuit's nodes act on each other: its edges, and the tokens that it reads.

For the picture. Edges are EAP's (edges.py), so first-order: what a source's output would lose, times the
gradient at what the receiver reads of it. What lies between two nodes of the circuit and outside of it is not
drawn, so a node's edges need not add up to its score.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from jaxtyping import Int
from torch import Tensor

from ace_analysis.decomposition.edges import EdgeScores, eap_edges
from ace_analysis.decomposition.gradients import GradientOptions
from ace_analysis.decomposition.patching import AblationOptions
from ace_analysis.decomposition.targets import Target
from ace_analysis.model.scan import never
from ace_analysis.report.circuit import TARGET, Circuit, CircuitEdge, CircuitNode

LEAST_SHARE = 0.02
"""Of the largest edge; thinner ones are not drawn."""

MOST_TOKENS = 8


def with_edges(
    circuit: Circuit,
    model: Any,
    input_ids: Int[Tensor, "..."],
    target: Target,
    *,
    ablation: AblationOptions,
    cancelled: Callable[[], bool] = never,
) -> Circuit:
    """The circuit with edges between its nodes, from the tokens that it reads most, and to the target.

    Raises:
        Cancelled: the caller asked to stop.
    """
    edges = eap_edges(model, input_ids, target, GradientOptions(against=ablation), cancelled=cancelled)
    found = _kept(_edges_within(circuit, edges))
    read = {edge.source for edge in found} - {node.name for node in circuit.nodes}
    tokens = tuple(_token(name, found) for name in sorted(read, key=_position))
    return replace(circuit, nodes=(*circuit.nodes, *tokens), edges=found)


def named(circuit: Circuit, texts: Sequence[str]) -> Circuit:
    """The circuit with the texts of its tokens."""
    nodes = tuple(
        replace(node, text=texts[_position(node.name)]) if node.kind == "token" else node
        for node in circuit.nodes
    )
    return replace(circuit, nodes=nodes)


def _edges_within(circuit: Circuit, edges: EdgeScores) -> list[CircuitEdge]:
    names = [str(node) for node in edges.nodes]
    inside = {node.name: names.index(node.name) for node in circuit.parts}
    found = [
        CircuitEdge(source, receiver, float(edges.between[row, column]))
        for source, row in inside.items()
        for receiver, column in inside.items()
    ]
    found += [CircuitEdge(source, TARGET, float(edges.to_target[row])) for source, row in inside.items()]
    return found + _from_tokens(inside, edges)


def _from_tokens(inside: dict[str, int], edges: EdgeScores) -> list[CircuitEdge]:
    """Edges from the tokens from which most comes, by size over all their edges."""
    columns = list(inside.values())
    sizes = edges.from_tokens[:, columns].abs().sum(1) + edges.tokens_to_target.abs()
    most = sizes.argsort(descending=True, stable=True)[:MOST_TOKENS].tolist()
    found = [
        CircuitEdge(f"T{at}", receiver, float(edges.from_tokens[at, column]))
        for at in most
        for receiver, column in inside.items()
    ]
    return found + [CircuitEdge(f"T{at}", TARGET, float(edges.tokens_to_target[at])) for at in most]


def _kept(edges: Iterable[CircuitEdge]) -> tuple[CircuitEdge, ...]:
    """Those that can be seen, largest first."""
    order = sorted(edges, key=lambda edge: -abs(edge.score))
    least = LEAST_SHARE * abs(order[0].score) if order else 0.0
    return tuple(edge for edge in order if edge.score and abs(edge.score) >= least)


def _token(name: str, edges: Iterable[CircuitEdge]) -> CircuitNode:
    score = sum(edge.score for edge in edges if edge.source == name)
    return CircuitNode(name=name, kind="token", layer=-1, score=score)


def _position(name: str) -> int:
    return int(name.removeprefix("T"))

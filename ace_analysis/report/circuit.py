"""A circuit: the few heads and MLPs that together do what the whole model does with one number.

Plain, JSON-able and free of torch. How faithful it is was measured by really running the model with
everything else ablated; edges are first-order estimates, for the picture.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

VERSION = 1

TARGET = "target"
"""What the edges that end at the explained number are said to lead to."""

NodeKind = Literal["head", "mlp", "token"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitNode:
    """A part of the circuit, or a token that it reads.

    Attributes:
        name: "L3H2", "MLP4" or "T7".
        kind: what it is.
        layer: its block; -1 for a token.
        score: the estimate by which it was chosen: a head's or an MLP's in the target's unit, a token's by
            its edges.
        through: the circuit's head through which it was found; None: by the target itself.
        lost: how much farther from the whole model the circuit is without it, in the target's unit; None for
            a token.
        text: what stands there, for a token.
    """

    name: str
    kind: NodeKind
    layer: int
    score: float
    through: str | None = None
    lost: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class CircuitEdge:
    """From a node to a later one, or to the target; `score` is in the target's unit."""

    source: str
    receiver: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """How many nodes were kept, and the target's value with everything else ablated."""

    nodes: int
    value: float
    faithfulness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """What was found.

    Attributes:
        target: what is explained, for people.
        unit: what 1 is.
        clean: the target in the whole model.
        nothing: the target with every upstream head and MLP ablated.
        alone: the target with everything but the circuit ablated.
        nodes: heads and MLPs by layer, then the tokens.
        edges: largest first.
        upstream: how many heads and MLPs there were to choose from.
        curve: what the best nodes by score keep, few to many; without pruning.
        ablation: what stood in the others' place.
        method: how nodes were scored.
        notes: what a reader has to know.
        place: FILE:LINE:COL, as `ace circuit` takes it; empty where there is no file.
    """

    target: str
    unit: str
    clean: float
    nothing: float
    alone: float
    nodes: tuple[CircuitNode, ...]
    edges: tuple[CircuitEdge, ...]
    upstream: int
    curve: tuple[CurvePoint, ...]
    ablation: str
    method: str
    notes: tuple[str, ...] = ()
    place: str = ""

    @property
    def faithfulness(self) -> float:
        """1 where the circuit alone reaches the whole model's value, 0 where it reaches no more than nothing.

        Can lie outside of 0 and 1; nan where ablating everything changes nothing.
        """
        return faithfulness(self.alone, self.clean, self.nothing)

    @property
    def parts(self) -> tuple[CircuitNode, ...]:
        """Its heads and MLPs."""
        return tuple(node for node in self.nodes if node.kind != "token")


def faithfulness(value: float, clean: float, nothing: float) -> float:
    """(value - nothing) / (clean - nothing); nan where there is nothing to explain."""
    whole = clean - nothing
    return (value - nothing) / whole if whole else float("nan")


def circuit_to_json(circuit: Circuit) -> dict[str, Any]:
    """One JSON object, with its version."""
    # As JSON reads it back: tuples become lists.
    told: dict[str, Any] = json.loads(json.dumps(asdict(circuit)))
    reached = circuit.faithfulness
    return {"version": VERSION, "faithfulness": None if reached != reached else reached, **told}


def circuit_from_json(told: Mapping[str, Any]) -> Circuit:
    """What `circuit_to_json` gave."""
    values: dict[str, Any] = {
        **{name: value for name, value in told.items() if name not in ("version", "faithfulness")},
        "nodes": tuple(CircuitNode(**each) for each in told["nodes"]),
        "edges": tuple(CircuitEdge(**each) for each in told["edges"]),
        "curve": tuple(CurvePoint(**each) for each in told["curve"]),
        "notes": tuple(told["notes"]),
    }
    return Circuit(**values)

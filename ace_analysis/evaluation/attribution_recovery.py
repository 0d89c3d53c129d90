"""Which methods find a circuit that is known by construction: ROC AUC over the nodes of hand-built models.

A method's score of a node is the mean size over the task's texts, as in the evaluation of CD-T (Hsu et al.
2025, arXiv:2407.00886, §4). The AUC is the chance that a node of the circuit scores above another one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata

from ace_analysis.decomposition.patching import How, ablate
from ace_analysis.evaluation.attribution_methods import METHODS, Case, score
from ace_analysis.evaluation.known_circuits import TASKS, KnownCircuit, known_circuit
from ace_analysis.evaluation.statistics import Interval, mean
from ace_analysis.model.scan import never

Progress = Callable[[str, float | None], None]

EXACT = "exact ablation"
ROUNDING = 1e-9
"""A score that is smaller than this share of the largest is 0 and some rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryOptions:
    """Models per task and texts per model."""

    models: int = 5
    prompts: int = 8
    how: How = "zero"
    methods: tuple[str, ...] = (EXACT, *METHODS)


def measure_recovery(
    options: RecoveryOptions | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> dict[str, dict[str, Interval]]:
    """Method to task to AUC, with intervals over models.

    Raises:
        Cancelled: the caller asked to stop.
    """
    options = options or RecoveryOptions()
    known = [known_circuit(task, seed) for task in TASKS for seed in range(options.models)]
    found: dict[str, dict[str, list[float]]] = {
        name: {task: [] for task in TASKS} for name in options.methods
    }
    for number, circuit in enumerate(known):
        if progress is not None:
            progress("hand-built models", number / len(known))
        for name in options.methods:
            found[name][circuit.task].append(_recovered(circuit, name, options, cancelled))
    return {
        name: {task: mean(values, np.arange(len(values))) for task, values in tasks.items()}
        for name, tasks in found.items()
    }


def _recovered(
    circuit: KnownCircuit, name: str, options: RecoveryOptions, cancelled: Callable[[], bool]
) -> float:
    sizes, nodes = [], ()
    for prompt in circuit.prompts(options.prompts):
        case = Case(circuit.model, prompt.ids, prompt.counterfactual, prompt.target)
        nodes = case.nodes
        if name == EXACT:
            found = ablate(case.model, case.ids, None, case.target, case.ablation(options.how))
            sizes.append(found.effects.abs())
        else:
            sizes.append(score(name, case, options.how, cancelled=cancelled).abs())
    return auc(torch.stack(sizes).mean(0).tolist(), [node in circuit.circuit for node in nodes])


def auc(scores: Sequence[float], is_in: Sequence[bool]) -> float:
    """The chance that a score of one sort exceeds one of the other; ties, and rounding's, count half."""
    inside = np.asarray(is_in, dtype=bool)
    values = np.asarray(scores, dtype=np.float64)
    values = np.where(np.abs(values) > ROUNDING * np.abs(values).max(initial=0.0), values, 0.0)
    ranks = rankdata(values)
    n_in, n_out = int(inside.sum()), int((~inside).sum())
    return float((ranks[inside].sum() - n_in * (n_in + 1) / 2) / (n_in * n_out))

"""How a circuit's nodes are ranked: by scores against the target, and against inner heads.

What ranks a circuit's nodes best is not what estimates each node's own ablation best. By faithfulness of the
best nodes alone, all other heads and MLPs ablated (the area under the curve, CPR of MIB, arXiv:2504.13151),
on findings in the model that ships, with 95 % intervals (`ace bench attribution --how zero --curves 19`, and
`--how mean --curves 8`, of which the first three rankings below were compared):

                                                  19, by zero            8, by the mean
    one-pass, patterns, norms and gates frozen    0.62 [0.51, 0.75]      1.03 [0.89, 1.18]
    the same, only `up` passing a gate            0.58 [0.50, 0.65]      0.94 [0.79, 1.12]
    one-pass as hover has it (mostly gradients)   0.19 [-0.03, 0.35]     0.68 [0.49, 0.97]
    each node's real ablation                     0.34 [0.16, 0.59]
    EAP-IG                                        0.26 [0.10, 0.40]
    EAP                                           0.15 [-0.07, 0.32]
    at random                                     0.04 [-0.10, 0.17]

Frozen scores count what a node writes, and not what it moves by itself, so they favour what the target is
made of. But a frozen network says nothing of what an inner head reads to choose where it looks, which is what
feeds an induction head; so against inner heads gradients are taken, in Algorithm 1's later rounds.
"""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor

from ace_analysis.decomposition.ablator import Ablator
from ace_analysis.decomposition.compared import compared_cdt, compared_one_pass
from ace_analysis.decomposition.relp import OnePassOptions
from ace_analysis.decomposition.targets import HeadTarget, Target
from ace_analysis.decomposition.walk import CDTOptions
from ace_analysis.model.scan import never

ScoreMethod = Literal["one-pass", "hover", "cd-t"]
SCORE_METHODS: tuple[ScoreMethod, ...] = get_args(ScoreMethod)

SCORED: dict[ScoreMethod, str] = {
    "one-pass": "the one-pass: patterns, norms and gates frozen, and gradients against inner heads",
    "hover": "the one-pass as hover has it: gradients, and frozen for MLPs that are much of the stream",
    "cd-t": "contextual decomposition (CD-T), one walk for each node",
}


def scores_against(
    prepared: Ablator,
    targets: Sequence[Target],
    method: ScoreMethod,
    rules: CDTOptions,
    *,
    cancelled: Callable[[], bool] = never,
) -> Float[Tensor, "node target"]:
    """Each upstream node's score against each target, by a method; 0 where it is not upstream.

    Raises:
        InputError: a text too long for CD-T in this memory.
        Cancelled: the caller asked to stop.
    """
    if method == "cd-t":
        return compared_cdt(prepared, targets, rules, cancelled=cancelled)
    inner = any(isinstance(target, HeadTarget) for target in targets)
    options = OnePassOptions(nodes="mixed" if inner or method == "hover" else "frozen")
    return compared_one_pass(prepared, targets, options, cancelled=cancelled)

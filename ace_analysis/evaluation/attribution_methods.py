"""The methods that are measured against exact ablation, each as one function of the same shape.

Every method estimates the effect of an ablation, so every one is given what stands in a node's place: zero,
the mean, or the other text's activations. A method that only knew zeros would be measured against another
question than it answers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from ace_analysis.decomposition.ablator import Part, upstream_nodes
from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.compared import compared_cdt, compared_one_pass, in_order
from ace_analysis.decomposition.gradients import EAP_IG_STEPS, GradientOptions, eap
from ace_analysis.decomposition.patching import AblationOptions, How, prepare
from ace_analysis.decomposition.relp import OnePassOptions, one_pass
from ace_analysis.decomposition.targets import Target
from ace_analysis.decomposition.walk import CDTOptions
from ace_analysis.model.scan import never

ONE_PASS, EAP, EAP_IG = "one-pass", "EAP", "EAP-IG"


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What is explained: a text, a target in it, another text of the same length."""

    model: Any
    ids: Int[Tensor, "1 pos"]
    counterfactual: Int[Tensor, "1 pos"]
    target: Target

    @property
    def anatomy(self) -> Anatomy:
        return Anatomy.of(self.model)

    @property
    def nodes(self) -> tuple[Part, ...]:
        """All upstream heads and MLPs."""
        anatomy = self.anatomy
        return upstream_nodes(anatomy, self.target.site(anatomy))

    def ablation(self, how: How) -> AblationOptions:
        """The ablation that is estimated."""
        return AblationOptions(
            how=how, counterfactual=self.counterfactual if how == "counterfactual" else None
        )


Method = Callable[[Case, How, Callable[[], bool]], Float[Tensor, " node"]]
"""A score for each of the case's nodes."""


def _one_pass(options: OnePassOptions) -> Method:
    def score(case: Case, how: How, cancelled: Callable[[], bool]) -> Tensor:
        if how == "zero":
            found = one_pass(case.anatomy, case.ids, case.target, options=options, cancelled=cancelled)
            return in_order(case.nodes, found.heads, found.mlps)
        prepared = prepare(case.model, case.ids, case.target, case.ablation(how), cancelled=cancelled)
        return compared_one_pass(prepared, [case.target], options, cancelled=cancelled)[:, 0]

    return score


def _cdt(**rules: Any) -> Method:
    def score(case: Case, how: How, cancelled: Callable[[], bool]) -> Tensor:
        prepared = prepare(case.model, case.ids, case.target, case.ablation(how), cancelled=cancelled)
        return compared_cdt(prepared, [case.target], CDTOptions(**rules), cancelled=cancelled)[:, 0]

    return score


def _eap(steps: int) -> Method:
    def score(case: Case, how: How, cancelled: Callable[[], bool]) -> Tensor:
        path = case.counterfactual if steps > 1 else None
        options = GradientOptions(against=case.ablation(how), steps=steps, path=path)
        found = eap(case.model, case.ids, case.target, options, cancelled=cancelled)
        return in_order(case.nodes, found.heads, found.mlps)

    return score


FAST: dict[str, Method] = {
    ONE_PASS: _one_pass(OnePassOptions()),
    "one-pass, all frozen": _one_pass(OnePassOptions(nodes="frozen")),
    "one-pass, all frozen, gates too": _one_pass(OnePassOptions(nodes="frozen", gate="gate_frozen")),
    EAP: _eap(1),
    EAP_IG: _eap(EAP_IG_STEPS),
}
"""A few passes for all nodes together."""

PAPER = "CD-T, the paper's rules"

SLOW: dict[str, Method] = {
    PAPER: _cdt(bias="proportional", attention="decomposed", mlp="gamma_first", cancel_signs=True),
    "CD-T, signs kept": _cdt(bias="proportional", attention="decomposed", mlp="gamma_first"),
    "CD-T, Shapley gates": _cdt(bias="proportional", attention="decomposed", mlp="shapley"),
    "CD-T, biases irrelevant": _cdt(bias="irrelevant", attention="decomposed", mlp="gamma_first"),
    "CD-T, biases irrelevant, Shapley gates": _cdt(bias="irrelevant", attention="decomposed", mlp="shapley"),
    "CD-T, patterns frozen": _cdt(bias="irrelevant", attention="frozen", mlp="gamma_first"),
    "CD-T, patterns frozen, Shapley gates": _cdt(bias="irrelevant", attention="frozen", mlp="shapley"),
    "CD-T, half rule": _cdt(),
    "CD-T, half rule, biases irrelevant": _cdt(bias="irrelevant"),
    "CD-T, gates frozen": _cdt(mlp="gate_frozen"),
}
"""One walk for each node. The rule set that the one-pass equals (patterns and gates frozen) is left out."""

METHODS: dict[str, Method] = {**FAST, **SLOW}


def score(
    name: str, case: Case, how: How, *, cancelled: Callable[[], bool] = never
) -> Float[Tensor, " node"]:
    """One method's scores of a case's nodes."""
    return METHODS[name](case, how, cancelled)

"""What each kind of finding means, in words for people: one place for the terminal, SARIF and editors."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class KindText:
    """`title` is a rule's name, `claim` a sentence about one place, `help` what to look for."""

    title: str
    claim: str
    help: str


_TEXTS: Mapping[str, KindText] = {
    "comparison": KindText(
        title="Suspicious comparison",
        claim="this comparison looks wrong",
        help="Check the direction and the border case: < or <=, == or !=, is or is not, in or not in.",
    ),
    "arithmetic": KindText(
        title="Suspicious arithmetic operator",
        claim="this operator looks wrong",
        help="Check the operator: + or -, * or /, / or //, and a sign or a factor that is turned around.",
    ),
    "boolean": KindText(
        title="Suspicious boolean operator",
        claim="this boolean operator looks wrong",
        help="Check whether both conditions are needed or one is enough, and whether a not is one too many.",
    ),
    "constant": KindText(
        title="Suspicious constant",
        claim="this constant looks wrong",
        help="Check whether True, False or None is what callers expect here.",
    ),
    "off-by-one": KindText(
        title="Off by one",
        claim="this number looks wrong",
        help="Check for an off-by-one, a wrong index, a wrong default or a wrong sign.",
    ),
    "variable-misuse": KindText(
        title="Variable misuse",
        claim="this name looks wrong",
        help="Check whether another variable in scope was meant, or whether arguments are swapped.",
    ),
    "wrong-attribute": KindText(
        title="Wrong attribute",
        claim="this attribute looks wrong",
        help="Check whether another attribute or method of the same object was meant.",
    ),
    "wrong-keyword": KindText(
        title="Wrong keyword argument",
        claim="this keyword argument looks wrong",
        help="Check whether another parameter was meant.",
    ),
    "missing-guard": KindText(
        title="Suspicious or missing condition",
        claim="a condition or a value looks wrong or missing here",
        help="Check for a missing not, a guard that is gone, a missing value, a break that was a continue.",
    ),
}


def kind_text(kind: str) -> KindText:
    """The words for a kind; general ones for a kind that another release of the engine may know."""
    general = KindText(
        title=f"Suspicious {kind}",
        claim="this looks wrong",
        help="Check whether this is what was meant.",
    )
    return _TEXTS.get(kind, general)

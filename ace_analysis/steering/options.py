"""How a place is repaired: how much is written, edited and read."""

from dataclasses import dataclass
from math import inf

from ace_analysis.errors import InputError
from ace_analysis.steering.gating import FeatureGate
from ace_analysis.steering.vector import SteeringVector


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairOptions:
    """What a repair may cost.

    Attributes:
        candidates: how many texts the model writes anew without steering: one greedy, the others drawn.
        edits: how many small edits of the line are read where the model is told the line; 0 lists none.
        edits_read: how many of those are read in the middle of the scope as well.
        alternatives: how many other tokens the model may propose at each site of the line; 0 asks for none.
        vectors: each writes one greedy text for each of `strengths`.
        strengths: of the steering vectors.
        gate: steers only the tokens on which its latents fire; None: every token that is written.
        most_fixes: how many are offered at most.
        most_read: with how many the scope is read by the blocks that score errors.
        most_weighed: with how many of those it is read by the whole model. Of 40 bugs of the validation
            halves, 25 have a right fix among the first five with 32, 16 and 4 of these three, 23 with 20, 10
            and 10; 21 have it first either way.
        temperature: of drawn texts.
        top_p: the share of probability that tokens are drawn from.
        seed: of the draws.
        max_new_tokens: of one line; a longer region may have as many for each of its lines.
        longer: tokens by which a text that is written anew may be longer than the one that stands there. Of
            174 one-line bugs of the validation halves, 3 have a fix that is longer by more than 12.
        tolerance: log-odds by which a score may rise and count as equal.
        least_gain: nats by which the scope's likelihood has to rise.
        least_score: nats that all opinions together have to speak for it with (`rank_score`).
    """

    candidates: int = 4
    edits: int = 48
    edits_read: int = 32
    alternatives: int = 3
    vectors: tuple[SteeringVector, ...] = ()
    strengths: tuple[float, ...] = ()
    gate: FeatureGate | None = None
    most_fixes: int = 5
    most_read: int = 16
    most_weighed: int = 4
    temperature: float = 0.8
    top_p: float = 0.95
    seed: int = 0
    max_new_tokens: int = 40
    longer: int = 12
    tolerance: float = 0.25
    least_gain: float = 0.0
    least_score: float = -inf

    def __post_init__(self) -> None:
        counts = (self.candidates, self.edits, self.alternatives)
        if min(counts) < 0 or not any((*counts, self.vectors)):
            raise InputError(
                "expected candidates, edits and alternatives of 0 or more, and one of them or a vector,"
                f" got {counts[0]}, {counts[1]} and {counts[2]}"
            )
        names = ("most_fixes", "most_read", "most_weighed", "max_new_tokens", "edits_read", "longer")
        if min(getattr(self, name) for name in names) < 1:
            raise InputError(f"expected {', '.join(names[:-1])} and {names[-1]} of at least 1")

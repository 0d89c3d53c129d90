"""What is thought of one candidate, and the number that candidates are ranked by.

Two opinions that err differently. In the middle, with the rest of the scope known, a candidate's likelihood
is its posterior as far as the model learned to fill in; read from the left, the change of the whole scope's
likelihood counts what the candidate does to what follows.
"""

from dataclasses import dataclass

from ace_analysis.report.repair import Source
from ace_analysis.steering.edits import EditKind

SCOPE_WEIGHT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What is known of a candidate, in nats. `scope` is None until the whole scope was read with it.

    Attributes:
        middle: log-probability of the region's text in the middle, and that it ends there.
        middle_before: the same of the text that stands there.
        scope: how much more likely the scope is than before, read from the left.
        source: where the candidate comes from.
        kind: which edit it is, for edits.
    """

    middle: float
    middle_before: float
    scope: float | None = None
    source: Source = Source.EDIT
    kind: EditKind | None = None


def rank_score(opinion: Opinion) -> float:
    """What candidates are ranked by, in nats; higher is better."""
    gain = opinion.middle - opinion.middle_before
    return gain if opinion.scope is None else gain + SCOPE_WEIGHT * opinion.scope

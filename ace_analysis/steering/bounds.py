"""What is known of a listed edit before it is read: how likely it can be at most.

Hundreds of edits are listed for a line, and reading one to its end costs a pass over its tokens. A text can't
be likelier than its beginning, so one pass over the text that stands there bounds all of them at once: by the
log-probability up to the token with which each leaves it.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from ace_analysis.steering.drafts import common_start
from ace_analysis.steering.opinion import RankingWeights

BOUND_WEIGHTS = RankingWeights(removed=1.0)
"""For edits that are known by their bounds alone. Of 11 bugs of the validation halves, the right edit is
among the first 24 for 9 with the bounds behind both prompts and 0.5 or 1 nats for a removed token, for 6 with
that behind the second prompt alone and 2 nats."""


def bounds_of(
    rows: Float[Tensor, "node vocabulary"],
    ids: Sequence[int],
    others: Sequence[Sequence[int]],
    ends: frozenset[int],
) -> list[float]:
    """For each other text, the log-probability of its beginning up to where it leaves the first one.

    `rows` are the log-probabilities of what follows the prompt and each token of the first text; `ends` are
    the tokens that end a text.
    """
    along = [0.0]
    for index, token in enumerate(ids):
        along.append(along[-1] + float(rows[index, token]))
    closing = rows[:, sorted(ends)].logsumexp(dim=-1)
    bounds: list[float] = []
    for other in others:
        at = common_start(ids, other)
        leaves = rows[at, other[at]] if at < len(other) else closing[at]
        bounds.append(along[at] + float(leaves))
    return bounds

"""What is thought of one candidate, and the number that candidates are ranked by.

Opinions that err differently. In the middle, with the rest of the scope known, a candidate's likelihood is
its posterior as far as the model learned to fill in, but the model does not know what stood there. Told the
wrong line in a comment before it, the model finds likely what is near to that line, and the line itself. Read
from the left, the change of the whole scope's likelihood counts what the candidate does to what follows. And
some kinds of edits undo many mistakes while others are only many: a kind's share of the mistakes is spread
over all edits of that kind that the line has (a noisy channel: Kernighan, Church & Gale, COLING 1990).
"""

import math
import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from types import MappingProxyType

from ace_analysis.report.repair import Source
from ace_analysis.steering.edits import EditKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What is known of a candidate, in nats. `scope` is None until the whole scope was read with it.

    Attributes:
        middle: log-probability of the region's text in the middle, and that it ends there.
        middle_before: the same of the text that stands there.
        told: log-probability where the model is told what stands there and that it is wrong; None: not asked.
        scope: how much more likely the scope is than before, read from the left.
        source: where the candidate comes from.
        kind: which edit it is, for edits, whoever proposed it.
        rivals: how many edits of its kind the place has.
        removed: how many tokens of what stands there it does without.
    """

    middle: float
    middle_before: float
    told: float | None = None
    scope: float | None = None
    source: Source = Source.EDIT
    kind: EditKind | None = None
    rivals: int = 1
    removed: int = 0

    @property
    def gain(self) -> float:
        """How much more likely the text is than what stands there, with all around it known."""
        return self.middle - self.middle_before


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingWeights:
    """What a nat of each opinion counts."""

    middle: float = 0.5
    told: float = 0.5
    scope: float = 0.25
    prior: float = 0.0
    removed: float = 2.0


WEIGHTS = RankingWeights()

_TOKEN = re.compile(r"\w+|[-+*/%&|^=!<>]=|\*\*|//|<<|>>|[^\w\s]")

KIND_SHARES = MappingProxyType(
    {
        EditKind.OFF_BY_ONE: 0.21,
        EditKind.NAME: 0.17,
        EditKind.UNWRAP: 0.16,
        EditKind.SWAP: 0.08,
        EditKind.COMPARISON: 0.075,
        EditKind.REPLACE: 0.05,
        EditKind.ARITHMETIC: 0.04,
        EditKind.WRAP: 0.04,
        EditKind.STATEMENT: 0.035,
        EditKind.ATTRIBUTE: 0.035,
        EditKind.CONSTANT: 0.03,
        EditKind.FUNCTION: 0.025,
        EditKind.TERM: 0.025,
        EditKind.BOOLEAN: 0.01,
        EditKind.SLICE: 0.008,
        EditKind.CONDITION: 0.007,
    }
)
"""How often each kind of edit is the fix, of the one-line bugs that one edit mends: counted on the validation
halves of DebugBench (66 bugs), llmbugs (10, twice) and planted bugs in MBPP (53, half), one added to each."""

REWRITTEN = math.log(0.2 / 50)
"""The prior of a line that is no small edit: a fifth of the fixes, and the model could write many."""


def rank_score(opinion: Opinion, weights: RankingWeights = WEIGHTS) -> float:
    """What candidates are ranked by, in nats; higher is better, comparable within one place."""
    score = weights.middle * opinion.gain + weights.prior * prior(opinion)
    score -= weights.removed * opinion.removed
    if opinion.told is not None:
        score += weights.told * (opinion.told - opinion.middle_before)
    return score if opinion.scope is None else score + weights.scope * opinion.scope


def prior(opinion: Opinion) -> float:
    """Log-probability of this edit being the one that mends a line, before the model is asked."""
    if opinion.kind is None:
        return REWRITTEN
    return math.log(KIND_SHARES[opinion.kind] / max(1, opinion.rivals))


def removed_tokens(old: str, new: str) -> int:
    """How many tokens of a text are not in another one, in order."""
    before, after = _TOKEN.findall(old), _TOKEN.findall(new)
    kept = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    return len(before) - sum(block.size for block in kept)

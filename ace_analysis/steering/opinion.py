"""What is thought of one candidate, and the number that candidates are ranked by.

Opinions that err differently. In the middle, with the rest of the scope known, a candidate's likelihood is
its posterior as far as the model learned to fill in, but the model does not know what stood there. Told the
wrong line in a comment before it, the model finds likely what is near to that line, and the line itself. Read
from the left, the change of the whole scope's likelihood counts what the candidate does to what follows.

All of these find a shorter line likelier, whatever it leaves out. What a fix has to explain as well is how
the mistake came about: as a noisy channel (Kernighan, Church & Gale, COLING 1990), P(fix) P(wrong | fix). A
fix that takes tokens away says that the mistake put them there, and to write a token costs some nats; one
that adds tokens says that they were dropped, which costs next to nothing.
"""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

from ace_analysis.report.repair import Source
from ace_analysis.steering.edits import EditKind

_TOKEN = re.compile(r"\w+|[-+*/%&|^=!<>]=|\*\*|//|<<|>>|[^\w\s]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What is known of a candidate, in nats. `scope` is None until the whole scope was read with it.

    Attributes:
        middle: log-probability of the region's text in the middle, and that it ends there.
        middle_before: the same of the text that stands there.
        told: log-probability where the model is told what stands there and that it is wrong; None: not asked.
        scope: how much more likely the scope is than before, read from the left.
        removed: how many tokens of what stands there it does without.
        source: where the candidate comes from.
        kind: which edit it is, for edits.
    """

    middle: float
    middle_before: float
    told: float | None = None
    scope: float | None = None
    removed: int = 0
    source: Source = Source.EDIT
    kind: EditKind | None = None

    @property
    def gain(self) -> float:
        """How much more likely the text is than what stands there, with all around it known."""
        return self.middle - self.middle_before


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingWeights:
    """What a nat of each opinion counts, and what a removed token costs."""

    middle: float = 0.5
    told: float = 0.5
    scope: float = 0.25
    removed: float = 2.0


WEIGHTS = RankingWeights()
"""Measured on 20 one-line bugs of QuixBugs, first fixes that pass their tests, without `scope`: either
opinion alone 4, both 5; both and a removed token at 1, 2, 3 or 4 nats 11, 12, 11 and 11. A prior for each
kind of edit (its share of fixes in DebugBench, llmbugs and planted bugs) was tried and gained nothing."""


def rank_score(opinion: Opinion, weights: RankingWeights = WEIGHTS) -> float:
    """What candidates are ranked by, in nats; higher is better, comparable within one place."""
    score = weights.middle * opinion.gain - weights.removed * opinion.removed
    if opinion.told is not None:
        score += weights.told * (opinion.told - opinion.middle_before)
    return score if opinion.scope is None else score + weights.scope * opinion.scope


def removed_tokens(old: str, new: str) -> int:
    """How many tokens of a text are not in another one, in order."""
    before, after = _TOKEN.findall(old), _TOKEN.findall(new)
    kept = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    return len(before) - sum(block.size for block in kept)

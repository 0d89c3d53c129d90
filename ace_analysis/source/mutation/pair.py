"""What a mutation is: two texts, the kind of mistake, and where it is in either."""

from dataclasses import dataclass
from enum import StrEnum

from ace_analysis.source.document import TextSpan


class MutationType(StrEnum):
    COMPARISON = "comparison"
    ARITHMETIC = "arithmetic"
    BOOLEAN = "boolean"
    OFF_BY_ONE = "off_by_one"
    VARIABLE_MISUSE = "variable_misuse"
    SWAPPED_ARGUMENTS = "swapped_arguments"
    WRONG_ATTRIBUTE = "wrong_attribute"
    MISSING_NOT = "missing_not"
    NONE_RETURN = "none_return"
    WRONG_KEYWORD = "wrong_keyword"
    REMOVED_GUARD = "removed_guard"
    WRONG_INDEX = "wrong_index"


@dataclass(frozen=True, slots=True, kw_only=True)
class MutationPair:
    """`positive` is right, `negative` has the bug.

    Both texts are equal before `positive_span.start` and behind their spans. `negative_span` begins at the
    candidate site that now is wrong, which is behind the change where code was taken away.
    """

    positive: str
    negative: str
    mutation_type: MutationType
    positive_span: TextSpan
    negative_span: TextSpan


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace `start..end` by `text`; `anchor` is the site to look at in the new text, if not at `start`."""

    kind: MutationType
    start: int
    end: int
    text: str
    anchor: TextSpan | None = None

    def applied_to(self, source: str) -> MutationPair:
        end = self.start + len(self.text)
        anchor = self.anchor or TextSpan(self.start, end)
        beyond = max(0, anchor.end - end)
        return MutationPair(
            positive=source,
            negative=source[: self.start] + self.text + source[self.end :],
            mutation_type=self.kind,
            positive_span=TextSpan(self.start, self.end + beyond),
            negative_span=TextSpan(anchor.start, end + beyond),
        )

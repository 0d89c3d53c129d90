"""What a text may go on with, if it is a slip of another: most of a wrong line is right.

A guess costs nothing but its reading, and reading many tokens costs little more than reading one (speculative
decoding, Leviathan et al., arXiv:2211.17192, §2; a text at hand as the draft: Saxena, prompt lookup decoding,
2023). The guess never changes what is written, only in how many passes.
"""

from collections.abc import Sequence


def continuation(written: Sequence[int], draft: Sequence[int], most: int) -> list[int]:
    """At most `most` tokens of `draft` that may follow `written`, if that is `draft` with a slip or two."""
    place = _place(written, draft)
    return list(draft[place : place + max(0, most)])


def _place(written: Sequence[int], draft: Sequence[int]) -> int:
    """Where in the draft the text goes on.

    Behind the place of its last token that the tokens before speak for most, and of those the one that lies
    nearest to as far in; a token that the draft doesn't have stands in place of one that it has.
    """
    if not written:
        return 0
    found = [at for at, token in enumerate(draft) if token == written[-1]]
    if not found:
        return min(len(draft), _place(written[:-1], draft) + 1)
    return 1 + max(
        found, key=lambda at: (common_start(written[::-1], draft[at::-1]), -abs(at + 1 - len(written)))
    )


def common_start(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count

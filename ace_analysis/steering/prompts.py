"""What the model is given to write a region anew: the text before and behind it, without the region.

Where the vocabulary has tokens for it, as fill-in-the-middle (Bavarian et al., arXiv:2207.14255, §3: prefix,
suffix, middle), so that what follows is known while the middle is written; elsewhere from what stands before
alone.
"""

from dataclasses import dataclass
from functools import lru_cache

from ace_analysis.model.tokens import CodeTokenizer

MOST_TOKENS = 640
SHARE_BEFORE = 0.7
"""Of a prompt that is too long, how much may stand before the region."""

_SPELLINGS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
)
_ENDS = ("<|fim_pad|>", "<|file_sep|>", "<|repo_name|>", "<|endoftext|>", "<|im_end|>", "▁<EOT>")
"""Control tokens with which a model ends a middle, beside the ends that its configuration names."""


@dataclass(frozen=True, slots=True)
class FimTokens:
    """The three control tokens of fill-in-the-middle."""

    prefix: int
    suffix: int
    middle: int

    @classmethod
    def of(cls, tokenizer: CodeTokenizer) -> "FimTokens | None":
        """Those of a vocabulary; None where it has none."""
        for spelling in _SPELLINGS:
            ids = [tokenizer.id_of(token) for token in spelling]
            if None not in ids:
                return cls(*(each for each in ids if each is not None))
        return None


def middle_prompt(
    tokenizer: CodeTokenizer, before: str, after: str, most_tokens: int = MOST_TOKENS
) -> list[int]:
    """The tokens that the middle is written behind; of a longer text what is nearest to the region."""
    fim = FimTokens.of(tokenizer)
    front, back = (tokenizer.encode(text).ids[1:] for text in (before, after))
    if fim is None:
        return [tokenizer.prefix_id, *front[-(most_tokens - 1) :]]
    room = most_tokens - 3
    if len(front) + len(back) > room:
        share = int(room * SHARE_BEFORE)
        kept = min(len(front), max(share, room - len(back)))
        front, back = front[len(front) - kept :], back[: room - kept]
    return [fim.prefix, *front, fim.suffix, *back, fim.middle]


def told_prompt(
    tokenizer: CodeTokenizer, before: str, old: str, after: str, most_tokens: int = MOST_TOKENS
) -> list[int] | None:
    """The same, with what stands there told as wrong in a comment before it; None within a line.

    The model then writes near to what stands there, which a mistake mostly is, and can't take it for unknown.
    """
    indent = before[before.rfind("\n") + 1 :]
    if indent.strip():
        return None
    wrong = f"\n{indent}# ".join(line.strip() for line in old.splitlines())
    note = f"# BUG: {wrong}\n{indent}# The same line, corrected:\n{indent}"
    return middle_prompt(tokenizer, before + note, after, most_tokens)


def end_ids(tokenizer: CodeTokenizer, ends: frozenset[int]) -> frozenset[int]:
    """What ends a middle: the model's own ends and the control tokens that stand for it."""
    found = (tokenizer.id_of(token) for token in _ENDS)
    return ends | {each for each in found if each is not None}


@lru_cache(maxsize=4)
def line_end_ids(tokenizer: CodeTokenizer) -> frozenset[int]:
    """The tokens that begin with a line's end; a vocabulary is read once."""
    spelled = ((index, tokenizer.spell(index)) for index in range(tokenizer.vocabulary_size))
    return frozenset(index for index, text in spelled if text[:1] in ("\n", "\r"))

"""All rules together: every single mistake that can be planted in a text, and a reproducible sample."""

import ast
import random
import warnings
from collections.abc import Callable, Iterable, Iterator

from ace_analysis.errors import InputError
from ace_analysis.source.mutation import calls, names, operators, statements
from ace_analysis.source.mutation.pair import Edit, MutationPair, MutationType
from ace_analysis.source.mutation.tree import CodeTree

_RULES: tuple[Callable[[CodeTree], Iterator[Edit]], ...] = (
    operators.comparisons,
    operators.arithmetic,
    operators.booleans,
    operators.off_by_ones,
    names.variable_misuses,
    calls.swapped_arguments,
    calls.wrong_attributes,
    calls.wrong_keywords,
    statements.missing_nots,
    statements.none_returns,
    statements.removed_guards,
    statements.wrong_indexes,
)


class MutationGenerator:
    """Plants single mistakes; the same seed gives the same pairs, on any machine."""

    def __init__(self, seed: int = 0, pairs_per_snippet: int = 4) -> None:
        if pairs_per_snippet < 1:
            raise InputError(f"pairs_per_snippet must be at least 1, got {pairs_per_snippet}")
        self.seed = seed
        self.pairs_per_snippet = pairs_per_snippet

    def mutations_of(self, text: str, *, check: bool = False) -> list[MutationPair]:
        """Every mutant of a function, a method (as indented as it is) or a module, in source order.

        None for a text that is not valid Python. Mutants are made from the syntax tree and so are valid too;
        `check` parses each to make sure, which costs more than making it.
        """
        if not is_python(text):
            return []
        tree = CodeTree(text)
        seen = {text}
        pairs: list[MutationPair] = []
        for edit in sorted((edit for rule in _RULES for edit in rule(tree)), key=_order):
            pair = edit.applied_to(text)
            if pair.negative not in seen and not (check and not is_python(pair.negative)):
                seen.add(pair.negative)
                pairs.append(pair)
        return pairs

    def generate_pairs(self, snippets: Iterable[str]) -> list[MutationPair]:
        """Up to `pairs_per_snippet` pairs for each text, of as many different types as there are."""
        if isinstance(snippets, str):
            raise InputError("expected a list of texts, got one str; give [text]")
        pairs: list[MutationPair] = []
        for index, text in enumerate(snippets):
            if not isinstance(text, str) or not is_python(text):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InputError(
                    f"expected Python, got snippet {index} that is not; give whole functions or files as str"
                )
            rng = random.Random(f"{self.seed}:{text}")
            pairs += spread(self.mutations_of(text), self.pairs_per_snippet, rng)
        return pairs


def spread(pairs: list[MutationPair], count: int, rng: random.Random) -> list[MutationPair]:
    """Up to `count` valid pairs, going round the types so that common ones don't crowd out rare ones."""
    by_type: dict[MutationType, list[MutationPair]] = {}
    for pair in rng.sample(pairs, len(pairs)):
        by_type.setdefault(pair.mutation_type, []).append(pair)
    queues = rng.sample(list(by_type.values()), len(by_type))
    chosen: list[MutationPair] = []
    while len(chosen) < count and any(queues):
        for queue in queues:
            pair = queue.pop() if queue and len(chosen) < count else None
            if pair is not None and is_python(pair.negative):
                chosen.append(pair)
    return chosen


def is_python(text: str) -> bool:
    """Whether a text, indented or not, parses."""
    wrapped = f"class _:\n{text}" if text[:1] in (" ", "\t") else text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(wrapped)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


def _order(edit: Edit) -> tuple[int, int, str, str]:
    return edit.start, edit.end, edit.kind.value, edit.text

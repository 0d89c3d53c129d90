"""Every small change of one line that could undo a mistake in it.

Most bugs are one small edit away from right code, and a model of half a billion parameters seldom writes
that edit by itself, but often knows it when it sees it. So the edits are listed from the syntax tree, and the
model only has to rank them: a candidate costs the few tokens from where it departs from the line.

Listing hundreds is cheap, parsing hundreds is not: `Programs` tells for one text at a time whether it parses
and is another program than all before, so that only those near the top of a ranking are ever parsed.
"""

import ast
import textwrap
import warnings
from collections.abc import Callable, Iterator

from ace_analysis.steering import expression_edits, token_edits
from ace_analysis.steering.edits import EditKind, LineEdit, LineTree, line_span

__all__ = ["EditKind", "LineEdit", "Programs", "line_edits", "line_span", "program_of"]

_RULES: tuple[Callable[[LineTree], Iterator[LineEdit]], ...] = (*token_edits.RULES, *expression_edits.RULES)


def line_edits(text: str, line: int) -> tuple[LineEdit, ...]:
    """The edits of a line (from 0) of a scope's text, each resulting text once, edits of one token first.

    Not all of the texts parse, and some are the same program in other words: see `Programs`. None for an
    empty line. Raises InputError for a line that the text does not have.
    """
    span = line_span(text, line)
    if span.start == span.end:
        return ()
    tree = LineTree(text, span)
    kept: dict[str, LineEdit] = {text[span.start : span.end]: LineEdit(EditKind.STATEMENT, 0, 0, "")}
    for edit in (edit for rule in _RULES for edit in rule(tree)):
        changed = text[span.start : edit.start] + edit.replacement + text[edit.end : span.end]
        kept.setdefault(changed, edit)
    return tuple(kept.values())[1:]


class Programs:
    """The programs met so far, by their syntax trees; layout, brackets and quotes make no other program."""

    def __init__(self, text: str) -> None:
        self._seen = {program_of(text)}

    def is_new(self, text: str) -> bool:
        """Whether a text parses and is another program than the first one and all asked for before."""
        program = program_of(text)
        if program is None or program in self._seen:
            return False
        self._seen.add(program)
        return True


def program_of(text: str) -> str | None:
    """The syntax tree of a text, indented or not, without its layout; None if there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.dump(ast.parse(textwrap.dedent(text) if text[:1] in (" ", "\t") else text))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None

"""One line of Python as tokens: enough structure to edit it, even where it does not parse."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from keyword import iskeyword

TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<comment>\#[^\n]*)"""
    r"""|(?P<string>[rbfuRBFU]{0,2}(?:'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"))"""
    r"""|(?P<number>0[xXbBoO]\w+|\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?j?|\.\d+)|(?P<name>[^\W\d]\w*)"""
    r"""|(?P<op>\*\*=|//=|>>=|<<=|->|:=|==|!=|<=|>=|\*\*|//|<<|>>|[-+*/%&|^@]=|[-+*/%&|^@~<>=().,:;\[\]{}])"""
    r"""|(?P<other>.)""",
    re.DOTALL,
)
CONSTANTS = ("True", "False", "None")
ARITHMETIC = ("+", "-", "*", "/", "//", "%", "**")
BITWISE = ("&", "|", "^", "<<", ">>")
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
OPENING, CLOSING = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a line with its place in it."""

    text: str
    kind: str
    start: int
    end: int


def tokens_of(line: str) -> tuple[Token, ...]:
    """The line's tokens without blanks and comments."""
    found = (
        Token(match.group(), match.lastgroup or "other", match.start(), match.end())
        for match in TOKEN.finditer(line)
    )
    return tuple(token for token in found if token.kind not in ("space", "comment"))


def names_in(text: str) -> tuple[str, ...]:
    """Names of a text that are no keywords and stand for values (not after a dot), most frequent first."""
    counts: dict[str, int] = {}
    tokens = tokens_of(text)
    for before, token in pairwise((Token("", "other", 0, 0), *tokens)):
        if token.kind == "name" and not iskeyword(token.text) and before.text != ".":
            counts[token.text] = counts.get(token.text, 0) + 1
    return tuple(sorted(counts, key=lambda name: -counts[name]))


def attributes_in(text: str) -> tuple[str, ...]:
    """Names of a text that stand behind a dot, each once, in order of appearance."""
    tokens = tokens_of(text)
    return tuple(dict.fromkeys(b.text for a, b in pairwise(tokens) if a.text == "." and b.kind == "name"))


@dataclass(frozen=True, slots=True)
class Edit:
    """A changed line and the kind of change that made it."""

    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its indentation, its tokens, and what its scope has to put in."""

    text: str
    tokens: tuple[Token, ...]
    names: tuple[str, ...]
    attributes: tuple[str, ...]

    def put(self, start: int, end: int, text: str, kind: str) -> Edit:
        return Edit(self.text[:start] + text + self.text[end:], kind)

    def swap(self, one: tuple[int, int], two: tuple[int, int], kind: str) -> Edit:
        line = self.text
        middle = line[one[1] : two[0]]
        text = line[: one[0]] + line[slice(*two)] + middle + line[slice(*one)] + line[two[1] :]
        return Edit(text, kind)

    def is_value_name(self, index: int) -> bool:
        token = self.tokens[index]
        return token.kind == "name" and not iskeyword(token.text) and not self.follows_dot(index)

    def follows_dot(self, index: int) -> bool:
        return index > 0 and self.tokens[index - 1].text == "."

    def next_text(self, index: int) -> str:
        return self.tokens[index + 1].text if index + 1 < len(self.tokens) else ""

    def is_operand_end(self, index: int) -> bool:
        token = self.tokens[index]
        if token.kind == "name":
            return not iskeyword(token.text) or token.text in CONSTANTS
        return token.kind in ("number", "string") or token.text in (")", "]", "}")


def binary_operands(c: Line) -> Iterator[tuple[tuple[int, int], Token, tuple[int, int]]]:
    """Each binary operator with its neighbouring operands: primaries, for `and`/`or` whole conditions."""
    for index, token in enumerate(c.tokens):
        if index == 0 or index + 1 >= len(c.tokens) or not c.is_operand_end(index - 1):
            continue
        if token.text in (*ARITHMETIC, *BITWISE, *COMPARISONS):
            one, two = primary_before(c, index - 1), primary_after(c, index + 1)
        elif token.text in ("and", "or"):
            one, two = condition_before(c, index - 1), condition_after(c, index + 1)
        else:
            continue
        yield (
            (c.tokens[one].start, c.tokens[index - 1].end),
            token,
            (c.tokens[index + 1].start, c.tokens[two].end),
        )


def primary_before(c: Line, index: int) -> int:
    while True:
        if c.tokens[index].text in CLOSING:
            index = opening(c.tokens, index)
            if index > 0 and (c.is_operand_end(index - 1)):
                index -= 1
                continue
            return index
        if index > 1 and c.follows_dot(index):
            index -= 2
            continue
        return index


def primary_after(c: Line, index: int) -> int:
    while index < len(c.tokens) - 1 and c.tokens[index].text in ("-", "+", "~", "not"):
        index += 1
    index = closing(c.tokens, index) or index
    while c.next_text(index) in ("(", "[", "."):
        following = closing(c.tokens, index + 1)
        index = following if following is not None else min(index + 2, len(c.tokens) - 1)
    return index


def condition_before(c: Line, index: int) -> int:
    stops = ("and", "or", "if", "while", "elif", "return", "=", ",", "(", "[", "else", "assert")
    while True:
        if c.tokens[index].text in CLOSING:
            index = opening(c.tokens, index)
        if index == 0 or c.tokens[index - 1].text in stops:
            return index
        index -= 1


def condition_after(c: Line, index: int) -> int:
    stops = ("and", "or", ":", ",", ")", "]", "else", "if", "for")
    while True:
        index = closing(c.tokens, index) or index
        if index + 1 >= len(c.tokens) or c.tokens[index + 1].text in stops:
            return index
        index += 1


def closing(tokens: Sequence[Token], index: int) -> int | None:
    """Index of the bracket that closes the one at `index`; None if there is none or it is no opening one."""
    if tokens[index].text not in OPENING:
        return None
    depth = 0
    for position in range(index, len(tokens)):
        depth += (tokens[position].text in OPENING) - (tokens[position].text in CLOSING)
        if depth == 0:
            return position
    return None


def opening(tokens: Sequence[Token], index: int) -> int:
    depth = 0
    for position in range(index, -1, -1):
        depth += (tokens[position].text in CLOSING) - (tokens[position].text in OPENING)
        if depth == 0:
            return position
    return 0

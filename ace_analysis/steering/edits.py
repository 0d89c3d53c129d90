"""Small edits of one line, enumerated from its tokens: the changes that most one-line bugs need to be undone.

A language model that is told to write a wrong line anew seldom writes what it believes to be unlikely, and the
right operator is often its second or third choice. An enumeration has it for certain; the model then only has
to recognise it. Works on tokens and not on a tree, since the line may be the one that does not parse.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from keyword import iskeyword

from ace_analysis.steering.line import (
    ARITHMETIC,
    BITWISE,
    CLOSING,
    COMPARISONS,
    CONSTANTS,
    OPENING,
    Edit,
    Line,
    attributes_in,
    binary_operands,
    closing,
    names_in,
    primary_after,
    tokens_of,
)

MEMBERSHIPS = (("in", "not in"), ("is", "is not"))
WRAPPERS = (
    "len",
    "abs",
    "sorted",
    "set",
    "list",
    "str",
    "int",
    "sum",
    "max",
    "min",
    "range",
    "reversed",
    "tuple",
)
RELATED = (
    ("min", "max"),
    ("any", "all"),
    ("append", "extend", "add", "insert", "remove", "appendleft", "push"),
    ("pop", "popleft", "remove", "discard"),
    ("sorted", "reversed", "list", "set", "tuple"),
    ("lower", "upper", "title", "capitalize"),
    ("isalpha", "isdigit", "isalnum", "isupper", "islower", "isspace"),
    ("strip", "lstrip", "rstrip", "split"),
    ("find", "index", "rfind", "count"),
    ("startswith", "endswith"),
    ("keys", "values", "items", "get"),
    ("int", "float", "str", "bool"),
    ("sum", "len", "max", "min"),
    ("floor", "ceil", "round", "int"),
    ("heappush", "heappop", "heappushpop"),
    ("left", "right"),
    ("next", "prev", "successor", "predecessor"),
    ("union", "intersection", "difference"),
    ("range", "enumerate", "len"),
)
KEYWORD_SWAPS = (
    ("return", "yield"), ("break", "continue"), ("if", "while"), ("if", "elif"), ("continue", "pass"),
    ("break", "pass"), ("break", "return"), ("yield", "yield from"), ("elif", "if"), ("continue", "return"),
)  # fmt: skip


def edits_of(line: str, scope_text: str) -> tuple[Edit, ...]:
    """All small edits of `line` (without indentation), each text once, the line itself left out.

    `scope_text` is where names and attributes to put in are taken from. Not every edit parses.
    """
    tokens = tokens_of(line)
    context = Line(line, tokens, names_in(scope_text)[:24], attributes_in(scope_text)[:12])
    seen = {line: Edit(line, "same")}
    for source in SOURCES:
        for edit in source(context):
            seen.setdefault(edit.text, edit)
    del seen[line]
    return tuple(edit for edit in seen.values() if edit.text.strip())


def _operators(c: Line) -> Iterator[Edit]:
    for index, token in enumerate(c.tokens):
        if token.kind != "op":
            continue
        unary = index == 0 or not c.is_operand_end(index - 1)
        if token.text in COMPARISONS:
            yield from (c.put(token.start, token.end, op, "comparison") for op in (*COMPARISONS, "in", "is"))
        elif token.text in (*ARITHMETIC, *BITWISE) and not unary:
            yield from (c.put(token.start, token.end, op, "arithmetic") for op in (*ARITHMETIC, *BITWISE))
        elif token.text == "-" and unary:
            yield c.put(token.start, token.end, "", "sign")
        elif token.text.endswith("=") and token.text[:-1] in (*ARITHMETIC, *BITWISE):
            operators = ("=", *(f"{op}=" for op in (*ARITHMETIC, *BITWISE)))
            yield from (c.put(token.start, token.end, op, "augmented") for op in operators)
        elif token.text == "=" and not _inside_brackets(c, index):
            yield from (
                c.put(token.start, token.end, f"{op}=", "augmented") for op in ("+", "-", "*", "|", "&", "//")
            )
            yield c.put(token.start, token.end, "==", "assignment")


def _inside_brackets(c: Line, index: int) -> bool:
    before = c.tokens[:index]
    return sum(t.text in OPENING for t in before) > sum(t.text in CLOSING for t in before)


def _booleans(c: Line) -> Iterator[Edit]:
    swaps = {"and": "or", "or": "and"}
    for index, token in enumerate(c.tokens):
        if token.text in swaps:
            yield c.put(token.start, token.end, swaps[token.text], "boolean")
        if token.text in CONSTANTS:
            yield from (
                c.put(token.start, token.end, other, "constant") for other in (*CONSTANTS, *c.names[:12])
            )
        if token.text in ("if", "while", "elif", "and", "or", "return", "assert") and c.next_text(
            index
        ) not in ("", "not"):
            yield c.put(token.end, token.end, " not", "not")
        if token.text == "not":
            yield c.put(token.start, _after_blank(c.text, token.end), "", "not")
        for plain, negated in MEMBERSHIPS:
            if (
                token.text == plain
                and c.next_text(index) != "not"
                and (index == 0 or c.tokens[index - 1].text != "not")
            ):
                yield c.put(token.start, token.end, negated, "not")
                if plain == "is":
                    yield c.put(token.start, token.end, "==", "comparison")


def _after_blank(line: str, at: int) -> int:
    return at + len(line[at:]) - len(line[at:].lstrip())


def _numbers(c: Line) -> Iterator[Edit]:
    for token in c.tokens:
        if token.kind != "number":
            continue
        if token.text.isdigit():
            value = int(token.text)
            others = dict.fromkeys([value + 1, value - 1, 0, 1, 2, -value, value * 10, value * 2])
            yield from (c.put(token.start, token.end, str(other), "number") for other in others)
        else:
            yield from (c.put(token.start, token.end, other, "number") for other in ("0", "1", "1.0"))
        yield from (c.put(token.start, token.end, name, "number-to-name") for name in c.names[:12])


def _names(c: Line) -> Iterator[Edit]:
    for index, token in enumerate(c.tokens):
        if token.kind != "name" or (iskeyword(token.text) and token.text not in CONSTANTS):
            continue
        for group in RELATED:
            if token.text in group:
                yield from (c.put(token.start, token.end, other, "related") for other in group)
        if c.follows_dot(index):
            yield from (c.put(token.start, token.end, other, "attribute") for other in c.attributes)
            continue
        yield from (c.put(token.start, token.end, name, "name") for name in c.names)
        if c.next_text(index) not in ("(", "="):
            yield from (c.put(token.start, token.end, number, "name-to-number") for number in ("0", "1"))


def _offsets(c: Line) -> Iterator[Edit]:
    for index, token in enumerate(c.tokens):
        if not c.is_operand_end(index) or c.next_text(index) in ("(", ".", "=", "["):
            continue
        yield from (
            c.put(token.end, token.end, text, "offset")
            for text in (" + 1", " - 1", "[1:]", "[:-1]", "[0]", "[-1]")
        )
        if token.kind != "number":
            for name in c.names[:8]:
                yield from (c.put(token.end, token.end, f" {op} {name}", "term") for op in ("+", "-", "*"))


def _dropped_terms(c: Line) -> Iterator[Edit]:
    """`a + b` becomes `a` or `b`; `f(x)` becomes `x`; `a[i]` and `a.b()` become `a`; one argument goes."""
    for one, operator, two in binary_operands(c):
        kind = "dropped" if operator.text not in ("and", "or") else "condition"
        yield c.put(one[1], two[1], "", kind)
        yield c.put(one[0], two[0], "", kind)
    for index, token in enumerate(c.tokens):
        close = closing(c.tokens, index)
        if close is None or index == 0 or not c.is_operand_end(index - 1):
            continue
        end = c.tokens[close].end
        yield c.put(token.start, end, "", "dropped")
        if token.text == "(" and c.is_value_name(index - 1):
            inner = c.text[token.end : c.tokens[close].start]
            yield c.put(c.tokens[index - 1].start, end, inner, "unwrapped")
        if token.text == "(" and c.follows_dot(index - 1):
            yield c.put(c.tokens[index - 2].start, end, "", "dropped")
    for items in _lists(c):
        for (start, end), (following, _) in pairwise(items):
            yield c.put(start, following, "", "argument")
            yield c.put(end, items[-1][1], "", "argument")


def _lists(c: Line) -> Iterator[list[tuple[int, int]]]:
    """The comma-separated items of each bracket, and of the line itself, where there are two or more."""
    frames: list[list[int]] = [[0]]
    ends: list[list[int]] = [[]]
    for index, token in enumerate(c.tokens):
        if token.text in OPENING:
            frames.append([index + 1])
            ends.append([])
        elif (
            token.text in (",", "=", "return", "in", ":", "yield") and len(frames) == 1 and token.text != ","
        ):
            frames[-1], ends[-1] = [index + 1], []
        elif token.text == ",":
            ends[-1].append(index)
            frames[-1].append(index + 1)
        elif token.text in CLOSING and len(frames) > 1:
            yield from _spans(c, frames.pop(), [*ends.pop(), index])
    yield from _spans(c, frames[0], [*ends[0], len(c.tokens)])


def _spans(c: Line, starts: list[int], ends: list[int]) -> Iterator[list[tuple[int, int]]]:
    items = [(c.tokens[a].start, c.tokens[b - 1].end) for a, b in zip(starts, ends, strict=False) if a < b]
    if len(items) >= 2:
        yield items


def _swaps(c: Line) -> Iterator[Edit]:
    for items in _lists(c):
        for first in range(len(items)):
            for second in range(first + 1, min(len(items), 4)):
                yield c.swap(items[first], items[second], "swapped")
    for one, operator, two in binary_operands(c):
        yield c.swap(one, two, "swapped")
        if operator.text == "-":
            yield c.put(one[0], two[1], f"abs({c.text[one[0] : two[1]]})", "wrapped")
    places = [(token.start, token.end) for index, token in enumerate(c.tokens) if c.is_value_name(index)]
    for index, one in enumerate(places):
        yield from (c.swap(one, two, "swapped") for two in places[index + 1 :][:6])


def _wraps(c: Line) -> Iterator[Edit]:
    for index, token in enumerate(c.tokens):
        if not c.is_value_name(index) or c.next_text(index) == "=":
            continue
        end = c.tokens[primary_after(c, index)].end
        if c.next_text(index) != "(":
            for name in WRAPPERS:
                yield c.put(token.start, end, f"{name}({c.text[token.start : end]})", "wrapped")
            yield from (
                c.put(token.end, token.end, f".{attribute}", "attribute") for attribute in c.attributes
            )
            yield from (c.put(token.end, token.end, f"[{name}]", "subscript") for name in c.names[:8])
        if c.next_text(index) == "(" and end > c.tokens[index + 1].end:
            inside = c.tokens[primary_after(c, index)].start
            empty = c.text[c.tokens[index + 1].end : inside].strip() == ""
            for name in c.names[:10]:
                yield c.put(inside, inside, name if empty else f", {name}", "argument")
            yield from (c.put(end, end, text, "offset") for text in (" + 1", " - 1"))


def _conditions(c: Line) -> Iterator[Edit]:
    """A further condition behind `if` and `while`, and brackets around one half of `a and b or c`."""
    if not c.tokens or c.tokens[0].text not in ("if", "while", "elif") or c.tokens[-1].text != ":":
        return
    end = c.tokens[-2].end if len(c.tokens) > 2 else c.tokens[0].end
    for joint in ("and", "or"):
        for name in c.names[:8]:
            yield c.put(end, end, f" {joint} {name}", "condition")
            yield c.put(end, end, f" {joint} not {name}", "condition")
    start = c.tokens[1].start
    for name in c.names[:8]:
        yield c.put(start, end, name, "condition")
        yield c.put(start, end, f"not {name}", "condition")


def _keywords(c: Line) -> Iterator[Edit]:
    for index, token in enumerate(c.tokens):
        for one, two in KEYWORD_SWAPS:
            if token.text == one:
                yield c.put(token.start, token.end, two, "keyword")
            elif token.text == two:
                yield c.put(token.start, token.end, one, "keyword")
        if token.text == "else" and index == 0:
            yield from (c.put(token.start, token.end, f"elif {name}", "condition") for name in c.names[:8])
    if c.tokens and c.is_operand_end(len(c.tokens) - 1):
        yield Edit("return " + c.text, "keyword")
    if c.tokens and c.tokens[0].text == "return":
        yield Edit(c.text[c.tokens[0].end :].lstrip(), "keyword")
    if c.tokens and c.tokens[0].text in ("if", "while", "for", "elif", "else", "def", "with", "try"):
        yield Edit(c.text.rstrip() + ":", "syntax")


def _brackets(c: Line) -> Iterator[Edit]:
    """One bracket more or less, and brackets around a sum: for lines that do not parse, and for precedence."""
    for one, operator, two in binary_operands(c):
        if operator.text in ("+", "-", "&", "|", "and", "or"):
            yield c.put(one[0], two[1], f"({c.text[one[0] : two[1]]})", "brackets")
    for token in c.tokens:
        if token.text in (*OPENING, *CLOSING, ":", ",", "."):
            yield c.put(token.start, token.end, "", "syntax")
        if token.text in CLOSING:
            yield c.put(token.end, token.end, ")", "syntax")
    yield from (Edit(c.text.rstrip() + text, "syntax") for text in (")", "]", ":", "):"))


SOURCES: tuple[Callable[[Line], Iterator[Edit]], ...] = (
    _operators, _booleans, _numbers, _names, _offsets, _dropped_terms, _swaps, _wraps, _conditions, _keywords, _brackets,
)  # fmt: skip

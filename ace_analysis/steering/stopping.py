"""Where a text that a model writes is done: at the end of a line, a statement or a block.

A model that fills in seldom says by itself that the middle is over; it goes on with what is behind. Each rule
gets the text so far and gives the length of what belongs to the region, or None while it may go on.
"""

from collections.abc import Callable

Stop = Callable[[str], int | None]

_OPENING, _CLOSING = "([{", ")]}"
_LINE_ENDS = "\r\n"


def line_end(text: str) -> int | None:
    """At the first line end."""
    return next((at for at, char in enumerate(text) if char in _LINE_ENDS), None)


def statement_end(text: str) -> int | None:
    """At the first line end outside of brackets, of texts in quotes and of a backslash's continuation."""
    depth, quote, at = 0, "", 0
    while at < len(text):
        char = text[at]
        if quote:
            if char == "\\":
                at += 1
            elif text.startswith(quote, at):
                at += len(quote) - 1
                quote = ""
            elif char in _LINE_ENDS and len(quote) == 1:
                return at
        elif char in "\"'":
            quote = char * 3 if text.startswith(char * 3, at) else char
            at += len(quote) - 1
        elif char == "\\":
            at += 1
        elif char in _LINE_ENDS and depth <= 0:
            return at
        else:
            depth += (char in _OPENING) - (char in _CLOSING)
        at += 1
    return None


def block_end(indent: int) -> Stop:
    """Before the first line that begins at fewer than `indent` columns; the first line is at its place."""

    def stop(text: str) -> int | None:
        start = 0
        for line in text.splitlines(keepends=True):
            bare = line.strip()
            columns = len(line) - len(line.lstrip(" \t"))
            if start and bare and line[-1] in _LINE_ENDS and columns < indent:
                return len(text[:start].rstrip())
            start += len(line)
        return None

    return stop

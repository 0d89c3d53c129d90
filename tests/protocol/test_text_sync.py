"""The server's copy of a text against a model of it, over the wire: random edits of nasty texts.

The model knows no lines: it cuts the text at two offsets, and counts positions by encoding what stands before
them, so it shares nothing with what it tests.
"""

import contextlib
import random
import re
from collections.abc import Iterator

import pytest
from lsprotocol import types
from pygls.workspace import TextDocument
from pygls.workspace.position_codec import PositionCodec

from ace_lsp.documents import Document

UNITS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}
ALPHABET = [
    *"ab 1\t\n\n",
    "\r",
    "\r\n",
    "\r\n",
    "😋",
    "é",
    "漢",
    "e\u0301",
    "👩‍👩‍👧",
    "\x0c",
    "\x0b",
    "\x1c",
    "\x85",
    "\u2028",
]
ALPHABET += ["\u2029", "\ufeff", "\u200d", "\U0001d4d0"]
DOCUMENTS = 3

Edit = tuple[int, str, tuple[int, int], tuple[int, int], str]
"""Which document, its text afterwards, both ends, and what was put between them."""


def nasty(source: random.Random, longest: int) -> str:
    return "".join(source.choice(ALPHABET) for _ in range(source.randint(0, longest)))


def position(text: str, offset: int, encoding: str) -> tuple[int, int]:
    """Line and column of an offset that lies within no line ending."""
    before = re.sub(r"\r\n|\r", "\n", text[:offset])
    codec, width = UNITS[encoding]
    return before.count("\n"), len(before.rsplit("\n", 1)[-1].encode(codec, "surrogatepass")) // width


def place(source: random.Random, text: str) -> int:
    """Any offset but one between \\r and \\n, where no position is."""
    offset = source.randint(0, len(text))
    return offset - 1 if text[max(0, offset - 1) : offset + 1] == "\r\n" else offset


def edits(count: int, encoding: str, seed: int) -> Iterator[Edit]:
    """Random edits of a few documents that start with a byte order mark or not."""
    source = random.Random(seed)
    texts = ["\ufeff" + nasty(source, 60), nasty(source, 60), ""]
    for _ in range(count):
        which = source.randrange(DOCUMENTS)
        text = texts[which]
        start, end = sorted((place(source, text), place(source, text)))
        if source.random() < 0.7:
            end = min(end, start + source.randint(0, 4))
            end -= text[max(0, end - 1) : end + 1] == "\r\n"
            end = max(start, end)
        new = nasty(source, 4)
        if len(text) > 400:
            start, end, new = 0, len(text), nasty(source, 60)
        ends = position(text, start, encoding), position(text, end, encoding)
        texts[which] = text[:start] + new + text[end:]
        yield which, texts[which], *ends, new


def first_texts(seed: int) -> list[str]:
    source = random.Random(seed)
    return ["\ufeff" + nasty(source, 60), nasty(source, 60), ""]


def wrong(count: int, encoding: str, kind: type[TextDocument] = Document) -> int:
    """How many of so many edits leave the server's document other than the model's."""
    codec = PositionCodec(types.PositionEncodingKind(encoding))
    documents = [
        kind(f"file:///{number}.py", text, 0, "python", position_codec=codec)
        for number, text in enumerate(first_texts(7))
    ]
    bad = 0
    for which, expected, start, end, new in edits(count, encoding, 7):
        where = types.Range(types.Position(*start), types.Position(*end))
        with contextlib.suppress(IndexError):
            documents[which].apply_change(types.TextDocumentContentChangePartial(range=where, text=new))
        if documents[which].source != expected:
            bad += 1
            documents[which]._source = expected
    return bad


@pytest.mark.parametrize("encoding", UNITS)
def test_20000_random_edits_leave_no_text_wrong(encoding):
    assert wrong(20_000, encoding) == 0


@pytest.mark.parametrize("encoding", UNITS)
def test_the_edits_are_nasty_enough_to_be_wrong_in_the_documents_of_pygls(encoding):
    """Else the test above would pass for a wrong reason."""
    assert wrong(1000, encoding, TextDocument) > 100


@pytest.mark.parametrize("profile", ["vscode", "neovim", "emacs"])
async def test_over_the_wire_the_worker_is_given_the_text_that_the_editor_has(start, profile):
    """UTF-16, UTF-8 and UTF-32, as these editors ask for."""
    async with start(profile, run="manual") as editor:
        uris = [f"file:///project/{number}.py" for number in range(DOCUMENTS)]
        texts = first_texts(11)
        for uri, text in zip(uris, texts, strict=True):
            editor.open(uri, text)
        for number, (which, text, first, last, new) in enumerate(edits(300, editor.encoding.value, 11)):
            texts[which] = text
            where = types.Range(types.Position(*first), types.Position(*last))
            editor._change(uris[which], types.TextDocumentContentChangePartial(range=where, text=new))
            if number % 30 == 29:
                await editor.command("ace.analyzeFile", uris[which])
                assert editor.journal("scan")[-1]["text"] == texts[which]

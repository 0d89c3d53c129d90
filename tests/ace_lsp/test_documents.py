"""Text synchronisation against an oracle that knows nothing of lines: cut the text at two offsets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol import types
from pygls.workspace.position_codec import PositionCodec

from ace_lsp.documents import AceWorkspace, Document
from ace_lsp.positions import Encoding, LineIndex

URI = "file:///a.py"
ENCODINGS = [Encoding.Utf8, Encoding.Utf16, Encoding.Utf32]
NASTY = st.text(alphabet="ab \t\n\r\x0b\x0c\x1c\x85\u2028\u2029é漢😋\ufeff\u200d", max_size=30)


def document(text: str, encoding: Encoding = Encoding.Utf16) -> Document:
    return Document(URI, text, 1, "python", position_codec=PositionCodec(encoding))


def edit(where: types.Range, text: str) -> types.TextDocumentContentChangePartial:
    return types.TextDocumentContentChangePartial(range=where, text=text)


@settings(max_examples=300)
@given(
    NASTY, st.sampled_from(ENCODINGS), st.lists(st.tuples(NASTY, st.integers(), st.integers()), max_size=6)
)
def test_a_row_of_edits_gives_what_cutting_the_text_gives(text, encoding, edits):
    mine, expected = document(text, encoding), text
    for new, one, other in edits:
        index = LineIndex(expected, encoding)
        ends = [index.position_at(offset % (len(expected) + 1)) for offset in (one, other)]
        ends.sort(key=lambda position: (position.line, position.character))
        start, end = (index.offset_at(position) for position in ends)
        mine.apply_change(edit(types.Range(*ends), new))
        expected = expected[:start] + new + expected[end:]
        assert mine.source == expected


@given(NASTY, st.sampled_from(ENCODINGS))
def test_the_lines_are_the_text(text, encoding):
    lines = document(text, encoding).lines
    assert "".join(lines) == text
    assert all("\n" not in line[:-1] for line in lines)


@pytest.mark.parametrize("separator", ["\x0c", "\x0b", "\x1c", "\x85", "\u2028", "\u2029"])
def test_m_what_python_takes_for_a_line_ending_is_an_ordinary_character(separator):
    mine = document(f"a{separator}b\nc")
    mine.apply_change(edit(types.Range(types.Position(1, 0), types.Position(1, 1)), "X"))
    assert mine.source == f"a{separator}b\nX"


def test_n_a_position_behind_the_end_means_the_end():
    mine = document("abc")
    mine.apply_change(edit(types.Range(types.Position(0, 99), types.Position(7, 99)), "X"))
    assert mine.source == "abcX"


def test_the_lines_are_counted_once_per_version():
    mine = document("a\nb")
    assert mine.index is mine.index
    before = mine.index
    mine.apply_change(types.TextDocumentContentChangeWholeDocument(text="c"))
    assert mine.index is not before
    assert len(mine.index) == 1


def test_only_what_the_client_has_open_is_a_document(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    workspace = AceWorkspace(None)
    uri = (tmp_path / "a.py").as_uri()
    assert workspace.open_document(uri) is None
    workspace.put_text_document(types.TextDocumentItem(uri=uri, language_id="python", version=3, text=""))
    opened = workspace.open_document(uri)
    assert opened is not None and (opened.source, opened.version) == ("", 3)

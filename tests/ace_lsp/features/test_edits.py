import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from ace_analysis.report.repair import Fix, Source
from ace_analysis.source.document import TextSpan
from ace_lsp.client import Client
from ace_lsp.features.edits import edit_of_fix, insertion, workspace_edit
from ace_lsp.positions import LineIndex
from ace_lsp.units import Part, Unit

URI = "file:///a.py"
EDIT = types.TextEdit(types.Range(types.Position(0, 0), types.Position(0, 1)), "x")


def part(text: str, start: int = 0, uri: str = URI) -> Part:
    return Part(uri=uri, version=3, start=start, lines=LineIndex(text))


def unit(*texts: str) -> Unit:
    """A document, or a notebook of several cells."""
    parts, start = [], 0
    for number, text in enumerate(texts):
        parts.append(part(text, start, URI if len(texts) == 1 else f"cell:{number}"))
        start += len(text) + 1
    whole = texts[0] if len(texts) == 1 else "".join(f"{text}\n" for text in texts)
    return Unit(uri=URI, version=3, text=whole, parts=tuple(parts))


def fix(start: int, end: int, replacement: str = "x") -> Fix:
    return Fix(span=TextSpan(start, end), replacement=replacement, source=Source.EDIT, score=0.0)


def test_the_version_is_named_where_the_client_checks_it():
    edit = workspace_edit(Client(versioned_edits=True), part("ab"), [EDIT])
    (change,) = edit.document_changes or ()
    assert change.text_document.version == 3 and edit.changes is None
    assert workspace_edit(Client(), part("ab"), [EDIT]).changes == {URI: [EDIT]}


def test_it_is_confirmed_only_where_that_was_asked_for_and_is_known():
    asks = Client(versioned_edits=True, annotated_edits=True)
    assert workspace_edit(asks, part("ab"), [EDIT]).change_annotations is None
    edit = workspace_edit(asks, part("ab"), [EDIT], preview="Fix")
    assert edit.change_annotations["ace"].needs_confirmation
    (change,) = edit.document_changes or ()
    assert change.edits[0].annotation_id == "ace"
    assert (
        workspace_edit(Client(versioned_edits=True), part("a"), [EDIT], preview="F").change_annotations
        is None
    )


@given(st.text(alphabet="ab\n😋", max_size=20), st.text(alphabet="x\n", max_size=5), st.data())
def test_a_fix_of_a_document_is_the_replacement_of_its_span(text, replacement, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    found = edit_of_fix(unit(text), fix(start, end, replacement))
    assert found is not None
    where, lines = found[1].range, LineIndex(text)
    span = lines.span_of(where)
    assert (
        text[: span.start] + found[1].new_text + text[span.end :] == text[:start] + replacement + text[end:]
    )


def test_new_lines_end_as_the_documents_do():
    found = edit_of_fix(unit("a\r\nb\r\n"), fix(0, 1, "c\nd\r"))
    assert found is not None and found[1].new_text == "c\r\nd\r\n"


def test_in_a_notebook_a_fix_lies_in_one_cell_and_touches_no_magic():
    cells = unit("x = 1", "y = 2")
    found = edit_of_fix(cells, fix(6, 7, "z"))
    assert found is not None and found[0].uri == "cell:1"
    assert found[1].range.start == types.Position(0, 0)
    assert edit_of_fix(cells, fix(4, 7)) is None
    magic = Unit(uri=URI, version=1, text="#time x\n", parts=(part("%time x", uri="cell:0"),))
    assert edit_of_fix(magic, fix(0, 5)) is None
    assert edit_of_fix(magic, fix(6, 7)) is not None


def test_an_insertion_replaces_nothing():
    edit = insertion(part("a\nb"), 2, "c")
    assert (edit.range.start, edit.range.end, edit.new_text) == (
        types.Position(1, 0),
        types.Position(1, 0),
        "c",
    )


@pytest.mark.parametrize("text", ["", "a"])
def test_a_text_without_lines_takes_a_fix_as_it_is(text):
    found = edit_of_fix(unit(text), fix(0, len(text), "c\nd"))
    assert found is not None and found[1].new_text == "c\nd"

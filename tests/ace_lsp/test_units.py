import pytest
from lsprotocol import types

from ace_analysis.source.document import TextSpan
from ace_lsp.documents import AceWorkspace
from ace_lsp.units import is_python, unit_of

NOTEBOOK = "file:///n.ipynb"


def item(uri: str, text: str, language: str = "python") -> types.TextDocumentItem:
    return types.TextDocumentItem(uri=uri, language_id=language, version=4, text=text)


def workspace(*cells: tuple[str, str, bool]) -> AceWorkspace:
    """A workspace with a notebook: text, language, and whether it is code, of each cell."""
    made = AceWorkspace(None)
    kinds = {True: types.NotebookCellKind.Code, False: types.NotebookCellKind.Markup}
    notebook = types.NotebookDocument(
        uri=NOTEBOOK,
        notebook_type="jupyter-notebook",
        version=7,
        cells=[types.NotebookCell(kind=kinds[each[2]], document=f"cell:{n}") for n, each in enumerate(cells)],
    )
    texts = [item(f"cell:{n}", text, language) for n, (text, language, _) in enumerate(cells)]
    made.put_notebook_document(types.DidOpenNotebookDocumentParams(notebook, texts))
    return made


def test_a_document_is_one_part_at_its_beginning():
    made = AceWorkspace(None)
    made.put_text_document(item("file:///a.py", "x = 1\n"))
    unit = unit_of(made, "file:///a.py")
    assert unit is not None and not unit.is_notebook
    assert (unit.uri, unit.version, unit.text) == ("file:///a.py", 4, "x = 1\n")


def test_what_is_not_open_or_not_python_is_no_unit():
    made = AceWorkspace(None)
    made.put_text_document(item("file:///a.js", "x", "javascript"))
    assert unit_of(made, "file:///a.js") is None
    assert unit_of(made, "file:///b.py") is None


def test_the_code_cells_of_a_notebook_are_one_text_and_each_place_belongs_to_a_cell():
    made = workspace(("x = 1", "python", True), ("# text", "markdown", False), ("y = 2", "python", True))
    unit = unit_of(made, "cell:2")
    assert unit is not None and unit.is_notebook
    assert (unit.uri, unit.version, unit.text) == (NOTEBOOK, 7, "x = 1\ny = 2\n")
    place = unit.place(TextSpan(6, 7))
    assert place is not None
    part, span = place
    assert (part.uri, part.version, span) == ("cell:2", 4, TextSpan(0, 1))
    assert unit.place(TextSpan(99, 99)) is None


def test_a_place_that_reaches_into_the_next_cell_ends_with_its_own():
    unit = unit_of(workspace(("x = 1", "python", True), ("y = 2", "python", True)), NOTEBOOK)
    assert unit is not None
    place = unit.place(TextSpan(4, 8))
    assert place is not None and place[1] == TextSpan(4, 5)


def test_magics_become_comments_of_the_same_length_and_other_languages_are_left_out():
    made = workspace(("%time f()\n  !ls\nx = a % b", "python", True), ("%%bash\nls", "python", True))
    unit = unit_of(made, NOTEBOOK)
    assert unit is not None
    assert unit.text == "#time f()\n  #ls\nx = a % b\n"


def test_lone_surrogates_are_replaced_one_for_one():
    made = AceWorkspace(None)
    made.put_text_document(item("file:///a.py", "x = '\ud83d'"))
    unit = unit_of(made, "file:///a.py")
    assert unit is not None and unit.text == "x = '\ufffd'"


@pytest.mark.parametrize(
    ("language", "uri", "expected"),
    [("python", "untitled:1", True), ("", "a.py", True), (None, "a.pyi", True), ("toml", "a.py", False)],
)
def test_the_language_decides_and_only_without_one_the_name(language, uri, expected):
    assert is_python(language, uri) is expected

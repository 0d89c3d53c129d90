"""Notebooks: all code cells are one text for the engine, and each finding goes to its cell."""

from lsprotocol import types

NOTEBOOK = "file:///project/n.ipynb"


def cell(number: int, kind: types.NotebookCellKind = types.NotebookCellKind.Code) -> types.NotebookCell:
    return types.NotebookCell(kind=kind, document=uri(number))


def uri(number: int) -> str:
    return f"vscode-notebook-cell:/project/n.ipynb#{number}"


def text(number: int, source: str, language: str = "python") -> types.TextDocumentItem:
    return types.TextDocumentItem(uri=uri(number), language_id=language, version=1, text=source)


def opened(editor, *sources: str) -> None:
    notebook = types.NotebookDocument(
        uri=NOTEBOOK,
        notebook_type="jupyter-notebook",
        version=1,
        cells=[cell(number) for number in range(len(sources))],
    )
    cells = [text(number, source) for number, source in enumerate(sources)]
    editor.client.notebook_document_did_open(
        types.DidOpenNotebookDocumentParams(notebook_document=notebook, cell_text_documents=cells)
    )


def changed(editor, version: int, change: types.NotebookDocumentCellChanges) -> None:
    editor.client.notebook_document_did_change(
        types.DidChangeNotebookDocumentParams(
            notebook_document=types.VersionedNotebookDocumentIdentifier(version=version, uri=NOTEBOOK),
            change=types.NotebookDocumentChangeEvent(cells=change),
        )
    )


async def test_a_finding_is_published_for_its_cell_in_its_cells_lines(start):
    async with start("vscode") as editor:
        opened(editor, "import os\n\ndef f():\n    return 1", "x = 1\ny = BUG", "%time BUG\n%%bash")
        (diagnostic,) = await editor.shown(uri(1), 1, 1)
        assert (diagnostic.range.start.line, diagnostic.range.start.character) == (1, 4)
        await editor.done()
        assert len(editor.journal("scan")) == 1
        assert await editor.shown(uri(0), 1) == []


async def test_cells_are_pushed_even_to_who_pulls_and_never_both(start):
    async with start("vscode") as editor:
        opened(editor, "x = BUG")
        await editor.shown(uri(0), 1, 1)
        assert list((await editor.pull(uri(0))).items) == []


async def test_an_edit_of_one_cell_and_a_cell_that_goes(start):
    async with start("vscode") as editor:
        opened(editor, "x = 1", "y = BUG")
        await editor.shown(uri(1), 1, 1)
        edit = types.NotebookDocumentCellContentChanges(
            document=types.VersionedTextDocumentIdentifier(version=2, uri=uri(0)),
            changes=[types.TextDocumentContentChangeWholeDocument(text="# more\nx = BUG")],
        )
        changed(editor, 2, types.NotebookDocumentCellChanges(text_content=[edit]))
        (diagnostic,) = await editor.shown(uri(0), 2, 1)
        assert diagnostic.range.start.line == 1
        gone = types.NotebookDocumentCellChangeStructure(
            array=types.NotebookCellArrayChange(start=1, delete_count=1),
            did_close=[types.TextDocumentIdentifier(uri(1))],
        )
        changed(editor, 3, types.NotebookDocumentCellChanges(structure=gone))
        await editor.shown(uri(1), None, 0)


async def test_closing_takes_back_what_every_cell_showed(start):
    async with start() as editor:
        opened(editor, "x = BUG", "y = BUG")
        await editor.shown(uri(1), 1, 1)
        editor.client.notebook_document_did_close(
            types.DidCloseNotebookDocumentParams(
                notebook_document=types.NotebookDocumentIdentifier(NOTEBOOK),
                cell_text_documents=[types.TextDocumentIdentifier(uri(number)) for number in range(2)],
            )
        )
        await editor.shown(uri(0), None, 0)
        await editor.shown(uri(1), None, 0)


async def test_hovers_and_actions_of_a_cell_are_about_that_cell(start):
    async with start("vscode") as editor:
        opened(editor, "# first", "x = 1\ny = BUG")
        await editor.shown(uri(1), 1, 1)
        hover = await editor.hover(uri(1), 1, 5)
        assert hover.range.start == types.Position(1, 4)
        assert "cell 2, line 2" in hover.contents.value
        assert await editor.hover(uri(0), 0, 0) is None
        assert await editor.actions(uri(0), (0, 0, 0, 0)) == []
        actions = await editor.actions(uri(1), (1, 4, 1, 4))
        on_line, in_file = [each.edit.document_changes[0] for each in actions if each.edit is not None]
        assert (on_line.text_document.uri, in_file.text_document.uri) == (uri(1), uri(0))
        where = {"start": {"line": 1, "character": 4}, "end": {"line": 1, "character": 7}}
        answer = await editor.command("ace.regenerate", uri(1), where, {"apply": False})
        assert answer.fixes[0]["uri"] == uri(1)
        assert answer.fixes[0]["range"]["start"] == {"line": 1, "character": 4}

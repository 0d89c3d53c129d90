"""What is analysed as one text: a document, or all code cells of a notebook one after the other.

A finding comes back in code points of the whole; `Unit.place` says in which document of the editor it lies.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from lsprotocol import types

from ace_analysis.source.document import TextSpan
from ace_lsp.documents import AceWorkspace, Document
from ace_lsp.positions import LineIndex

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_MAGIC = re.compile(r"^([ \t]*)[%!?](?=.)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One document of the editor inside a unit, from `start` on."""

    uri: str
    version: int
    start: int
    lines: LineIndex

    @property
    def span(self) -> TextSpan:
        return TextSpan(self.start, self.start + len(self.lines.text))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Unit:
    """One version of one thing to analyse. `uri` names it, also in the engine's messages."""

    uri: str
    version: int
    text: str
    parts: tuple[Part, ...]

    @property
    def is_notebook(self) -> bool:
        return len(self.parts) != 1 or self.parts[0].uri != self.uri

    def part(self, uri: str) -> Part | None:
        wanted = unquote(uri)
        return next((part for part in self.parts if unquote(part.uri) == wanted), None)

    def span_of(self, uri: str, where: types.Range) -> TextSpan | None:
        """The span in this unit of a range in one of its documents; None for another document."""
        part = self.part(uri)
        return part.lines.span_of(where).shifted(part.start) if part is not None else None

    def place(self, span: TextSpan) -> tuple[Part, TextSpan] | None:
        """The part that a span starts in, and the span inside it; cut at the part's end."""
        for part in self.parts:
            if part.start <= span.start <= part.span.end:
                local = span.shifted(-part.start)
                return part, TextSpan(local.start, min(local.end, len(part.lines.text)))
        return None

    def place_of_edit(self, span: TextSpan) -> tuple[Part, TextSpan] | None:
        """The part that a span can be replaced in: it holds all of it, and as the person wrote it."""
        found = next((part for part in self.parts if self._within(part.span, span)), None)
        if found is None:
            return None
        local = span.shifted(-found.start)
        written = found.lines.text[local.start : local.end]
        return (found, local) if written == self.text[span.start : span.end] else None

    def _within(self, outer: TextSpan, inner: TextSpan) -> bool:
        return outer.start <= inner.start and inner.end <= outer.end


def is_python(language_id: str | None, uri: str) -> bool:
    return language_id == "python" or (not language_id and uri.endswith((".py", ".pyi")))


def unit_of(workspace: AceWorkspace, uri: str) -> Unit | None:
    """What the open document belongs to: itself, or the notebook around it."""
    notebook = workspace.get_notebook_document(notebook_uri=uri) or workspace.get_notebook_document(
        cell_uri=uri
    )
    if notebook is not None:
        return _notebook_unit(workspace, notebook)
    document = workspace.open_document(uri)
    if document is None or not is_python(document.language_id, uri):
        return None
    part = Part(uri=document.uri, version=document.version or 0, start=0, lines=document.index)
    return Unit(uri=document.uri, version=part.version, text=_clean(document.source), parts=(part,))


def _notebook_unit(workspace: AceWorkspace, notebook: types.NotebookDocument) -> Unit:
    parts: list[Part] = []
    texts: list[str] = []
    start = 0
    for cell in notebook.cells:
        document = workspace.open_document(cell.document)
        if document is None or cell.kind != types.NotebookCellKind.Code or not _is_code(document):
            continue
        parts.append(Part(uri=document.uri, version=document.version or 0, start=start, lines=document.index))
        texts.append(_without_magics(_clean(document.source)) + "\n")
        start += len(texts[-1])
    return Unit(uri=notebook.uri, version=notebook.version, text="".join(texts), parts=tuple(parts))


def _is_code(document: Document) -> bool:
    """Python, and not a cell that a magic gives to another language."""
    return is_python(document.language_id, document.uri) and not document.source.lstrip().startswith("%%")


def _clean(text: str) -> str:
    """Without lone surrogates, which no tokeniser takes; each code point stays where it is."""
    return _LONE_SURROGATE.sub("\ufffd", text)


def _without_magics(text: str) -> str:
    """IPython's `%time`, `!ls`, `?name` as comments of the same length."""
    return _LINE_MAGIC.sub(r"\1#", text)

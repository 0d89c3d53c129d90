"""Text synchronisation: pygls' documents with the specification's lines and clamping.

pygls 2.1.1 splits lines with `str.splitlines`, which also splits at form feeds, U+2028 and six other
characters, so the next incremental edit of such a file corrupts the server's copy; and it clamps a position
behind the end of an unterminated last line one character too early.
"""

from typing import Any

from lsprotocol import types
from pygls.workspace import TextDocument, Workspace

from ace_lsp.positions import Encoding, LineIndex


class Document(TextDocument):
    """One open text; `index` is built once per version."""

    _index: LineIndex | None = None

    @property
    def encoding(self) -> Encoding:
        return Encoding(self.position_codec.encoding or Encoding.Utf16)

    @property
    def index(self) -> LineIndex:
        if self._index is None or self._index.text is not self._source:
            self._index = LineIndex(self.source, self.encoding)
        return self._index

    @property
    def lines(self) -> tuple[str, ...]:
        starts = self.index.starts
        return tuple(self.source[a:b] for a, b in zip(starts, [*starts[1:], len(self.source)], strict=True))

    def _apply_incremental_change(self, change: types.TextDocumentContentChangePartial) -> None:
        span = self.index.span_of(change.range)
        self._source = self.source[: span.start] + change.text + self.source[span.end :]


class AceWorkspace(Workspace):
    """A workspace whose documents are `Document`s."""

    def _create_text_document(
        self,
        doc_uri: str,
        source: str | None = None,
        version: int | None = None,
        language_id: str | None = None,
    ) -> Document:
        return Document(
            doc_uri,
            source=source,
            version=version,
            language_id=language_id,
            sync_kind=self._sync_kind,
            position_codec=self._position_codec,
        )

    def open_document(self, uri: str) -> Document | None:
        """The document if the client has it open; never one read from disk behind the client's back."""
        from urllib.parse import unquote

        found: Any = self._text_documents.get(unquote(uri))
        return found

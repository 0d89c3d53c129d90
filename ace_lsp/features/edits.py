"""Edits as the client takes them: for the version they were made for where it can check that.

`documentChanges` carry the version, so that a client refuses what comes too late; a client without them gets
plain `changes`.
"""

import re
from collections.abc import Sequence

from lsprotocol import types

from ace_analysis.report.repair import Fix
from ace_analysis.source.document import TextSpan
from ace_lsp.client import Client
from ace_lsp.units import Part, Unit

_ANNOTATION = "ace"
_EOL = re.compile(r"\r\n|\r|\n")


def workspace_edit(
    client: Client, part: Part, edits: Sequence[types.TextEdit], *, preview: str | None = None
) -> types.WorkspaceEdit:
    """Edits of one document. `preview`: what to say where the client shall ask before it applies them."""
    if not client.versioned_edits:
        return types.WorkspaceEdit(changes={part.uri: list(edits)})
    document = types.OptionalVersionedTextDocumentIdentifier(uri=part.uri, version=part.version)
    if preview is None or not client.annotated_edits:
        change = types.TextDocumentEdit(text_document=document, edits=list(edits))
        return types.WorkspaceEdit(document_changes=[change])
    annotated = [
        types.AnnotatedTextEdit(annotation_id=_ANNOTATION, range=each.range, new_text=each.new_text)
        for each in edits
    ]
    return types.WorkspaceEdit(
        document_changes=[types.TextDocumentEdit(text_document=document, edits=list(annotated))],
        change_annotations={_ANNOTATION: types.ChangeAnnotation(label=preview, needs_confirmation=True)},
    )


def edit_of_fix(unit: Unit, fix: Fix) -> tuple[Part, types.TextEdit] | None:
    """A fix as an edit of one document; None where it would reach over a cell's border or change a magic."""
    if (place := unit.place_of_edit(fix.span)) is None:
        return None
    part, span = place
    return part, types.TextEdit(range=part.lines.range_of(span), new_text=_as_in(part, fix.replacement))


def insertion(part: Part, offset: int, text: str) -> types.TextEdit:
    """Text that goes in at an offset of the document."""
    return types.TextEdit(range=part.lines.range_of(TextSpan(offset, offset)), new_text=text)


def _as_in(part: Part, text: str) -> str:
    """With the line endings of the document."""
    found = _EOL.search(part.lines.text)
    return _EOL.sub(found[0], text) if found is not None else text

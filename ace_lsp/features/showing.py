"""Shows a text to a person whose client has no plugin of ours.

As a document where the client can open one, since a message is cut off or in the way; as a message otherwise.
"""

import logging
from typing import TYPE_CHECKING

from lsprotocol import types

from ace_analysis.settings import cache_dir

if TYPE_CHECKING:
    from ace_lsp.server import AceServer

logger = logging.getLogger(__name__)

FOLDER = "shown"
"""Below the user's cache folder; each kind of text replaces the one before."""


async def show(server: "AceServer", name: str, markdown: str, plain: str) -> None:
    """`name` is that of the file, without an ending."""
    if server.client.shows_documents and (uri := _written(name, markdown)) is not None:
        params = types.ShowDocumentParams(uri=uri, take_focus=False)
        try:
            if (await server.window_show_document_async(params)).success:
                return
        except Exception as error:
            logger.info("the client did not show %s: %s", uri, error)
    server.window_show_message(types.ShowMessageParams(type=types.MessageType.Info, message=plain))


async def open_page(server: "AceServer", uri: str) -> bool:
    """Have a page opened outside the editor, in a browser; False where the client can't."""
    if not server.client.shows_documents:
        return False
    try:
        params = types.ShowDocumentParams(uri=uri, external=True)
        return (await server.window_show_document_async(params)).success
    except Exception as error:
        logger.info("the client did not open %s: %s", uri, error)
        return False


def _written(name: str, text: str) -> str | None:
    """The address of a file with the text; None where none can be written."""
    path = cache_dir() / FOLDER / f"{name}.md"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        logger.info("can't write %s: %s", path, error)
        return None
    return path.as_uri()

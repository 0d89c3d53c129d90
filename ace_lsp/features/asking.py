"""Questions to a person, with buttons.

A client may not be able to ask, and a person may close the question: both mean that nothing was agreed to.
"""

import logging
from typing import TYPE_CHECKING

from lsprotocol import types

if TYPE_CHECKING:
    from ace_lsp.server import AceServer

logger = logging.getLogger(__name__)


async def choice(
    server: "AceServer", message: str, *choices: str, kind: types.MessageType = types.MessageType.Warning
) -> str | None:
    """Which of the choices was taken; None where nobody answered or could be asked."""
    actions = [types.MessageActionItem(title) for title in choices]
    params = types.ShowMessageRequestParams(type=kind, message=message, actions=actions)
    try:
        chosen = await server.window_show_message_request_async(params)
    except Exception as error:
        logger.info("nobody could be asked: %s: %s", message.partition("\n")[0], error)
        return None
    return None if chosen is None else chosen.title

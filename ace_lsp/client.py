"""What the client can do: asked once, so that no feature digs in capabilities that may be absent."""

from dataclasses import dataclass
from typing import Any

from lsprotocol import types
from pygls.capabilities import get_capability


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The capabilities that change what the server does."""

    pulls: bool = False
    """Whether diagnostics are pulled. Never without being able to say that there are new ones: results come
    when the model has them, and a client that asked too early would not ask again."""
    related_information: bool = False
    progress: bool = False
    configuration: bool = False
    watches_configuration: bool = False
    """Whether it has to be asked before it tells about changed settings."""
    watches_files: bool = False
    shows_documents: bool = False
    markdown: bool = False
    """Whether a hover may be Markdown; the client says so by naming it before plain text."""
    server_status: bool = False
    """rust-analyzer's extension `experimental/serverStatus`."""

    @classmethod
    def of(cls, capabilities: types.ClientCapabilities) -> "Client":
        def can(path: str) -> bool:
            return bool(get_capability(capabilities, path, False))

        pull = get_capability(capabilities, "text_document.diagnostic", None)
        formats = get_capability(capabilities, "text_document.hover.content_format", None) or ()
        experimental = capabilities.experimental
        return cls(
            pulls=pull is not None and can("workspace.diagnostics.refresh_support"),
            related_information=can("text_document.publish_diagnostics.related_information")
            or bool(getattr(pull, "related_information", False)),
            progress=can("window.work_done_progress"),
            configuration=can("workspace.configuration"),
            watches_configuration=can("workspace.did_change_configuration.dynamic_registration"),
            watches_files=can("workspace.did_change_watched_files.dynamic_registration"),
            shows_documents=can("window.show_document.support"),
            markdown=next(iter(formats), None) == types.MarkupKind.Markdown,
            server_status=_asked_for(experimental, "serverStatusNotification"),
        )


def _asked_for(experimental: Any, name: str) -> bool:
    return isinstance(experimental, dict) and experimental.get(name) is True

"""What the client can do: asked once, so that no feature digs in capabilities that may be absent."""

from dataclasses import dataclass, field
from typing import Any

from lsprotocol import types
from pygls.capabilities import get_capability

from ace_lsp.extras import Extras


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The capabilities that change what the server does."""

    pulls: bool = False
    """Whether diagnostics are pulled. Never without being able to say that there are new ones: results come
    when the model has them, and a client that asked too early would not ask again."""
    extras: Extras = field(default_factory=lambda: Extras(related_information=False, code_description=False))
    progress: bool = False
    configuration: bool = False
    watches_configuration: bool = False
    """Whether it has to be asked before it tells about changed settings."""
    watches_files: bool = False
    shows_documents: bool = False
    action_literals: bool = False
    """Whether a code action may be more than a command."""
    tags_actions: bool = False
    """Whether it shows that an action was written by a language model (LSP 3.18)."""
    applies_edits: bool = False
    versioned_edits: bool = False
    """Whether an edit may say which version of a document it is made for."""
    annotated_edits: bool = False
    """Whether an edit may ask to be confirmed."""
    refreshes_lenses: bool = False
    refreshes_hints: bool = False
    markdown: bool = False
    """Whether a hover may be Markdown; the client says so by naming it before plain text."""
    server_status: bool = False
    """rust-analyzer's extension `experimental/serverStatus`."""

    @classmethod
    def of(cls, capabilities: types.ClientCapabilities) -> "Client":
        def can(path: str) -> bool:
            return bool(get_capability(capabilities, path, False))

        pull = get_capability(capabilities, "text_document.diagnostic", None)

        def shows(name: str) -> bool:
            return can(f"text_document.publish_diagnostics.{name}") or bool(getattr(pull, name, False))

        actions = get_capability(capabilities, "text_document.code_action", None)
        formats = get_capability(capabilities, "text_document.hover.content_format", None) or ()
        experimental = capabilities.experimental
        return cls(
            pulls=pull is not None and can("workspace.diagnostics.refresh_support"),
            extras=Extras(
                related_information=shows("related_information"),
                code_description=shows("code_description_support"),
            ),
            progress=can("window.work_done_progress"),
            configuration=can("workspace.configuration"),
            watches_configuration=can("workspace.did_change_configuration.dynamic_registration"),
            watches_files=can("workspace.did_change_watched_files.dynamic_registration"),
            action_literals=actions is not None and actions.code_action_literal_support is not None,
            tags_actions=types.CodeActionTag.LlmGenerated in _tags(actions),
            applies_edits=can("workspace.apply_edit"),
            versioned_edits=can("workspace.workspace_edit.document_changes"),
            annotated_edits=get_capability(
                capabilities, "workspace.workspace_edit.change_annotation_support", None
            )
            is not None,
            refreshes_lenses=can("workspace.code_lens.refresh_support"),
            refreshes_hints=can("workspace.inlay_hint.refresh_support"),
            shows_documents=can("window.show_document.support"),
            markdown=next(iter(formats), None) == types.MarkupKind.Markdown,
            server_status=_asked_for(experimental, "serverStatusNotification"),
        )


def _tags(actions: Any) -> tuple[Any, ...]:
    support = getattr(actions, "tag_support", None)
    return tuple(support.value_set) if support is not None else ()


def _asked_for(experimental: Any, name: str) -> bool:
    return isinstance(experimental, dict) and experimental.get(name) is True

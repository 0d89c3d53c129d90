import pytest
from lsprotocol import types

from ace_lsp.client import Client


def test_a_client_that_says_nothing_can_nothing():
    assert Client.of(types.ClientCapabilities()) == Client()


@pytest.mark.parametrize(("pull", "refresh"), [(True, True), (True, False), (False, True), (False, False)])
def test_diagnostics_are_pulled_only_by_who_can_be_asked_to_pull_again(pull, refresh):
    capabilities = types.ClientCapabilities(
        text_document=types.TextDocumentClientCapabilities(
            diagnostic=types.DiagnosticClientCapabilities() if pull else None
        ),
        workspace=types.WorkspaceClientCapabilities(
            diagnostics=types.DiagnosticWorkspaceClientCapabilities(refresh_support=refresh)
        ),
    )
    assert Client.of(capabilities).pulls is (pull and refresh)


@pytest.mark.parametrize("experimental", [None, 3, [], {}, {"serverStatusNotification": "yes"}])
def test_the_status_goes_only_to_who_asks_for_it_in_the_words_agreed_on(experimental):
    assert not Client.of(types.ClientCapabilities(experimental=experimental)).server_status
    asked = types.ClientCapabilities(experimental={"serverStatusNotification": True})
    assert Client.of(asked).server_status

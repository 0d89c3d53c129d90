"""Push and pull, with capabilities as real editors have them: every finding arrives once."""

import pytest
from lsprotocol import types

URI = "file:///project/a.py"
CLEAN = "def f(a):\n    return a\n"
BUGGY = "def f(a):\n    return BUG\n"


@pytest.mark.parametrize("profile", ["neovim", "emacs", "bare"])
async def test_who_cannot_be_told_to_pull_again_is_pushed_to(start, profile):
    """Neovim 0.11 can pull, but has no workspace/diagnostic/refresh."""
    async with start(profile) as editor:
        assert editor.client.protocol  # initialised
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        with pytest.raises(Exception, match="textDocument/diagnostic"):
            await editor.pull(URI)
        assert editor.refreshes == 0


async def test_vs_code_pulls_and_is_never_pushed_to(start):
    async with start("vscode") as editor:
        editor.open(URI, BUGGY)
        early = await editor.pull(URI)
        assert early.kind == "full"
        await editor.until(lambda: editor.refreshes)
        report = await editor.pull(URI, early.result_id)
        assert [each.code for each in report.items] == ["comparison"]
        assert editor.published == []


async def test_what_is_unchanged_is_not_sent_again(start):
    async with start("vscode") as editor:
        editor.open(URI, BUGGY)
        await editor.until(lambda: editor.refreshes)
        first = await editor.pull(URI)
        again = await editor.pull(URI, first.result_id)
        assert (again.kind, again.result_id) == ("unchanged", first.result_id)
        editor.edit(URI, (0, 0, 0, 0), "\n")
        moved = await editor.pull(URI, first.result_id)
        assert moved.items[0].range.start.line == 2


async def test_a_clean_document_asks_nobody_to_pull_again(start):
    async with start("vscode") as editor:
        editor.open(URI, CLEAN)
        await editor.done()
        await editor.command("ace.analyzeFile", URI)
        assert list((await editor.pull(URI)).items) == []
        assert editor.refreshes == 0


async def test_pulling_a_document_that_is_not_open_brings_nothing(start):
    async with start("vscode") as editor:
        assert list((await editor.pull("file:///nowhere.py")).items) == []


async def test_switched_off_who_pulls_is_told_that_there_is_nothing_any_more(start):
    async with start("vscode", configuration={}) as editor:
        editor.open(URI, BUGGY)
        await editor.until(lambda: editor.refreshes)
        assert len((await editor.pull(URI)).items) == 1
        heard = editor.refreshes
        editor.configure({"enable": False})
        left = True
        while left:  # a refresh of the scan's may come first; the last one has to come when all is gone
            await editor.until(lambda: editor.refreshes > heard)  # noqa: B023 - awaited in this round
            heard = editor.refreshes
            left = bool((await editor.pull(URI)).items)


@pytest.mark.parametrize(("profile", "related"), [("neovim", True), ("bare", False)])
async def test_latents_are_related_information_or_else_part_of_the_message(start, profile, related):
    async with start(profile) as editor:
        editor.open(URI, BUGGY)
        (diagnostic,) = await editor.shown(URI, 1, 1)
        assert bool(diagnostic.related_information) is related
        assert ("blocks.1.hook_resid_post/7" in diagnostic.message) is not related
        if related:
            assert diagnostic.related_information[0].location.uri == URI


async def test_the_status_goes_to_clients_that_know_it_and_ends_in_rest(start):
    capabilities = types.ClientCapabilities(experimental={"serverStatusNotification": True})
    async with start(capabilities=capabilities) as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        await editor.until(lambda: editor.statuses and editor.statuses[-1]["quiescent"])
        assert {each["health"] for each in editor.statuses} == {"ok"}
        assert editor.statuses[-1]["message"].startswith("ready")


async def test_the_status_does_not_go_to_clients_that_do_not_know_it(start):
    async with start("emacs") as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        assert editor.statuses == []

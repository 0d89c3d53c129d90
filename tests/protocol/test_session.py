"""Opening, editing, saving and closing documents, as editors see it."""

import pytest

URI = "file:///project/a.py"
CLEAN = "def f(a):\n    return a\n"
BUGGY = "def f(a):\n    return BUG\n"


async def test_findings_of_an_opened_document_are_published_with_its_version(start):
    async with start() as editor:
        editor.open(URI, BUGGY)
        (diagnostic,) = await editor.shown(URI, 1, 1)
        assert (diagnostic.range.start.line, diagnostic.range.start.character) == (1, 11)
        assert (diagnostic.range.end.line, diagnostic.range.end.character) == (1, 14)
        assert (diagnostic.code, diagnostic.source) == ("comparison", "ace")
        assert "0.90" in diagnostic.message
        assert diagnostic.data["features"] == ["blocks.1.hook_resid_post/7"]


async def test_a_clean_document_is_said_to_be_clean_once(start):
    async with start() as editor:
        editor.open(URI, CLEAN)
        assert await editor.shown(URI, 1) == []
        await editor.done()
        assert [each.version for each in editor.published] == [1]


async def test_each_scope_is_published_as_soon_as_it_was_read(start):
    async with start() as editor:
        editor.open(URI, BUGGY + "\n\ndef g():\n    return BUG, 'LONG'\n")
        assert len(await editor.shown(URI, 1, 1)) == 1
        assert editor.journal("done") == []


async def test_between_an_edit_and_its_results_findings_move_with_the_text(start):
    async with start(debounce=100_000) as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        version = editor.edit(URI, (0, 0, 0, 0), "# a comment\n\n")
        (moved,) = await editor.shown(URI, version, 1)
        assert moved.range.start.line == 3
        version = editor.edit(URI, (3, 11, 3, 14), "a")
        assert await editor.shown(URI, version, 0) == []
        assert len(editor.journal("scan")) == 1


async def test_edits_in_a_row_are_analysed_once_and_only_the_newest_version_is_published_as_finished(start):
    async with start(debounce=200) as editor:
        editor.open(URI, CLEAN)
        await editor.shown(URI, 1)
        for number in range(20):
            newest = editor.replace(URI, f"def f(a):\n    return BUG, {number}\n")
        await editor.shown(URI, newest, 1)
        assert [scan["version"] for scan in editor.journal("scan")] == [1, newest]
        assert [each.version for each in editor.published] == [1, newest]


async def test_a_scan_of_an_old_version_is_cancelled_inside_the_worker_and_nothing_of_it_is_published(start):
    async with start() as editor:
        editor.open(URI, "def f():\n    return BUG, 'LONG'\n")
        await editor.until(lambda: editor.journal("slow"))
        newest = editor.replace(URI, BUGGY)
        await editor.shown(URI, newest, 1)
        assert [each["version"] for each in editor.journal("cancelled")] == [1]
        assert {each.version for each in editor.published} == {newest}


async def test_closing_cancels_the_scan_and_takes_back_what_was_shown(start):
    async with start() as editor:
        editor.open(URI, BUGGY + "\n\ndef g():\n    return 'LONG'\n")
        await editor.shown(URI, 1, 1)
        editor.close(URI)
        await editor.until(lambda: editor.journal("cancelled"))
        assert await editor.shown(URI, None, 0) == []
        assert editor.published[-1].version is None


async def test_documents_do_not_disturb_each_other(start):
    other = "file:///project/b.py"
    async with start() as editor:
        editor.open(URI, BUGGY)
        editor.open(other, BUGGY + BUGGY)
        await editor.shown(URI, 1, 1)
        await editor.shown(other, 1, 2)
        editor.close(other)
        await editor.shown(other, None, 0)
        assert len(await editor.shown(URI)) == 1


async def test_a_document_that_is_opened_again_is_analysed_again(start):
    async with start() as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        editor.close(URI)
        editor.open(URI, BUGGY)
        await editor.done(2)
        assert len(await editor.shown(URI, 1, 1)) == 1


async def test_an_edit_costs_one_scope_and_no_edit_none(start):
    text = "".join(f"def f{number}(a):\n    return a + {number}\n\n\n" for number in range(30))
    async with start() as editor:
        editor.open(URI, text)
        await editor.done()
        assert (await editor.command("ace.analyzeFile", URI)).analysed == 0
        editor.edit(URI, (13, 11, 13, 12), "BUG")
        summary = await editor.command("ace.analyzeFile", URI)
        assert (summary.scopes, summary.analysed, summary.findings) == (30, 1, 1)


async def test_the_place_of_the_edit_is_looked_at_first(start):
    async with start() as editor:
        editor.open(URI, CLEAN)
        await editor.done()
        assert editor.journal("scan")[0]["first"] is None
        editor.edit(URI, (1, 11, 1, 12), "BUG")
        await editor.done(2)
        start_of_edit, end = editor.journal("scan")[1]["first"]
        assert start_of_edit <= 21 and end >= 24


async def test_on_save_means_on_opening_and_on_saving(start):
    async with start(run="onSave") as editor:
        editor.open(URI, CLEAN)
        await editor.done()
        version = editor.replace(URI, BUGGY)
        await editor.command("ace.showStatus")
        assert len(editor.journal("scan")) == 1
        editor.save(URI)
        await editor.shown(URI, version, 1)


async def test_manual_means_when_a_person_asks(start):
    async with start(run="manual") as editor:
        editor.open(URI, BUGGY)
        editor.save(URI)
        assert (await editor.command("ace.showStatus")).state == "absent"
        assert (await editor.command("ace.analyzeFile", URI)).findings == 1
        await editor.shown(URI, 1, 1)
        assert len(editor.journal("scan")) == 1


async def test_an_untitled_document_is_analysed(start):
    async with start() as editor:
        editor.open("untitled:Untitled-1", BUGGY)
        await editor.shown("untitled:Untitled-1", 1, 1)


async def test_other_languages_are_left_alone(start):
    async with start() as editor:
        editor.open("file:///project/a.js", BUGGY, language="javascript")
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        assert len(editor.journal("scan")) == 1


async def test_a_document_that_is_too_long_waits_for_the_command(start):
    async with start(maxLines=3) as editor:
        editor.open(URI, BUGGY * 3)
        assert (await editor.command("ace.analyzeFile", URI)).findings == 3
        assert len(editor.journal("scan")) == 1
        assert any("maxLines" in each.message for each in editor.client.log_messages)


@pytest.mark.parametrize(
    ("profile", "encoding", "unit"),
    [("emacs", "utf-32-le", 4), ("neovim", "utf-8", 1), ("bare", "utf-16-le", 2)],
)
async def test_columns_count_in_the_units_that_were_agreed_on(start, profile, encoding, unit):
    """Emacs asks for UTF-32, Neovim for UTF-8, and a client that says nothing gets UTF-16."""
    before = "x = '😋é漢', "
    async with start(profile) as editor:
        editor.open(URI, before + "BUG\n")
        (diagnostic,) = await editor.shown(URI, 1, 1)
        assert diagnostic.range.start.character == len(before.encode(encoding)) // unit

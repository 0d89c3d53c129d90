"""Commands, and cancelling them."""

import asyncio

import pytest
from pygls.exceptions import JsonRpcException

URI = "file:///project/a.py"
BUGGY = "def f(a):\n    return BUG\n"
LONG = "def f(a):\n    return 'LONG'\n"


async def test_analysing_says_what_was_found(start):
    async with start() as editor:
        editor.open(URI, BUGGY)
        summary = await editor.command("ace.analyzeFile", URI)
        assert (summary.version, summary.findings, summary.scopes) == (1, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["file:///nowhere.py"], -32803, "expected a Python document that is open"),
        ([3], -32602, "expected the address of a document, got 3"),
        ([], -32602, "missing a required argument: 'uri'"),
        ([URI, URI], -32602, "too many positional arguments"),
    ],
)
async def test_wrong_arguments_are_answered_with_what_was_expected(start, arguments, code, told):
    async with start() as editor:
        with pytest.raises(JsonRpcException, match=told) as caught:
            await editor.command("ace.analyzeFile", *arguments)
        assert caught.value.code == code


async def test_an_unknown_command_is_answered_with_the_known_ones(start):
    async with start() as editor:
        with pytest.raises(JsonRpcException, match=r"expected one of ace\.analyzeFile, .*ace\.showStatus, "):
            await editor.command("ace.nonsense")


async def test_cancelling_the_request_reaches_the_worker(start):
    from lsprotocol import types

    async with start(run="manual") as editor:
        editor.open(URI, LONG)
        params = types.ExecuteCommandParams(command="ace.analyzeFile", arguments=[URI])
        waiting = editor.client.protocol.send_request("workspace/executeCommand", params, msg_id="mine")
        await editor.until(lambda: editor.journal("slow"))
        editor.client.cancel_request(types.CancelParams(id="mine"))
        with pytest.raises(JsonRpcException) as caught:
            await asyncio.wrap_future(waiting)
        assert caught.value.code == -32800
        await editor.until(lambda: editor.journal("cancelled"))


async def test_settings_that_arrive_during_the_command_don_t_fail_it(start):
    async with start() as editor:
        editor.open(URI, "def f(a):\n    return 'LONG_ONCE'\nBUG\n")
        command = asyncio.ensure_future(editor.command("ace.analyzeFile", URI))
        await editor.until(lambda: editor.journal("slow"))
        editor.configure({"check": {"maxFalseAlarms": 2.0}})
        assert (await command).findings == 1
        assert editor.journal("done")[-1]["max_false_alarms"] == 2.0


async def test_an_edit_ends_the_command_and_says_so(start):
    async with start(run="manual") as editor:
        editor.open(URI, LONG)
        command = asyncio.ensure_future(editor.command("ace.analyzeFile", URI))
        await editor.until(lambda: editor.journal("slow"))
        editor.replace(URI, BUGGY)
        with pytest.raises(JsonRpcException, match="the document was changed"):
            await command
        assert (await editor.command("ace.showStatus")).open == 1


async def test_a_command_goes_before_what_only_was_opened(start):
    other = "file:///project/b.py"
    async with start() as editor:
        editor.open(URI, LONG)
        editor.open(other, BUGGY)
        await editor.until(lambda: editor.journal("slow"))
        assert (await editor.command("ace.analyzeFile", other)).findings == 1
        assert [each["version"] for each in editor.journal("cancelled")] == [1]


async def test_analysing_without_an_engine_says_why(start):
    async with start(run="manual", worker_options=("--refuse", "expected a bundle")) as editor:
        editor.open(URI, BUGGY)
        with pytest.raises(JsonRpcException, match="expected a bundle"):
            await editor.command("ace.analyzeFile", URI)

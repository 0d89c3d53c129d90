"""The whole way, from an edit to a diagnostic, with the real worker and the real engine: nothing is scripted.

Once with a tiny random model and a tiny random bundle, which find nonsense but by the same code; and once,
marked `model`, with the real weights on a file with real bugs. Features by editor are in test_profiles.py.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from lsprotocol import types

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "ace_analysis/examples/buggy_example.py"
LONG = 300.0
"""Seconds: importing torch and reading weights take a while on a machine that does something else, too."""

LOCAL: dict = {"command": []}
"""No command of ours: the server starts the engine that it is installed with."""


async def test_a_tiny_model_finds_the_same_in_the_editor_as_the_engine_does_itself(start, random_bundle):
    from ace_analysis.engine import Engine
    from ace_analysis.settings import load_settings
    from ace_analysis.source.document import CodeDocument

    text = EXAMPLE.read_text()
    model = {"model": {"name": str(random_bundle), "device": "cpu", "dtype": "float32"}}
    reports = Engine.load(load_settings(None, model)).scan(CodeDocument(uri="a", text=text))
    expected = {span_of(text, finding.span) for report in reports for finding in report.findings}
    assert expected
    async with start("bare", worker=LOCAL, **model) as editor:
        editor.patience = LONG
        uri = EXAMPLE.as_uri()
        editor.open(uri, text)
        found = await editor.shown(uri, 1, len(expected))
        assert {where(each.range) for each in found} == expected
        assert (await editor.command("ace.analyzeFile", uri)).analysed == 0
        editor.edit(uri, (15, 0, 15, 0), "        # a comment\n")
        summary = await editor.command("ace.analyzeFile", uri)
        assert summary.analysed == 1 < summary.scopes
        version = editor.edit(uri, (0, 0, 0, 0), "# ace: ignore-file\n")
        assert await editor.shown(uri, version, 0) == []
        assert (await editor.command("ace.showStatus")).info["device"] == "cpu"


async def test_an_edited_tiny_model_is_taken_and_taken_back(start, random_bundle):
    model = {"model": {"name": str(random_bundle), "device": "cpu", "dtype": "float32"}}
    async with start("vscode", worker=LOCAL, **model) as editor:
        editor.patience, editor.answers = LONG, "Apply"
        base = (await editor.command("ace.edit.preview", {"direction": "latent:3"})).fingerprint_before
        made = await editor.command("ace.edit.apply", {"direction": "latent:3", "name": "of-the-server"})
        assert made.applied, made
        editor.open(EXAMPLE.as_uri(), EXAMPLE.read_text())
        await editor.command("ace.analyzeFile", EXAMPLE.as_uri())
        info = (await editor.command("ace.showStatus")).info
        assert info["model"] == "of-the-server" and info["edited_from"]
        assert info["fingerprint"] == made.receipt["fingerprint_after"] != base
        assert (await editor.command("ace.edit.undo")).left == 0
        await editor.command("ace.analyzeFile", EXAMPLE.as_uri())
        info = (await editor.command("ace.showStatus")).info
        assert info["fingerprint"] == base and "edited_from" not in info


async def test_a_model_that_is_not_here_says_how_to_get_it_once(start):
    async with start("bare", worker=LOCAL, model={"name": "smollm2-135m-instruct"}) as editor:
        editor.patience = LONG
        editor.open("file:///a.py", "x = 1\n")
        await editor.until(lambda: editor.client.messages, "for the message")
        editor.edit("file:///a.py", (0, 0, 0, 0), "\n")
        assert (await editor.command("ace.showStatus")).state == "failed"
        assert "ace model pull smollm2-135m-instruct" in editor.client.messages[0].message
        assert [each.type for each in editor.client.messages].count(types.MessageType.Error) == 1


async def test_a_tiny_model_explains_a_finding_any_token_and_a_whole_document(start, random_bundle):
    model = {"model": {"name": str(random_bundle), "device": "cpu", "dtype": "float32"}}
    text = "def f(a, b):\n    if a < b:\n        return a\n    return b\n"
    async with start("neovim", worker=LOCAL, **model) as editor:
        editor.patience = LONG
        uri = "file:///a.py"
        editor.open(uri, text)
        assert (await editor.command("ace.analyzeFile", uri)).findings > 0
        first = (await editor.shown(uri, 1))[0].range.start
        await explained(editor, uri, first)
        hover = (await editor.hover(uri, first.line, first.character)).contents.value
        assert "layer 0, head" in hover and "Unexplained" in hover
        answer = await editor.command("ace.explainHere", uri, {"line": 0, "character": 4}, {"show": False})
        assert (answer.attribution["target"]["kind"], answer.attribution["unit"]) == ("token", "logits")
        assert (await editor.command("ace.report", uri, {"show": False})).explained > 0


@pytest.mark.model
@pytest.mark.timeout(600)
async def test_the_real_model_shows_in_the_editor_what_the_command_line_prints(start):
    done = subprocess.run(
        [sys.executable, "-c", CHECK, "check", "--json", "--quiet", str(EXAMPLE)],
        capture_output=True,
        text=True,
    )
    (file,) = json.loads(done.stdout)["files"]
    expected = {(each["line"] - 1, each["column"]) for each in file["findings"]}
    assert expected, done.stderr
    async with start("bare", worker=LOCAL) as editor:
        editor.patience = LONG
        uri = EXAMPLE.as_uri()
        editor.open(uri, EXAMPLE.read_text())
        found = await editor.shown(uri, 1, len(expected))
        assert {(each.range.start.line, each.range.start.character) for each in found} == expected
        assert {each.source for each in found} == {"ace"}


@pytest.mark.model
@pytest.mark.timeout(600)
async def test_with_the_real_model_a_fix_is_looked_for_and_is_an_edit_or_said_not_to_be_there(start):
    text = (
        "def clamp(value, low, high):\n    if value > low:\n        return low\n    return min(value, high)\n"
    )
    async with start("neovim", worker=LOCAL) as editor:
        editor.patience = LONG
        editor.open("untitled:1", text)
        await editor.command("ace.analyzeFile", "untitled:1")
        selection = (1, 4, 1, 19)
        (action,) = await editor.actions("untitled:1", selection, "refactor")
        answer = await editor.run_command_of(action)
        assert answer.applied is bool(answer.fixes)
        if answer.applied:
            assert editor.texts["untitled:1"] != text
            compile(editor.texts["untitled:1"], "fixed", "exec")
        else:
            assert "passes all of its checks" in answer.reason


async def explained(editor, uri: str, where: types.Position) -> None:
    """Wait until the explanation is there: a busy machine may need longer than a hover waits."""
    place = {"line": where.line, "character": where.character}
    await editor.command("ace.explainHere", uri, place, {"show": False})


CHECK = "from ace_analysis.cli import main; main()"


def span_of(text: str, span) -> tuple[int, int, int, int]:
    """0-based line and column of both ends. The example is ASCII, so a column is one in every encoding."""
    ends = []
    for offset in (span.start, span.end):
        before = text[:offset]
        ends += [before.count("\n"), offset - (before.rfind("\n") + 1)]
    return tuple(ends)


def where(place: types.Range) -> tuple[int, int, int, int]:
    return place.start.line, place.start.character, place.end.line, place.end.character

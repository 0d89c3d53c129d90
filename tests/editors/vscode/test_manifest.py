"""What package.json declares is what the server knows: settings, their defaults, commands."""

import dataclasses
import json
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ace_analysis.settings import EngineSettings
from ace_lsp.server import AceServer
from ace_lsp.settings import CLIENT_KEYS, Run, ServerSettings, parse_settings

EXTENSION = Path(__file__).parents[3] / "editors/vscode"
MANIFEST = json.loads((EXTENSION / "package.json").read_text())
SETTINGS = MANIFEST["contributes"]["configuration"]["properties"]
MOST_BYTES = 1_000_000

OF_THE_EXTENSION = {"path", "interpreter", "args", "logLevel", "logFile", "trace.server"}


def camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Every setting of a dataclass by its name in VS Code."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value, name = getattr(settings, field.name), prefix + camel(field.name)
        if dataclasses.is_dataclass(value):
            found |= flat(value, f"{name}.")
        else:
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


def test_every_setting_of_the_server_is_declared_with_its_default() -> None:
    server = {name: value for name, value in flat(ServerSettings()).items() if name != "engine"}
    expected = {**server, **flat(EngineSettings())}
    declared = {name.removeprefix("ace."): each["default"] for name, each in SETTINGS.items()}
    assert {name: declared[name] for name in declared if name not in OF_THE_EXTENSION} == expected


def test_settings_that_only_the_extension_reads_are_no_mistakes_to_the_server() -> None:
    sections = {name.split(".")[0] for name in OF_THE_EXTENSION}
    assert {re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower() for name in sections} <= CLIENT_KEYS


def test_the_server_takes_every_default_as_it_is_declared() -> None:
    raw: dict[str, Any] = {}
    for name, each in SETTINGS.items():
        *sections, last = name.removeprefix("ace.").split(".")
        inner = raw
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = each["default"]
    assert parse_settings(raw).problems == ()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_a_scope_a_type_and_a_sentence(name: str) -> None:
    each = SETTINGS[name]
    assert each["scope"] in ("resource", "window", "machine-overridable")
    assert each["type"] and each["markdownDescription"].endswith(".")


def test_the_choices_of_a_setting_are_the_servers() -> None:
    assert SETTINGS["ace.run"]["enum"] == list(Run)


def test_every_command_of_the_servers_is_in_the_palette() -> None:
    declared = {each["command"] for each in MANIFEST["contributes"]["commands"]}
    assert set(AceServer().protocol.fm.commands) <= declared
    assert {each["category"] for each in MANIFEST["contributes"]["commands"]} == {"ACE"}


def test_what_starts_a_program_or_names_a_file_to_write_is_restricted_where_a_folder_is_not_trusted() -> None:
    trust = MANIFEST["capabilities"]["untrustedWorkspaces"]
    assert trust["supported"] == "limited"
    risky = {"ace.path", "ace.interpreter", "ace.args", "ace.logFile", "ace.worker.command", "ace.fix.test"}
    assert risky <= set(trust["restrictedConfigurations"]) <= set(SETTINGS)


def test_no_other_extension_is_needed() -> None:
    assert MANIFEST["extensionDependencies"] == []
    assert MANIFEST["activationEvents"] == ["onLanguage:python"]


@pytest.mark.editor
def test_the_package_is_small_and_holds_what_a_marketplace_shows(vsix: Path) -> None:
    assert vsix.stat().st_size < MOST_BYTES
    with zipfile.ZipFile(vsix) as package:
        names = {name.removeprefix("extension/").lower() for name in package.namelist()}
    assert names == {
        "[content_types].xml",
        "extension.vsixmanifest",
        "package.json",
        "readme.md",
        "changelog.md",
        "license.txt",
        "thirdpartynotices.txt",
        "icon.png",
        "dist/extension.js",
    }


@pytest.mark.editor
def test_the_notices_name_every_package_that_is_bundled(tools: Any, tmp_path: Path) -> None:
    notices = (EXTENSION / "ThirdPartyNotices.txt").read_text()
    meta = tmp_path / "meta.json"
    command = json.loads((EXTENSION / "package.json").read_text())["scripts"]["build"].split()[1:]
    program = EXTENSION / "node_modules/esbuild/bin/esbuild"
    out = [f"--outfile={tmp_path}/extension.js" if each.startswith("--outfile") else each for each in command]
    subprocess.run([program, *out, f"--metafile={meta}", "--log-level=error"], cwd=EXTENSION, check=True)
    inputs = json.loads(meta.read_text())["inputs"]
    bundled = {match[1] for name in inputs if (match := re.match(r"node_modules/((?:@[^/]+/)?[^/]+)/", name))}
    assert bundled
    assert {name for name in bundled if f"\n{name} " not in notices} == set()


@pytest.mark.editor
@pytest.mark.parametrize("tool", ["eslint/bin/eslint.js .", "prettier/bin/prettier.cjs --check ."])
def test_the_sources_are_clean(tools: Any, tool: str) -> None:
    script, *arguments = tool.split()
    done = subprocess.run(
        [tools.node, EXTENSION / "node_modules" / script, *arguments],
        cwd=EXTENSION,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr

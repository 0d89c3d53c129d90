"""Through the workbench, as a person: pointer, keyboard, and what is to be seen."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MODEL = "qwen2.5-coder-0.5b-instruct"
PROFILE = HERE.parents[1] / "protocol/profiles/vscode.json"
NOT_OURS = (".workspace.executeCommand", ".general.staleRequestSupport")
"""The extension has its own commands, and the other names requests that the server doesn't answer."""
INSTALL = "pip install 'ace-lsp[engine]'"

pytestmark = [pytest.mark.editor, pytest.mark.timeout(1500)]


def seen(code: Any, done: Any) -> dict[str, list[str]]:
    """What a walk saw, by what it was; fails with what it knows if the walk did not get to its end."""
    told: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        each = json.loads(line)
        told.setdefault(each["what"], []).append(each["text"])
    assert done.returncode == 0, f"{told}\n{done.stderr}\n{code.logs()}"
    return told


def test_a_finding_is_seen_explained_fixed_and_there_after_a_restart(
    make_vscode: Callable[..., Any],
    start_server: Callable[..., Path],
    project: Path,
    scripted: Any,
    tmp_path: Path,
) -> None:
    starts = tmp_path / "starts"
    server = start_server(tmp_path / "bin", starts)
    code = make_vscode(project, path=[str(server)], worker__command=scripted.command)
    with code.running():
        told = seen(code, code.drive("walk.mjs", 1200, SHOTS=shots("walk"), STARTS=str(starts)))
    assert told["squiggle"] == ["1", "1", "1"]
    assert "comparison" in told["hover"][0] and "latent 7" in told["hover"][0]
    assert "Ignore this finding" in told["quick fixes"][0]
    assert "Heads and MLPs by layer" in told["web view"][0]
    heat = json.loads(told["heat"][0])
    assert heat["backgroundColor"] != heat["page"] and heat["outlineStyle"] == "solid"
    assert "qwen2.5-coder-0.5b-instruct on cpu float32" in told["status"][0]
    assert "ACE Server" in told["log"][0]
    assert len(starts.read_text().splitlines()) == 2


def test_a_run_over_the_workspace_shows_how_far_it_is_and_is_ended_by_its_cancel_button(
    make_vscode: Callable[..., Any], start_server: Callable[..., Path], project: Path, scripted: Any
) -> None:
    for number in range(40):
        (project / f"slow{number:02}.py").write_text(f"def f{number}():\n    return 'LONG'\n")
    place = scripted.journal.parent
    server = start_server(place / "bin", place / "starts", place / "heard")
    code = make_vscode(project, path=[str(server)], worker__command=scripted.command)
    with code.running():
        told = seen(code, code.drive("cancel.mjs", 1200, SHOTS=shots("cancel")))
    assert "analysing the workspace" in told["progress"][0]
    assert scripted.heard("cancelled") and len(scripted.heard("slow")) < 40
    assert missing_in(capabilities_heard(place / "heard"), json.loads(PROFILE.read_text())) == []


def capabilities_heard(stream: Path) -> dict[str, Any]:
    """What the editor said in `initialize`, its first message."""
    head, _, rest = stream.read_bytes().partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    return json.loads(rest[:length])["params"]["capabilities"]


def missing_in(real: Any, profile: Any, name: str = "") -> list[str]:
    """What tests/protocol takes VS Code to be able to, and it is not."""
    if name in NOT_OURS:
        return []
    if isinstance(profile, dict) and isinstance(real, dict):
        return [each for key in profile for each in missing_in(real.get(key), profile[key], f"{name}.{key}")]
    return [] if real == profile else [f"{name}: {real!r} and not {profile!r}"]


def test_the_words_of_an_edit_are_asked_for_and_the_edit_is_agreed_to_and_undone(
    make_vscode: Callable[..., Any], start_server: Callable[..., Path], project: Path, scripted: Any
) -> None:
    server = start_server(scripted.journal.parent / "bin", scripted.journal.parent / "starts")
    command = scripted.command
    code = make_vscode(project, path=[str(server)], worker__command=command, model__name="toy")
    with code.running():
        told = seen(code, code.drive("edit.mjs", 1200, SHOTS=shots("edit")))
    assert told["offered"] == ["BUG"]
    text = (project / "sample.py").read_text()
    asked = [each["request"] for each in scripted.heard("preview")]
    assert asked[0] == {"words": ["BUG", "return"], "texts": [text]}  # none of the box that was left
    assert asked[1] == {"words": ["BUG"], "texts": [text]}
    (made,) = scripted.heard("apply")
    assert made["request"]["words"] == ["BUG"] and made["request"]["name"] == "toy-edit1"
    assert [each["name"] for each in scripted.heard("undo")] == ["toy-edit1"]


def test_a_download_can_be_cancelled_and_says_why_it_failed(
    make_vscode: Callable[..., Any], start_server: Callable[..., Path], project: Path, scripted: Any
) -> None:
    place = scripted.journal.parent
    server, ran = start_server(place / "bin", place / "starts"), place / "ran"
    ace = server.parent / "ace"
    ace.write_text(
        f"#!/bin/sh\nif [ -e {ran} ]; then echo 'ace: error: no network here' >&2; exit 2; fi\n"
        f"trap 'echo interrupted >> {ran}; exit 130' INT\ntouch {ran}\n"
        "echo 'ace: downloading it: 100 MB of 491 MB' >&2\nwhile true; do sleep 0.1; done\n"
    )
    ace.chmod(0o755)
    code = make_vscode(project, path=[str(server)], worker__command=scripted.command)
    with code.running():
        told = seen(code, code.drive("download.mjs", 1200, SHOTS=shots("download")))
    assert "no network here" in told["notification"][-1]
    assert ran.read_text() == "interrupted\n"


def test_without_a_server_there_is_one_message_with_the_install_command(
    make_vscode: Callable[..., Any], project: Path, tmp_path: Path
) -> None:
    code = make_vscode(project)
    with code.running():
        told = seen(code, code.drive("absent.mjs", 1200, SHOTS=shots("absent")))
    assert INSTALL in told["notification"][0]
    assert INSTALL in told["status"][0]
    assert told["messages"] == ["1"]


def test_a_folder_that_is_not_trusted_starts_no_program_of_its_own(
    make_vscode: Callable[..., Any],
    start_server: Callable[..., Path],
    project: Path,
    scripted: Any,
    tmp_path: Path,
) -> None:
    ran = tmp_path / "ran"
    evil = project / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {ran}\n")
    evil.chmod(0o755)
    (project / ".vscode").mkdir()
    hostile = {name: [str(evil)] for name in ("ace.path", "ace.interpreter", "ace.worker.command")}
    (project / ".vscode/settings.json").write_text(json.dumps(hostile))
    (project / "ace_lsp.py").write_text(f"open({str(ran)!r}, 'w')\n")
    server = start_server(tmp_path / "bin", tmp_path / "starts")
    code = make_vscode(project, path=[str(server)], worker__command=scripted.command)
    code.asks_for_trust = True
    with code.running():
        seen(code, code.drive("untrusted.mjs", 1200, SHOTS=shots("untrusted")))
    assert scripted.heard("scan") and not ran.exists()


@pytest.mark.model
def test_with_the_real_model_from_its_download_to_a_finding_and_its_reasons(
    make_vscode: Callable[..., Any], start_server: Callable[..., Path], tmp_path: Path
) -> None:
    """Only the download itself is played: what it brings was brought before."""
    workspace, cache, asked = tmp_path / "project", tmp_path / "cache", tmp_path / "asked"
    workspace.mkdir()
    cache.mkdir()
    shutil.copy(ROOT / "ace_analysis/examples/buggy_example.py", workspace)
    server = start_server(tmp_path / "bin", tmp_path / "starts", ACE_CACHE_DIR=str(cache))
    start_ace(server.parent / "ace", asked, cache)
    code = make_vscode(workspace, path=[str(server)])
    with code.running():
        told = seen(code, code.drive("real.mjs", 1200, SHOTS=shots("real"), ASKED=str(asked), FINDING="2"))
    assert told["asked before a person agreed"] == [""]
    assert told["asked"] == [f"model pull {MODEL}"]
    assert int(told["findings"][0]) >= 5
    assert "users" in told["hover"][0] and "Heads" in told["hover"][0]
    assert MODEL in told["status"][0]
    assert "Why “users” is marked" in told["web view"][0]


def start_ace(place: Path, asked: Path, cache: Path) -> None:
    """A program that is `ace` to `ace model pull`: says how far it is, and brings what is here already."""
    own = Path(os.environ.get("ACE_CACHE_DIR", "~/.cache/ace")).expanduser() / "models"
    told = [f'echo "ace: downloading {MODEL}: {done} MB of 491 MB" >&2; sleep 1' for done in (100, 300, 491)]
    lines = ["#!/bin/sh", f'echo "$@" >> {asked}', *told, f"ln -s {own} {cache}/models", ""]
    place.write_text("\n".join(lines))
    place.chmod(0o755)


def shots(walk: str) -> str:
    """Where a walk's pictures go; those of the real model are the ones in editors/images."""
    folder = ROOT / "build/editors/screenshots" / walk
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)

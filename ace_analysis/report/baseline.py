"""Findings that are known and not to be shown again: what is left is new.

A finding is known again by its file, its kind, its own text and the text of its line, not by its line
number, so that edits elsewhere in the file change nothing. Where several findings look the same, as many are
hidden as were known. The command line writes the file and both it and the language server read it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ace_analysis.errors import InputError, StorageError
from ace_analysis.report.finding import Finding
from ace_analysis.source.document import CodeDocument

VERSION = 1
FILE_NAME = "ace-baseline.json"
"""The usual name; nothing is read that was not named."""

Key = tuple[str, str, str]
"""Kind, text of the finding, text of its line: what makes two findings of a file the same."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Known findings by file; paths are relative to the baseline file's folder, with forward slashes."""

    known: Mapping[str, Counter[Key]] = field(default_factory=dict[str, Counter[Key]])

    def __len__(self) -> int:
        return sum(count for keys in self.known.values() for count in keys.values())

    def new(self, path: str, text: str, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """The findings of one file that are not known, in their order."""
        left = Counter(self.known.get(path, {}))
        if not left:
            return tuple(findings)
        document = CodeDocument(uri=path, text=text)
        new: list[Finding] = []
        for finding in findings:
            key = key_of(document, finding)
            if left[key] > 0:
                left[key] -= 1
            else:
                new.append(finding)
        return tuple(new)


def key_of(document: CodeDocument, finding: Finding) -> Key:
    """How a finding is known again. White space around does not count, so neither does indentation."""
    line, _ = document.line_column(min(finding.span.start, len(document.text)))
    own = document.text[finding.span.start : finding.span.end]
    return finding.kind, " ".join(own.split()), " ".join(document.line_text(line).split())


def baseline_of(files: Iterable[tuple[str, str, Iterable[Finding]]]) -> Baseline:
    """What is known when these findings are: path relative to the baseline file, text, findings."""
    known: dict[str, Counter[Key]] = {}
    for path, text, findings in files:
        document = CodeDocument(uri=path, text=text)
        keys = Counter(key_of(document, finding) for finding in findings)
        if keys:
            known[path] = known.get(path, Counter()) + keys
    return Baseline(known)


def relative_path(path: Path, folder: Path) -> str:
    """How the baseline in `folder` names a file; one that lies elsewhere keeps its whole path."""
    absolute = path.absolute()
    inside = absolute.is_relative_to(folder.absolute())
    return (absolute.relative_to(folder.absolute()) if inside else absolute).as_posix()


def read_baseline(path: Path) -> Baseline:
    """The baseline in a file; InputError says why there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: the baseline can't be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected a baseline as JSON: {error}") from error
    try:
        return _from_json(data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        told = f"{path}: expected a baseline of format {VERSION} ({error})"
        raise InputError(f"{told}; write it anew with ace check --write-baseline") from error


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Sorted and one finding a line, so that a version control system shows what changed."""
    try:
        path.write_text(json.dumps(_to_json(baseline), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: the baseline can't be written ({error.strerror})") from error


def _to_json(baseline: Baseline) -> dict[str, Any]:
    files = {
        path: [
            {"kind": kind, "text": text, "line": line, "count": count}
            for (kind, text, line), count in sorted(keys.items())
        ]
        for path, keys in sorted(baseline.known.items())
    }
    return {"version": VERSION, "files": files}


def _from_json(data: Any) -> Baseline:
    if data["version"] != VERSION:
        raise ValueError(f"got format {data['version']!r}")
    known: dict[str, Counter[Key]] = {}
    for path, findings in data["files"].items():
        known[path] = Counter()
        for each in findings:
            key = (str(each["kind"]), str(each["text"]), str(each["line"]))
            known[path][key] += int(each.get("count", 1))
    return Baseline(known)

"""Functions to learn from and to measure on, taken from Python files that the user names or has installed.

A function's header and text are exactly what a scan would give the model, because what is learnt on other
prompts does not transfer. Files that can't be read or parsed are counted and left out; none is ever run.
"""

import ast
import hashlib
import json
import os
import re
import tokenize
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from ace_analysis.errors import InputError
from ace_analysis.source.sites import candidate_sites
from ace_analysis.source.syntax import scopes_of

Progress = Callable[[str, float | None], None]
Split = Literal["train", "validation", "test"]

FEWEST_LINES, MOST_LINES = 4, 80
FEWEST_SITES = 3
MOST_BYTES = 2_000_000
LEFT_OUT = frozenset(
    {"__pycache__", ".git", ".venv", "venv", "node_modules", "site-packages", "dist-packages", "build"}
    | {"_vendor", "vendor", "vendored", "third_party", "_bundled"}
)
_GENERATED = re.compile(
    r"^\s*(?:#|\"\"\"|''').*"
    r"(?:\bgenerated (?:by|from|with|using)|auto-?generated|do not (?:edit|modify)|@generated)",
    re.IGNORECASE | re.MULTILINE,
)
_WORD = re.compile(r"\w+")
_LONG_FILE = 2_000
_SHARE_OF_ONE_PATTERN = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeFunction:
    """One function or method. `path` names it in its project: "folder/file.py::Class.method"."""

    project: str
    path: str
    text: str
    header: str


@dataclass(slots=True)
class Tally:
    """What was read and what was left out, by reason."""

    files: int = 0
    functions: int = 0
    left_out: Counter[str] = field(default_factory=Counter[str])


def functions_of_text(
    text: str, *, project: str, path: str, tally: Tally | None = None
) -> list[CodeFunction]:
    """The functions of one file's text that are neither tiny nor huge, and that parse."""
    tally = tally if tally is not None else Tally()
    if _is_generated(text):
        tally.left_out["generated file"] += 1
        return []
    found: list[CodeFunction] = []
    for scope in scopes_of(text):
        if scope.kind == "module":
            continue
        part = text[scope.span.start : scope.span.end]
        reason = _reason_against(part, scope.has_error)
        if reason:
            tally.left_out[reason] += 1
        else:
            name = f"{path}::{scope.name}"
            found.append(CodeFunction(project=project, path=name, text=part, header=scope.header))
    tally.functions += len(found)
    return found


def _reason_against(part: str, has_error: bool) -> str:
    if has_error:
        return "syntax error"
    lines = len(part.rstrip().splitlines())
    if not FEWEST_LINES <= lines <= MOST_LINES:
        return f"fewer than {FEWEST_LINES} or more than {MOST_LINES} lines"
    return "" if len(candidate_sites(part)) >= FEWEST_SITES else f"fewer than {FEWEST_SITES} candidate sites"


def _is_generated(text: str) -> bool:
    head = text[:2_000]
    if _GENERATED.search(head[: head.find("\nimport ")] if "\nimport " in head else head):
        return True
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) <= _LONG_FILE:
        return False
    shapes = Counter(_WORD.sub("w", line) for line in lines)
    return shapes.most_common(1)[0][1] > _SHARE_OF_ONE_PATTERN * len(lines)


def functions_of_file(
    path: Path, *, project: str, root: Path | None = None, tally: Tally | None = None
) -> list[CodeFunction]:
    """The functions of one file, read in the encoding that it declares."""
    tally = tally if tally is not None else Tally()
    tally.files += 1
    name = path.relative_to(root).as_posix() if root is not None else path.name
    try:
        if path.stat().st_size > MOST_BYTES:
            tally.left_out["file too large"] += 1
            return []
        with tokenize.open(path) as file:
            text = file.read()
    except (OSError, SyntaxError, UnicodeError, LookupError):
        tally.left_out["unreadable file"] += 1
        return []
    return functions_of_text(text, project=project, path=name, tally=tally)


def functions_of_files(
    files: Iterable[Path],
    *,
    project: str,
    root: Path,
    progress: Progress | None = None,
    tally: Tally | None = None,
) -> Iterator[CodeFunction]:
    """The functions of many files of one project, in the order of their paths."""
    paths = sorted(set(files))
    for index, path in enumerate(paths):
        if progress is not None:
            progress(f"reading {project}", index / len(paths))
        yield from functions_of_file(path, project=project, root=root, tally=tally)


def functions_of_folder(
    folder: Path, project: str = "", *, progress: Progress | None = None, tally: Tally | None = None
) -> Iterator[CodeFunction]:
    """The functions of all Python files below a folder, without environments, caches and vendored code."""
    if not folder.is_dir():
        raise InputError(f"expected a folder of Python files, got {folder}; name one that exists")
    files = python_files(folder)
    return functions_of_files(
        files, project=project or folder.resolve().name, root=folder, progress=progress, tally=tally
    )


def python_files(folder: Path, left_out: frozenset[str] = LEFT_OUT) -> list[Path]:
    """All .py files below a folder, without entering the folders that are `left_out`, or links."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in left_out)
        found += [Path(place) / name for name in sorted(names) if name.endswith(".py")]
    return found


def functions_of_jsonl(
    path: Path, *, code_field: str = "code", project_field: str = "project", tally: Tally | None = None
) -> Iterator[CodeFunction]:
    """The functions in one field of a file of JSON lines; their project is the line's, or the file's name."""
    tally = tally if tally is not None else Tally()
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except ValueError:
                tally.left_out["bad line"] += 1
                continue
            fields = cast("dict[str, object]", row) if isinstance(row, dict) else {}
            text = fields.get(code_field)
            if not isinstance(text, str):
                tally.left_out[f"no text in {code_field!r}"] += 1
                continue
            project = fields.get(project_field)
            yield from functions_of_text(
                text,
                project=project if isinstance(project, str) else path.stem,
                path=f"{path.name}:{number}",
                tally=tally,
            )


def unique(functions: Iterable[CodeFunction], tally: Tally | None = None) -> Iterator[CodeFunction]:
    """The first of each set of functions that differ in layout and comments only; Python 2 is dropped.

    Works across projects, so that a copied function never lands on both sides of a split.
    """
    seen: set[bytes] = set()
    for function in functions:
        key = _normalised(function.text)
        reason = "not Python 3" if key is None else "duplicate" if key in seen else ""
        if reason and tally is not None:
            tally.left_out[reason] += 1
        if key is not None and not reason:
            seen.add(key)
            yield function


def _normalised(text: str) -> bytes | None:
    wrapped = f"class _:\n{text}" if text[:1] in (" ", "\t") else text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            body = ast.parse(wrapped).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    if wrapped is not text and isinstance(body[0], ast.ClassDef):
        body = body[0].body
    return hashlib.sha256("\n".join(map(ast.dump, body)).encode()).digest()


def split_of(project: str, overrides: Mapping[str, Split] | None = None) -> Split:
    """About 70 % of projects train, 10 % validate and 20 % test; a project always falls on the same side."""
    chosen = (overrides or {}).get(project)
    if chosen is not None:
        return chosen
    bucket = int.from_bytes(hashlib.sha256(project.lower().encode()).digest()[:8]) % 100
    return "train" if bucket < 70 else "validation" if bucket < 80 else "test"

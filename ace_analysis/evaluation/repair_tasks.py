"""Bugs with tests that repair is measured on, read from folders that the user names; nothing of them is ours.

A task is a program with one wrong line, the right program, and tests. Half of the problems of a set are for
choosing (strengths, weights), half for reporting; a set that nothing is chosen on is all for reporting, and
so is any file that the user brings.
Several bugs of one problem are in the same half, and are one cluster where intervals are made.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ace_analysis.errors import InputError
from ace_analysis.source.mutation import MutationGenerator
from ace_analysis.source.mutation.generator import is_python

CLEAN = "clean_mbpp"
MUTANTS = "mbpp-mutants"
LONGEST = 60
"""Lines of a program; longer ones are left out, and counted."""


class Half(StrEnum):
    VALIDATION = "validation"
    REPORT = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairTask:
    """A program whose line `line` (from 0) is wrong, and what it has to be; `problem` is its cluster."""

    id: str
    collection: str
    problem: str
    buggy: str
    fixed: str
    line: int
    tests: str
    half: Half

    @property
    def wrong(self) -> str:
        return self.buggy.split("\n")[self.line]

    @property
    def right(self) -> str:
        return self.fixed.split("\n")[self.line]


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanProgram:
    """A right program with tests, which no fix may break."""

    id: str
    text: str
    tests: str
    half: Half


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A file of a set, the groups (`meta.group`) that are taken, and whether a half is for choosing."""

    file: str
    groups: frozenset[str] = frozenset()
    is_split: bool = True


COLLECTIONS = {
    "quixbugs": Collection(file="quixbugs", is_split=False),
    "debugbench": Collection(file="debugbench_single", groups=frozenset({"logic", "reference"})),
    "llmbugs": Collection(file="llmbugs"),
    MUTANTS: Collection(file=CLEAN),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSet:
    """The tasks of one set, in an order that has nothing to do with what they are; `left_out` by reason."""

    name: str
    tasks: tuple[RepairTask, ...]
    left_out: dict[str, int]


def read_tasks(folder: Path, name: str, half: Half | None = None) -> TaskSet:
    """The one-line bugs of a set in a folder of JSON lines; any other name is that of a file of this form,
    with or without its ending, or its path.

    Raises InputError for a set or a file that is not there, and for a line without what a task needs.
    """
    name = _stem(name) if _stem(name) in COLLECTIONS else name
    collection = COLLECTIONS.get(name) or Collection(file=_stem(name), is_split=False)
    path = file_of(folder, collection.file, name)
    tasks: list[RepairTask] = []
    left_out: dict[str, int] = {}
    for number, row in rows_of(path):
        is_clean = name == MUTANTS
        found = _mutant(row, path, number) if is_clean else _task(row, path, number, collection, name)
        if not isinstance(found, str):
            if half is None or found.half is half:
                tasks.append(found)
                continue
            found = "in the other half"
        left_out[found] = left_out.get(found, 0) + 1
    return TaskSet(name=name, tasks=tuple(sorted(tasks, key=_shuffled)), left_out=left_out)


def read_clean(folder: Path, half: Half | None = None) -> tuple[CleanProgram, ...]:
    """The right programs of the folder."""
    path = file_of(folder, CLEAN, CLEAN)
    programs = [
        CleanProgram(id=str(row["id"]), text=text, tests=tests, half=_half(str(row["id"])))
        for number, row in rows_of(path)
        for text, tests in [texts_of(row, path, number, "fixed", "tests")]
    ]
    return tuple(sorted((each for each in programs if half in (None, each.half)), key=_shuffled))


def _shuffled(each: RepairTask | CleanProgram) -> str:
    return hashlib.sha256(each.id.encode()).hexdigest()


def _half(problem: str) -> Half:
    number = int(hashlib.sha256(f"half:{problem}".encode()).hexdigest(), 16)
    return Half.VALIDATION if number % 2 else Half.REPORT


def file_of(folder: Path, stem: str, name: str) -> Path:
    """The file of a set, gzipped or not; InputError where there is none."""
    for path in (folder / f"{stem}.jsonl", folder / f"{stem}.jsonl.gz"):
        if path.is_file():
            return path
    raise InputError(
        f"expected {stem}.jsonl or {stem}.jsonl.gz in {folder} for the set {name!r}, got neither;"
        f" sets are {', '.join(COLLECTIONS)}, or name a file there"
    )


def _stem(name: str) -> str:
    return name.removesuffix(".gz").removesuffix(".jsonl")


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines, with their lines' numbers; InputError for one without an `id`."""
    with (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8") as file
    ):
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict) or "id" not in row:
                raise InputError(f"{path}:{number}: expected a JSON object with an `id`, got {line[:60]!r}")
            yield number, row


def texts_of(row: dict[str, Any], path: Path, number: int, *names: str) -> tuple[str, ...]:
    """The values of a row under some names; InputError for one that is no text."""
    values = tuple(row.get(name) for name in names)
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, str):
            got = type(value).__name__
            raise InputError(f"{path}:{number}: expected text as `{name}` of {row['id']}, got {got}")
    return values  # pyright: ignore[reportReturnType]


def _task(
    row: dict[str, Any], path: Path, number: int, collection: Collection, name: str
) -> RepairTask | str:
    """The task of a row, or why there is none."""
    buggy, fixed = texts_of(row, path, number, "buggy", "fixed")
    tests = "" if row.get("tests") is None else texts_of(row, path, number, "tests")[0]
    meta = row.get("meta") or {}
    if collection.groups and meta.get("group") not in collection.groups:
        return "another group"
    lines = changed_lines(buggy, fixed)
    if lines is None or len(lines) != 1:
        return "not one changed line"
    if not is_python(buggy):
        return "does not parse"
    if not tests.strip():
        return "no tests"
    if len(buggy.split("\n")) > LONGEST:
        return f"over {LONGEST} lines"
    problem = str(meta.get("problem") or meta.get("slug") or row["id"])
    return RepairTask(
        id=str(row["id"]),
        collection=name,
        problem=problem,
        buggy=buggy,
        fixed=fixed,
        line=lines[0],
        tests=tests,
        half=_half(problem) if collection.is_split else Half.REPORT,
    )


def _mutant(row: dict[str, Any], path: Path, number: int) -> RepairTask | str:
    """One planted bug of a right program; its type and place are drawn by the program's name."""
    fixed, tests = texts_of(row, path, number, "fixed", "tests")
    if len(fixed.split("\n")) > LONGEST:
        return f"over {LONGEST} lines"
    by_type: dict[str, list[tuple[str, int]]] = {}
    for pair in MutationGenerator().mutations_of(fixed):
        lines = changed_lines(pair.negative, fixed)
        if lines is not None and len(lines) == 1:
            by_type.setdefault(pair.mutation_type.value, []).append((pair.negative, lines[0]))
    if not by_type:
        return "nothing to mutate"
    draw = int(hashlib.sha256(f"mutant:{row['id']}".encode()).hexdigest(), 16)
    kind = sorted(by_type)[draw % len(by_type)]
    buggy, line = by_type[kind][draw // len(by_type) % len(by_type[kind])]
    return RepairTask(
        id=f"{row['id']}/{kind}",
        collection=MUTANTS,
        problem=str(row["id"]),
        buggy=buggy,
        fixed=fixed,
        line=line,
        tests=tests,
        half=_half(str(row["id"])),
    )


def changed_lines(buggy: str, fixed: str) -> list[int] | None:
    """The lines (from 0) that differ; None for texts of different numbers of lines. Line ends at the end of a
    text don't count."""
    first, second = (text.rstrip("\n").split("\n") for text in (buggy, fixed))
    if len(first) != len(second):
        return None
    return [index for index, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]

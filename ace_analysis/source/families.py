"""Projects that are relatives under different names: split by name, they would land on both sides of an exam.

A measurement on held-out projects means little when training saw the same code under another name: a fork
(httpx2 and httpx), a part that was split out (parso and jedi), the packages of one product
(opentelemetry-sdk and opentelemetry-api), a backport of the standard library (tomli and tomllib). Whole
families belong on one side. Names are the evidence, and a table for those that names don't show.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ace_analysis.source.corpus import CodeFunction, Split

STANDARD_LIBRARY = "stdlib"

_ROOTS = (
    "azure",
    "backports",
    "google",
    "jaraco",
    "jupyter",
    "opentelemetry",
    "pytest",
    "sphinxcontrib",
    "standard",
    "tree-sitter",
    "types",
    "zope",
)
"""`root-anything` is one of the root's family, whether or not the root itself is among the projects."""

_NO_ROOTS = frozenset({"py", "python", STANDARD_LIBRARY})
"""Words that many unrelated names begin with."""

_FAMILIES: Mapping[str, tuple[str, ...]] = {
    # Parts of the standard library that came from these, were copied into these, or live on in these.
    STANDARD_LIBRARY: (
        "argparse",
        "async-timeout",
        "asyncio",
        "audioop-lts",
        "backports",
        "billiard",
        "configparser",
        "contextlib2",
        "dataclasses",
        "enum34",
        "exceptiongroup",
        "fissix",
        "functools32",
        "futures",
        "graphlib-backport",
        "importlib-metadata",
        "importlib-resources",
        "legacy-cgi",
        "mock",
        "multiprocess",
        "ordereddict",
        "pathlib2",
        "pickle5",
        "pysqlite3",
        "setuptools",
        "simplejson",
        "singledispatch",
        "standard",
        "statistics",
        "tomli",
        "trollius",
        "typed-ast",
        "typing",
        "typing-extensions",
        "unittest2",
        "zipp",
    ),
    # The same client, its lower half, and their forks.
    "httpx": ("httpcore", "httpx2", "httpcore2"),
    # Packages of i2mint, split out of one another.
    "dol": ("babe", "config2py", "graze", "i2", "py2store"),
    # The parser was split out of the completer.
    "jedi": ("parso",),
    # One repository.
    "hatch": ("hatchling",),
    # Ports of one family of JavaScript packages by the same people.
    "markdown-it-py": ("linkify-it-py", "mdit-py-plugins", "mdurl"),
    # Split out of pytest, or of what it was split out of.
    "pytest": ("iniconfig", "pluggy", "py"),
    # The task queue and the messaging that was split out of it.
    "celery": ("amqp", "kombu", "vine"),
    # One follows the other's notation.
    "einops": ("fancy-einsum",),
    # Split out of IPython.
    "jupyter": ("ipykernel", "ipython", "nbclient", "nbconvert", "nbformat", "notebook", "traitlets"),
    # Split out of trio.
    "trio": ("outcome",),
    # The graphs and what runs them on many machines: once one repository.
    "dask": ("distributed",),
}
_ORDER: tuple[tuple[Split, Split, str | None], ...] = (
    ("validation", "train", STANDARD_LIBRARY),
    ("test", "train", STANDARD_LIBRARY),
    ("validation", "test", None),
    ("train", "validation", None),
    ("train", "test", None),
)
"""Which side gives way to which; with a name, only to that project."""

_FAMILY = {member: family for family, members in _FAMILIES.items() for member in members}
_NUMBERED = re.compile(r"(.*[a-z])-?\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A project that left a side of the split, because of a relative on another; with its functions."""

    project: str
    split: Split
    relative: str
    relative_split: Split
    functions: int = 0

    def __str__(self) -> str:
        return f"{self.project} ({self.split}), a relative of {self.relative} ({self.relative_split})"


@dataclass(frozen=True, slots=True)
class Separated:
    """Functions by side of the split without relatives across sides, and what that cost."""

    functions: Mapping[Split, tuple[CodeFunction, ...]]
    left_out: tuple[LeftOut, ...]


def normalised(project: str) -> str:
    """A project's name as package indexes compare names: lower case, with single dashes."""
    return re.sub(r"[-_.\s]+", "-", project).strip("-").lower()


def family_of(project: str, among: Collection[str] = ()) -> str:
    """The name of a project's family: its own where it has no known relative.

    `among` are the projects that it is compared with: `tool2` and `tool-extras` are of `tool`'s family only
    where there is a `tool`, since `project1` and `project2` need have nothing in common but a habit.
    """
    return _family(normalised(project), {normalised(each) for each in among})


def _family(name: str, among: set[str]) -> str:
    if name in _FAMILIES:
        return name
    if name in _FAMILY:
        return _family(_FAMILY[name], among)
    numbered = _NUMBERED.fullmatch(name)
    if numbered and (numbered[1] in among or numbered[1] in _FAMILY or numbered[1] in _FAMILIES):
        return _family(numbered[1], among)
    for root in _ROOTS:
        if name.startswith(f"{root}-"):
            return _family(root, among)
    first, dash, _ = name.partition("-")
    if dash and first not in _NO_ROOTS and (first in among or first in _FAMILIES):
        return _family(first, among)
    return name


def relatives(projects: Mapping[Split, Collection[str]]) -> tuple[LeftOut, ...]:
    """Which projects have to leave their side for no family to be on two.

    Training gives way to validation and test, and validation to test. The standard library is the exception:
    it stays where it trains, and its relatives leave the exams.
    """
    everything = {each for names in projects.values() for each in names}
    family = {each: family_of(each, everything) for each in everything}
    sides: dict[Split, list[str]] = {split: sorted(names) for split, names in projects.items()}
    found: list[LeftOut] = []
    for split, other, only in _ORDER:
        there = {
            family[each]: each
            for each in reversed(sides.get(other, []))
            if only is None or normalised(each) == only
        }
        gone = [each for each in sides.get(split, []) if family[each] in there]
        found += [
            LeftOut(project=each, split=split, relative=there[family[each]], relative_split=other)
            for each in gone
        ]
        sides[split] = [each for each in sides.get(split, []) if each not in gone]
    return tuple(found)


def without_relatives(functions: Mapping[Split, Sequence[CodeFunction]]) -> Separated:
    """The functions of each side without those whose project has a relative on a side that goes before."""
    sizes: dict[Split, Counter[str]] = {
        split: Counter(each.project for each in some) for split, some in functions.items()
    }
    gone = relatives(sizes)
    names = {(each.split, each.project) for each in gone}
    kept: dict[Split, tuple[CodeFunction, ...]] = {
        split: tuple(each for each in some if (split, each.project) not in names)
        for split, some in functions.items()
    }
    counted = (replace(each, functions=sizes[each.split][each.project]) for each in gone)
    return Separated(kept, tuple(counted))

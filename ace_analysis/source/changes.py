"""Which lines of a file differ from a revision in git, so that a commit is judged by what it changes alone.

The files on disk are compared, not the index: during `pre-commit` they are what is about to be committed.
Lines are numbered as git does it, by "\\n" alone, and leave this module as spans of code points.
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ace_analysis.errors import InputError, SettingsError
from ace_analysis.source.document import TextSpan

_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@", re.MULTILINE)
_PLAIN_DIFF = ("--unified=0", "--no-color", "--no-ext-diff", "--no-textconv", "--text", "--find-renames")
"""The user's own settings, and programs that a repository's settings name, have no say."""


@dataclass(frozen=True, slots=True)
class LineRange:
    """`count` lines from the 1-based line `first` on."""

    first: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """A repository's differences from a revision. `changed` maps a path to the one that it had there."""

    root: Path
    revision: str | None
    """None: there is no commit yet, so that all is new."""
    changed: Mapping[str, str]
    tracked: frozenset[str]


class GitChanges:
    """What changed since one revision, in whichever repositories the files lie."""

    def __init__(self, revision: str) -> None:
        self._revision = revision
        self._roots: dict[Path, Path] = {}
        self._comparisons: dict[Path, _Comparison] = {}

    def lines_of(self, path: Path) -> tuple[LineRange, ...] | None:
        """The changed lines of a file; none where it is as it was, None where all of it is new.

        InputError where the file lies in no repository; SettingsError where the revision is unknown or git
        is not installed, so that it would be the same with any other file.
        """
        real = path.resolve()
        comparison = self._comparison(self._root_of(real.parent))
        name = real.relative_to(comparison.root).as_posix()
        if comparison.revision is None or name not in comparison.tracked:
            return None
        before = comparison.changed.get(name)
        if before is None:
            return ()
        names = dict.fromkeys((before, name))
        literal = [f":(top,literal){each}" for each in names]
        said = _git(comparison.root, "diff", *_PLAIN_DIFF, comparison.revision, "--", *literal)
        hunks = [(int(first), int(count or 1)) for first, count in _HUNK.findall(said)]
        return tuple(LineRange(first, count) for first, count in hunks if count)

    def _root_of(self, folder: Path) -> Path:
        if folder not in self._roots:
            said = _git(folder, "rev-parse", "--show-toplevel")
            self._roots[folder] = Path(said.removesuffix("\n")).resolve()
        return self._roots[folder]

    def _comparison(self, root: Path) -> _Comparison:
        if root not in self._comparisons:
            self._comparisons[root] = _compare(root, self._revision)
        return self._comparisons[root]


def spans_of_lines(text: str, ranges: Sequence[LineRange]) -> tuple[TextSpan, ...]:
    """The places of lines in a text, line endings included; what is behind the text's end is left out."""
    starts = [0, *(match.end() for match in re.finditer("\n", text)), len(text)]
    last = len(starts) - 1
    spans = [
        TextSpan(starts[each.first - 1], starts[min(each.first - 1 + each.count, last)])
        for each in ranges
        if 0 < each.first <= last
    ]
    return tuple(span for span in spans if len(span))


def _compare(root: Path, revision: str) -> _Comparison:
    commit = _commit(root, revision)
    if commit is None:
        return _Comparison(root=root, revision=None, changed={}, tracked=frozenset())
    listing = _git(root, "diff", "--name-status", "-z", "--no-ext-diff", "--find-renames", commit)
    fields = iter(listing.split("\0")[:-1])
    changed: dict[str, str] = {}
    for status in fields:
        name = before = next(fields)
        if status[0] in "RC":
            name = next(fields)
        changed[name] = before
    tracked = frozenset(_git(root, "ls-files", "-z", "--full-name").split("\0"))
    return _Comparison(root=root, revision=commit, changed=changed, tracked=tracked)


def _commit(root: Path, revision: str) -> str | None:
    try:
        return _git(root, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").strip()
    except InputError as error:
        if revision in ("HEAD", "@") and not _git(root, "rev-list", "--all", "--max-count=1"):
            return None
        raise SettingsError(f"expected a revision that git knows in {root}, got {revision!r}") from error


def _git(folder: Path, *arguments: str) -> str:
    """What git prints; undecodable bytes of file names come as surrogates, as Python's own paths do."""
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise SettingsError(f"expected git to find changed lines, and it can't be run: {error}") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise InputError(f"git can't tell what changed in {folder}: {said[-1] if said else done.returncode}")
    return done.stdout.decode("utf-8", "surrogateescape")

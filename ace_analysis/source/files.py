"""Which files a command is about: files, folders, globs, less what is excluded.

Folders are walked as other Python tools do: *.py and *.pyw, without links to folders (which may lead in a
circle), environments, build output, and what git ignores. What was named is looked at even where a walk would
pass it by; only the project's own exclude patterns hold for it too, because a pre-commit hook names files.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from ace_analysis.errors import SettingsError

SUFFIXES = (".py", ".pyw")

PASSED_BY = frozenset(
    {".bzr", ".direnv", ".eggs", ".git", ".hg", ".ipynb_checkpoints", ".mypy_cache", ".nox", ".pants.d"}
    | {".pytest_cache", ".pytype", ".ruff_cache", ".svn", ".tox", ".venv", ".vscode", "__pycache__"}
    | {"__pypackages__", "_build", "buck-out", "build", "dist", "node_modules", "site-packages", "venv"}
)
"""Folders that a walk does not enter, beside any that holds a pyvenv.cfg."""

_MAGIC = frozenset("*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """Patterns as in a .gitignore, from `folder` on."""

    folder: Path
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file to read; or why there is none at this path, or why it is left out."""

    path: Path
    problem: str | None = None
    left_out: str | None = None


@dataclass(frozen=True, slots=True)
class _Rules:
    """A compiled .gitignore, or anything that is written like one."""

    folder: Path
    spec: GitIgnoreSpec

    def verdict(self, place: "_Place") -> bool | None:
        """True: ignored; False: expressly not; None: nothing is said of it."""
        if not place.real.is_relative_to(self.folder):
            return None
        relative = place.real.relative_to(self.folder).as_posix()
        return self.spec.check_file(f"{relative}/" if place.is_folder else relative).include


@dataclass(frozen=True, slots=True)
class _Place:
    """A path as the user wrote it, and without links in its folder, which rules are about."""

    shown: Path
    real: Path
    is_folder: bool = False

    @classmethod
    def of(cls, path: Path) -> "_Place":
        folder = _is_folder(path)
        real = path.resolve() if folder else path.parent.resolve() / path.name
        return cls(path, real, folder)

    def below(self, entry: os.DirEntry[str]) -> "_Place":
        try:
            folder = entry.is_dir(follow_symlinks=False)
        except OSError:
            folder = False
        return _Place(self.shown / entry.name, self.real / entry.name, folder)


def find_files(paths: Iterable[str], exclusions: Sequence[Exclusion] = ()) -> Iterator[Found]:
    """Each file that the paths name, once, in the order of the paths and then by name.

    A path that does not exist is a glob where it can be one. What can't be looked at becomes a problem.
    """
    rules = [_Rules(each.folder.resolve(), _compiled(each.patterns)) for each in exclusions]
    seen: set[Path] = set()
    for path in paths:
        for found in _found(path, rules):
            key = found.path if found.problem else _Place.of(found.path).real
            if key not in seen:
                seen.add(key)
                yield found


def _found(text: str, rules: Sequence[_Rules]) -> Iterator[Found]:
    path = Path(text)
    try:
        place, exists = _Place.of(path), os.path.lexists(path)
    except (OSError, RuntimeError, ValueError) as error:
        yield Found(path=path, problem=f"can't be looked at: {error}")
        return
    if not exists and not _MAGIC.isdisjoint(text):
        yield from _matching(text, rules)
    elif not exists:
        yield Found(path=path, problem="there is no such file or folder")
    elif any(rule.verdict(place) for rule in rules):
        yield Found(path=path, left_out="excluded by the settings")
    elif place.is_folder:
        yield from _walk(place, rules)
    else:
        yield Found(path=path)


def _matching(pattern: str, rules: Sequence[_Rules]) -> Iterator[Found]:
    """The files of the walk that a glob matches, itself or by one of their folders."""
    parts = Path(pattern).parts
    fixed = next(index for index, part in enumerate(parts) if not _MAGIC.isdisjoint(part))
    start = Path(*parts[:fixed])
    try:
        wanted = _Rules(start.resolve(), _compiled(("/" + "/".join(parts[fixed:]),)))
    except SettingsError as error:
        yield Found(path=Path(pattern), problem=f"expected a path or a glob: {error}")
        return
    matched = False
    if _is_folder(start):
        for found in _walk(_Place.of(start), rules):
            if found.problem is not None or wanted.verdict(_Place.of(found.path)):
                matched = True
                yield found
    if not matched:
        yield Found(path=Path(pattern), problem="no Python file matches")


def _walk(root: _Place, rules: Sequence[_Rules]) -> Iterator[Found]:
    """Python files below a folder, a folder's own files before those of its folders."""
    stack = [(root, _ignored_above(root))]
    while stack:
        place, ignored = stack.pop()
        try:
            with os.scandir(place.shown) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield Found(path=place.shown, problem=f"can't be listed: {error.strerror or error}")
            continue
        names = {entry.name for entry in entries}
        if "pyvenv.cfg" in names and place is not root:
            continue
        if ".gitignore" in names:
            ignored = (*ignored, *_gitignore(place.real, ".gitignore"))
        folders: list[_Place] = []
        for entry in entries:
            inner = place.below(entry)
            if not _interesting(inner) or any(rule.verdict(inner) for rule in rules):
                continue
            if _is_ignored(inner, ignored):
                continue
            if inner.is_folder:
                folders.append(inner)
            elif not (entry.is_symlink() and _is_folder(inner.shown)):
                yield Found(path=inner.shown)
        stack.extend((folder, ignored) for folder in reversed(folders))


def _interesting(place: _Place) -> bool:
    name = place.shown.name
    # Emacs marks an open file x.py by a link .#x.py that leads nowhere.
    return name not in PASSED_BY if place.is_folder else name.endswith(SUFFIXES) and name[:2] != ".#"


def _is_ignored(place: _Place, rules: Sequence[_Rules]) -> bool:
    """The innermost file that speaks of it decides, as in git."""
    verdicts = (rule.verdict(place) for rule in reversed(rules))
    return next((verdict for verdict in verdicts if verdict is not None), False)


def _ignored_above(root: _Place) -> tuple[_Rules, ...]:
    """What git ignores from the repository's root down to the folder's parent, outermost first.

    A folder that git ignores was named on purpose: nothing from above counts in it.
    """
    found: list[_Rules] = []
    for folder in (root.real, *root.real.parents):
        if folder != root.real:
            found = [*_gitignore(folder, ".gitignore"), *found]
        if os.path.lexists(folder / ".git"):
            found = [*_gitignore(folder, ".git/info/exclude"), *found]
            return () if _is_ignored(root, found) else tuple(found)
    return ()


def _gitignore(folder: Path, name: str) -> list[_Rules]:
    try:
        lines = (folder / name).read_bytes().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    try:
        return [_Rules(folder, _compiled(lines))]
    except SettingsError:
        return [_Rules(folder, _compiled([line for line in lines if _compiles(line)]))]


def _compiles(line: str) -> bool:
    try:
        _compiled([line])
    except SettingsError:
        return False
    return True


def _compiled(patterns: Iterable[str]) -> GitIgnoreSpec:
    try:
        return GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise SettingsError(f"expected patterns as in a .gitignore: {error}") from error


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False

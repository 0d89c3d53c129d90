"""Which settings hold for which document, and for the worker.

    defaults < [tool.ace] or ace.toml < initializationOptions < workspace/configuration (deepest folder)

A project's file may set everything but `lsp.worker.command`: opening a stranger's folder must not start a
stranger's program. What is wrong anywhere is told once and costs only the source that it is in.
"""

import asyncio
import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ace_analysis.errors import InputError, SettingsError
from ace_analysis.report.baseline import FILE_NAME, Baseline, read_baseline, relative_path
from ace_analysis.settings import (
    CheckSettings,
    EngineSettings,
    FixSettings,
    find_config,
    load_settings,
    read_config,
)
from ace_lsp.settings import ServerSettings, folder_of, merge, parse_settings, snake_keys, without_section
from ace_lsp.worker_process import WorkerPlan

CONFIG_FILES = f"**/{{ace.toml,pyproject.toml,{FILE_NAME}}}"
"""What to watch, as a glob of the specification's."""

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSettings:
    """What holds for one document."""

    server: ServerSettings = field(default_factory=ServerSettings)
    check: CheckSettings = field(default_factory=CheckSettings)
    fix: FixSettings = field(default_factory=FixSettings)
    hidden: frozenset[str] = frozenset()
    """Kinds of findings that are not to be shown."""
    excluded: bool = False
    baseline: Baseline = field(default_factory=Baseline)
    baseline_path: str = ""
    """What the baseline calls the document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resolved:
    """What holds in one folder; patterns in `engine.check.exclude` count from `base` on."""

    server: ServerSettings
    engine: EngineSettings
    hidden: frozenset[str]
    base: Path | None
    baseline: Baseline
    baseline_folder: Path | None


class Configuration:
    """All sources together. `ready` is set when the client has been asked for its settings."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self._initial: Raw = {}
        self._client: Raw = {}
        self._of_folders: dict[Path, Raw] = {}
        self._chosen: Raw = {}
        """What a person chose for this session, above all else."""
        self._roots: tuple[Path, ...] = ()
        self._resolved: dict[Path | None, _Resolved] = {}
        self._problems: dict[str, bool] = {}
        """Each problem, and whether it was told."""

    @property
    def roots(self) -> tuple[Path, ...]:
        return self._roots

    def start(self, options: object, roots: tuple[Path, ...]) -> None:
        """What `initialize` says."""
        self._initial, self._roots = self._checked(options), roots
        self.forget_files()

    def set_roots(self, roots: tuple[Path, ...]) -> None:
        self._roots = roots
        self.forget_files()

    def set_client(self, whole: object, of_folders: Mapping[Path, object]) -> None:
        """What the client says for everything, and for each workspace folder."""
        self._client = self._checked(whole)
        self._of_folders = {folder: self._checked(raw) for folder, raw in of_folders.items()}
        self.forget_files()
        self.ready.set()

    def choose_model(self, name: str | None) -> None:
        """Take this model for all folders; None takes what is set again."""
        self._chosen = {} if name is None else {"model": {"name": name}}
        self.forget_files()

    @property
    def model_set(self) -> str:
        """The model's name as it is set, whatever a person has chosen since."""
        chosen, self._chosen = self._chosen, {}
        self.forget_files()
        try:
            return self.worker_plan().engine["model"]["name"]
        finally:
            self._chosen = chosen
            self.forget_files()

    def forget_files(self) -> None:
        """Read the projects' files anew at the next question."""
        self._resolved.clear()

    def new_problems(self) -> tuple[str, ...]:
        """What was found wrong and has not been told yet."""
        found = tuple(problem for problem, told in self._problems.items() if not told)
        self._problems.update(dict.fromkeys(found, True))
        return found

    def of(self, path: Path | None) -> DocumentSettings:
        """The settings of the document at `path`; None is one without a file."""
        resolved = self._in(path.parent if path is not None else self._first_root)
        excluded = path is not None and _matches(resolved.engine.check.exclude, path, resolved.base)
        return DocumentSettings(
            server=resolved.server,
            fix=resolved.engine.fix,
            check=resolved.engine.check,
            hidden=resolved.hidden,
            excluded=excluded,
            baseline=resolved.baseline,
            baseline_path=relative_path(path, folder)
            if path and (folder := resolved.baseline_folder)
            else "",
        )

    def worker_plan(self) -> WorkerPlan:
        """How to start the worker. There is one for all folders, so the first one's model is taken.

        Kinds to ignore are not among it: they differ between folders, and the server leaves them out itself.
        """
        resolved = self._in(self._first_root)
        engine = dataclasses.asdict(resolved.engine)
        engine["check"]["ignore"] = ()
        return WorkerPlan(settings=resolved.server.worker, engine=engine)

    @property
    def _first_root(self) -> Path | None:
        return self._roots[0] if self._roots else None

    def _checked(self, raw: object) -> Raw:
        """One source of the client's, with its problems noted."""
        self._note("", parse_settings(raw).problems)
        return snake_keys(without_section(raw)) if isinstance(raw, Mapping) else {}

    def _in(self, folder: Path | None) -> _Resolved:
        if folder not in self._resolved:
            self._resolved[folder] = self._resolve(folder)
        return self._resolved[folder]

    def _resolve(self, folder: Path | None) -> _Resolved:
        root = None if folder is None else folder_of(folder, self._roots)
        raw = merge(merge(self._initial, self._client), self._of_folders.get(root, {}) if root else {})
        raw = merge(raw, self._chosen)
        config, lsp = self._project_settings(folder)
        server = parse_settings(merge(lsp, raw)).settings
        base = config.parent if config is not None else root
        engine = self._engine(folder, server.engine)
        known, place = self._baseline(engine.check.baseline, base)
        return _Resolved(
            server=server,
            engine=engine,
            hidden=self._hidden(engine.check.ignore),
            base=base,
            baseline=known,
            baseline_folder=place,
        )

    def _baseline(self, name: str | None, base: Path | None) -> tuple[Baseline, Path | None]:
        """What is known already, and the folder that its paths count from."""
        if name is None or base is None:
            return Baseline(), None
        path = base / Path(name).expanduser()
        try:
            return read_baseline(path), path.parent
        except InputError as error:
            self._note("", (str(error),))
            return Baseline(), None

    def _project_settings(self, folder: Path | None) -> tuple[Path | None, Raw]:
        """The file that governs a folder, and what it says about the server."""
        try:
            config = find_config(folder) if folder is not None else None
            table = snake_keys(read_config(config)).get("lsp", {}) if config is not None else {}
        except SettingsError as error:
            self._note("", (str(error),))
            return None, {}
        parsed = parse_settings(table)
        self._note(f"{config}: ", parsed.problems)
        if parsed.settings.worker.command:
            told = "lsp.worker.command is read from the editor's settings only, and was passed over"
            self._note(f"{config}: ", (told,))
            table = {**table, "worker": {**table["worker"], "command": None}}
        return config, table if isinstance(table, Mapping) else {}

    def _engine(self, folder: Path | None, overrides: Raw) -> EngineSettings:
        """What is wrong in the editor's settings costs only those, what is wrong in the file costs both."""
        for start, over in ((folder, overrides), (folder, {}), (None, {})):
            try:
                return load_settings(start, over)
            except SettingsError as error:
                self._note("", (str(error),))
        return EngineSettings()

    def _hidden(self, words: tuple[str, ...]) -> frozenset[str]:
        """The kinds that `check.ignore` names, be it by a finding's name or by a candidate site's."""
        if not words:
            return frozenset()
        from ace_analysis.source.kinds import KIND_OF_SITE

        of_sites = {site.value: kind for site, kind in KIND_OF_SITE.items()}
        known = (*of_sites.values(), *of_sites)
        for word in words:
            if word not in known:
                (near,) = difflib.get_close_matches(word, known, n=1, cutoff=0.0)
                self._note("", (f"check.ignore: unknown kind {word!r}; did you mean {near!r}?",))
        return frozenset(words) | {of_sites[word] for word in words if word in of_sites}

    def _note(self, where: str, problems: tuple[str, ...]) -> None:
        for problem in problems:
            self._problems.setdefault(where + problem, False)


def _matches(patterns: tuple[str, ...], path: Path, base: Path | None) -> bool:
    """Whether patterns as in a .gitignore name a file below `base`."""
    if not patterns or base is None or not path.is_relative_to(base):
        return False
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(patterns).match_file(path.relative_to(base).as_posix())

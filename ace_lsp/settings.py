"""What the editor may set, read leniently: a mistake costs one message and never the server.

`initializationOptions` and `workspace/configuration` (section "ace") hold the server's settings beside the
engine's sections (`model`, `check`, ...), which are passed on to `ace_analysis.settings`; a project's
`[tool.ace.lsp]` holds the server's. Keys may be written in camelCase, as editors do, or in snake_case. Where
they come from and which beats which is in configuration.py.
"""

import dataclasses
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from ace_analysis.settings import EngineSettings

ENGINE_SECTIONS = tuple(each.name for each in dataclasses.fields(EngineSettings))
"""Top-level keys that the engine's settings know."""

CLIENT_KEYS = frozenset(
    ("interpreter", "path", "args", "import_strategy", "trace", "log_level", "log_file", "show_notifications")
)
"""Keys of section "ace" that only editor plugins read; they are not mistakes."""


class Run(StrEnum):
    ON_TYPE = "onType"
    ON_SAVE = "onSave"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    command: tuple[str, ...] = ()
    """Empty: this Python runs `ace_analysis.worker`. For a model elsewhere: ("ssh", "box", "python", ...)."""
    cancel_timeout: float = 5.0
    """Seconds that a worker may ignore a cancel before it is killed."""
    idle_minutes: float = 15.0
    """Minutes without work before the model is unloaded; 0 keeps it."""
    max_crashes: int = 5
    """Crashes in a row before the server stops trying."""
    backoff: float = 1.0
    """Seconds before the second restart in a row; doubled each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    enable: bool = True
    run: Run = Run.ON_TYPE
    debounce: int = 300
    """Milliseconds of rest after a keystroke before a document is analysed. Short, since a keystroke too many
    only costs a scan that is cancelled at the next layer of the model."""
    max_lines: int = 20_000
    """Longer documents are not analysed while typing; `ace.analyzeFile` still does."""
    preview_fix: bool = False
    """Whether the editor shall ask before it applies what ACE wrote, where it can."""
    code_lens: bool = False
    """Whether each function with findings says so above its first line."""
    inlay_hints: bool = False
    """Whether the probability stands behind each finding."""
    explain_ahead: int = 3
    """How many findings of a document, the likeliest first, are explained while nothing else is to do, so
    that a hover need not wait; 0: none. Each costs the processor about three scans of its function."""
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    engine: Mapping[str, Any] = field(default_factory=dict)
    """Sections for `ace_analysis.settings`, in snake_case."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """Settings and what was wrong with the source; defaults stand where something was."""

    settings: ServerSettings
    problems: tuple[str, ...] = ()


def parse_settings(raw: object) -> Parsed:
    """Settings from one JSON value; null sets nothing, and neither does [], which is Lua's empty table."""
    if raw is None or raw == []:
        return Parsed(ServerSettings())
    if not isinstance(raw, Mapping):
        return Parsed(ServerSettings(), (f"ace: expected settings by name, got {raw!r}",))
    raw = without_section(raw)
    data = snake_keys(raw)
    engine = {key: data.pop(key) for key in ENGINE_SECTIONS if key in data}
    problems: list[str] = []
    for key in [key for key, value in data.items() if key in CLIENT_KEYS or value is None]:
        del data[key]
    settings = _build(ServerSettings, data, "ace", problems)
    return Parsed(dataclasses.replace(settings, engine=engine), tuple(problems))


def without_section(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings themselves, where a client sends a section "ace" around them."""
    inner = raw.get("ace")
    return inner if isinstance(inner, Mapping) else raw


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, section by section; null means "not set"."""
    merged = dict(base)
    for key, value in over.items():
        mine = merged.get(key)
        if isinstance(value, Mapping) and isinstance(mine, Mapping):
            merged[key] = merge(mine, value)
        elif value is not None:
            merged[key] = value
    return merged


def folder_of(path: Path, folders: tuple[Path, ...]) -> Path | None:
    """The workspace folder that a file belongs to: the deepest one that holds it."""
    holding = [folder for folder in folders if path.is_relative_to(folder)]
    return max(holding, key=lambda folder: len(folder.parts), default=None)


def snake_keys(value: Any) -> Any:
    """The same with all keys in snake_case, and without what is null."""
    if isinstance(value, Mapping):
        return {_snake(str(key)): snake_keys(inner) for key, inner in value.items() if inner is not None}
    return value


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).replace("-", "_").lower()


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def _build(kind: type, data: Mapping[str, Any], where: str, problems: list[str]) -> Any:
    """An instance of a settings dataclass from what fits; what doesn't fit becomes a problem."""
    defaults = kind()
    known = {each.name: getattr(defaults, each.name) for each in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in known or key == "engine":
            problems.append(_unknown(key, known, where))
            continue
        default = known[key]
        if dataclasses.is_dataclass(default) and isinstance(value, Mapping):
            values[key] = _build(type(default), value, f"{where}.{_camel(key)}", problems)
            continue
        try:
            values[key] = _fitted(value, default)
        except ValueError as error:
            problems.append(f"{where}.{_camel(key)}: expected {error}, got {value!r}; using {default!r}")
    return dataclasses.replace(defaults, **values)


def _fitted(value: Any, default: Any) -> Any:
    """`value` in the default's type; ValueError says what was expected."""
    if isinstance(default, Run):
        if value not in tuple(Run):
            raise ValueError("one of " + ", ".join(Run))
        return Run(value)
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError("true or false")
        return value
    if isinstance(default, int | float):
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise ValueError("a number of at least 0")
        return type(default)(value)
    if isinstance(default, tuple):
        if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
            raise ValueError("a list of strings")
        return tuple(value)
    raise ValueError("a section")


def _unknown(key: str, known: Mapping[str, Any], where: str) -> str:
    candidates = [*known, *(ENGINE_SECTIONS if where == "ace" else ())]
    candidates.remove("engine") if "engine" in candidates else None
    near = difflib.get_close_matches(key, candidates, n=1, cutoff=0.0)
    hint = f"; did you mean {_camel(near[0])!r}?" if near else ""
    return f"{where}: unknown setting {_camel(key)!r}{hint}"

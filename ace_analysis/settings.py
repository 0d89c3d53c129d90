"""What can be set about the engine, and the only reader of its configuration files and environment variables.

Defaults < the nearest ace.toml or [tool.ace] in pyproject.toml < overrides (an editor's, a command line's).
Settings are passed on as arguments; there are no globals. A mistake is an error and never ignored, because a
misspelt key would otherwise look like a setting that does nothing. Keys may be written in snake_case,
camelCase or kebab-case, since TOML files and editors differ in that.
"""

import dataclasses
import difflib
import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from ace_analysis.errors import SettingsError

DEFAULT_MODEL = "qwen2.5-coder-0.5b-instruct"
CONFIG_FILE = "ace.toml"
OTHER_TABLES = frozenset({"lsp"})
"""Tables of the project's file that are not the engine's: the language server reads them."""

_DTYPES = {
    "auto": "auto",
    **dict.fromkeys(("float32", "fp32"), "float32"),
    **dict.fromkeys(("bfloat16", "bf16"), "bfloat16"),
    **dict.fromkeys(("float16", "fp16"), "float16"),
}
_DEVICE = re.compile(r"auto|cpu|mps|(?:cuda|xpu)(?::\d+)?")

Settings = TypeVar("Settings")


def _setting(default: Any, read: Callable[[Any], Any]) -> Any:
    """A field whose value passes through `read`, which raises a ValueError that says what was expected."""
    return field(default=default, metadata={"read": read})


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty")
    return value


def _any_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return value.strip()


def _texts(value: Any) -> tuple[str, ...]:
    parts = cast("Sequence[object]", value) if isinstance(value, list | tuple) else [None]
    texts = tuple(part for part in parts if isinstance(part, str))
    if len(texts) < len(parts):
        raise ValueError("a list of texts")
    return texts


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _device(value: Any) -> str:
    if not isinstance(value, str) or not _DEVICE.fullmatch(value.lower()):
        raise ValueError("auto, cpu, cuda, cuda:1, mps or xpu")
    return value.lower()


def _dtype(value: Any) -> str:
    if not isinstance(value, str) or value.lower() not in _DTYPES:
        raise ValueError("auto, float32, bfloat16 or float16")
    return _DTYPES[value.lower()]


def _number(low: float, *, high: float = math.inf, above: bool = False) -> Callable[[Any], float]:
    """A finite number of at least `low` (or above it), at most `high`."""

    def read(value: Any) -> float:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not fits or value > high or not (value > low if above else value >= low):
            least = "" if low == -math.inf else f" above {low:g}" if above else f" of at least {low:g}"
            raise ValueError(f"a number{least}" + (f" and at most {high:g}" if high < math.inf else ""))
        return float(value)

    return read


def _whole(low: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise ValueError(f"a whole number of at least {low}")
        return value

    return read


def _layers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("a list of layers, counted from 0")
    parts = cast("Sequence[object]", value)
    try:
        return tuple(_whole(0)(part) for part in parts)
    except ValueError:
        raise ValueError("a list of layers, counted from 0") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    name: str = _setting(DEFAULT_MODEL, _text)
    """A name that `ace model list` knows, a hub name, a folder or a GGUF file."""
    device: str = _setting("auto", _device)
    dtype: str = _setting("auto", _dtype)
    """auto: the fastest that the device computes in without losing accuracy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    max_false_alarms: float = _setting(1.0, _number(0, above=True, high=100))
    """False alarms per 100 lines of clean code; fewer means fewer findings."""
    ignore: tuple[str, ...] = _setting((), _texts)
    """Kinds of findings that are never shown."""
    exclude: tuple[str, ...] = _setting((), _texts)
    """Patterns as in a .gitignore, from the folder of the configuration file on."""
    baseline: str | None = _setting(None, _text)
    """A file of known findings, which are not shown again; from the folder of the configuration file on."""
    max_file_bytes: int = _setting(2_000_000, _whole(1))
    """Larger files are reported as not checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitDiscoverySettings:
    target_layers: tuple[int, ...] = _setting((), _layers)
    """Whose heads and MLPs `ace circuit` looks among; empty: all layers'."""
    use_attention_shortcut: bool = _setting(True, _flag)
    """Whether `ace circuit`, unless it is told a method, scores all of them at once, with attention patterns
    held as they were; else one by one with CD-T, which decomposes patterns too and takes minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SaeSettings:
    layer: int | None = _setting(None, _whole(0))
    """None: the bundle's layer."""
    t_threshold: float = _setting(2.0, _number(0))
    top_k_features: int = _setting(64, _whole(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeringSettings:
    default_strength: float = _setting(1.5, _number(-math.inf))
    normalize: bool = _setting(True, _flag)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixSettings:
    test: str = _setting("", _any_text)
    """A command whose success decides between fixes. It is run only with somebody's consent."""
    test_seconds: float = _setting(60.0, _number(0, above=True, high=3600))
    """How long one run of it may take."""
    candidates: int = _setting(4, _whole(1))
    """How many texts the model writes anew for a place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    max_megabytes: float = _setting(512.0, _number(0))
    """Size of the kept results; 0 keeps none on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    model: ModelSettings = field(default_factory=ModelSettings)
    check: CheckSettings = field(default_factory=CheckSettings)
    circuit_discovery: CircuitDiscoverySettings = field(default_factory=CircuitDiscoverySettings)
    sae: SaeSettings = field(default_factory=SaeSettings)
    steering: SteeringSettings = field(default_factory=SteeringSettings)
    fix: FixSettings = field(default_factory=FixSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)


def load_settings(start: Path | None, overrides: Mapping[str, Any] | None = None) -> EngineSettings:
    """Defaults, then the file that governs `start`, then `overrides`; None as a value means "not set".

    Args:
        start: a file or folder; None reads no file.
        overrides: sections by name, as in the file.
    """
    settings = EngineSettings()
    path = find_config(start) if start is not None else None
    if path is not None:
        settings = _with(settings, read_config(path), f"{path}: ")
    return _with(settings, overrides or {}, "")


def find_config(start: Path) -> Path | None:
    """The nearest ace.toml, or pyproject.toml with a table [tool.ace], at or above a file or folder."""
    start = start.absolute()
    for folder in (start, *start.parents):
        if _is_file(folder / CONFIG_FILE):
            return folder / CONFIG_FILE
        project = folder / "pyproject.toml"
        if _is_file(project) and "ace" in _tool_table(project):
            return project
    return None


def read_config(path: Path) -> Mapping[str, Any]:
    """The table that ACE reads in a configuration file, the language server's part included."""
    table: Any = _parsed(path) if path.name == CONFIG_FILE else _tool_table(path)["ace"]
    if not isinstance(table, Mapping):
        raise SettingsError(f"{path}: expected a table [tool.ace], got {table!r}")
    return cast("Mapping[str, Any]", table)


def cache_dir() -> Path:
    """Where models and results are kept: $ACE_CACHE_DIR, else the user's cache folder. May not exist yet."""
    chosen = os.environ.get("ACE_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("ace", appauthor=False)


def environment_with(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment for a child, with changes; PYTHONPATH goes in front of what is there."""
    before = os.environ.get("PYTHONPATH")
    own = {**os.environ, **changes}
    if "PYTHONPATH" in changes and before:
        own["PYTHONPATH"] = os.pathsep.join([changes["PYTHONPATH"], before])
    return own


def _is_file(path: Path) -> bool:
    """False also where one may not look."""
    try:
        return path.is_file()
    except OSError:
        return False


def _tool_table(project: Path) -> Mapping[str, Any]:
    tool = _parsed(project).get("tool", {})
    return cast("Mapping[str, Any]", tool) if isinstance(tool, Mapping) else {}


def _parsed(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{path}: can't be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: expected TOML in UTF-8: {error}") from error


def _with(settings: Settings, data: Mapping[str, Any], where: str, section: str = "") -> Settings:
    """`settings` with what `data` sets; `where` and `section` say in messages where that stands."""
    known = {each.name: each for each in dataclasses.fields(settings)}  # pyright: ignore[reportArgumentType]
    values: dict[str, Any] = {}
    for key, value in data.items():
        name = _snake(str(key))
        if not section and name in OTHER_TABLES:
            continue
        if name not in known:
            raise SettingsError(where + _unknown(str(key), tuple(known), section))
        current, label = getattr(settings, name), f"{section}.{name}" if section else name
        if value is None:
            continue
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise SettingsError(f"{where}{label}: expected a section, got {value!r}")
            values[name] = _with(current, cast("Mapping[str, Any]", value), where, label)
            continue
        try:
            values[name] = known[name].metadata["read"](value)
        except ValueError as error:
            raise SettingsError(f"{where}{label}: expected {error}, got {value!r}") from error
    changed: Settings = dataclasses.replace(cast("Any", settings), **values)
    return changed


def _unknown(key: str, known: tuple[str, ...], section: str) -> str:
    (near,) = difflib.get_close_matches(_snake(key), known, n=1, cutoff=0.0)
    inside = f" in section {section!r}" if section else ""
    return f"unknown setting {key!r}{inside}; did you mean {near!r}? Known: {', '.join(known)}"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).replace("-", "_").lower()

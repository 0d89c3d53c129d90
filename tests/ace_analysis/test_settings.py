"""What may be set, where it is looked for, and what is said about mistakes."""

import dataclasses
import json
from pathlib import Path

import pytest

from ace_analysis.errors import SettingsError
from ace_analysis.settings import (
    CircuitDiscoverySettings,
    EngineSettings,
    cache_dir,
    find_config,
    load_settings,
    read_config,
)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_set_means_the_defaults(tmp_path: Path) -> None:
    assert load_settings(None) == load_settings(tmp_path) == EngineSettings()


def test_settings_survive_the_way_through_json() -> None:
    settings = load_settings(
        None, {"model": {"dtype": "bf16"}, "check": {"ignore": ["constant"]}, "sae": {"layer": 3}}
    )
    assert load_settings(None, json.loads(json.dumps(dataclasses.asdict(settings)))) == settings


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ace.toml", '[model]\nname = "m"\n'),
        ("pyproject.toml", '[tool.ace.model]\nname = "m"\n'),
        ("pyproject.toml", '\ufeff[tool.ace]\nmodel = {name = "m"}\n'),
    ],
)
def test_both_files_are_read_from_any_folder_below(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path / name, text)
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    assert load_settings(inner).model.name == "m"


def test_a_file_is_governed_by_the_settings_of_its_folder(tmp_path: Path) -> None:
    write(tmp_path / "ace.toml", "[check]\nmax_false_alarms = 2\n")
    assert load_settings(write(tmp_path / "x.py", "")).check.max_false_alarms == 2.0


def test_the_nearest_file_counts_alone(tmp_path: Path) -> None:
    write(tmp_path / "ace.toml", '[model]\nname = "far"\ndevice = "cpu"\n')
    write(tmp_path / "a/ace.toml", '[model]\nname = "near"\n')
    settings = load_settings(tmp_path / "a")
    assert (settings.model.name, settings.model.device) == ("near", "auto")


def test_a_project_file_without_our_table_is_passed_by(tmp_path: Path) -> None:
    write(tmp_path / "ace.toml", '[model]\nname = "m"\n')
    write(tmp_path / "a/pyproject.toml", "[tool.other]\nx = 1\n")
    write(tmp_path / "a/b/pyproject.toml", 'tool = "not a table"\n')
    assert load_settings(tmp_path / "a/b").model.name == "m"


def test_ace_toml_goes_before_pyproject_in_the_same_folder(tmp_path: Path) -> None:
    mine = write(tmp_path / "ace.toml", "")
    write(tmp_path / "pyproject.toml", "[tool.ace]\n")
    assert find_config(tmp_path) == mine


def test_overrides_beat_the_file_and_null_sets_nothing(tmp_path: Path) -> None:
    write(tmp_path / "ace.toml", '[model]\nname = "file"\ndevice = "cpu"\n')
    settings = load_settings(tmp_path, {"model": {"name": "mine", "device": None}, "sae": None})
    assert (settings.model.name, settings.model.device) == ("mine", "cpu")


@pytest.mark.parametrize("key", ["use_attention_shortcut", "useAttentionShortcut", "use-attention-shortcut"])
@pytest.mark.parametrize("section", ["circuit_discovery", "circuitDiscovery", "circuit-discovery"])
def test_camel_snake_and_kebab_case_mean_the_same(section: str, key: str) -> None:
    settings = load_settings(None, {section: {key: False}})
    assert settings.circuit_discovery == CircuitDiscoverySettings(use_attention_shortcut=False)


def test_the_language_servers_table_is_not_ours_to_judge(tmp_path: Path) -> None:
    path = write(tmp_path / "ace.toml", "[lsp]\nanything = 1\n")
    assert load_settings(tmp_path) == EngineSettings()
    assert read_config(path) == {"lsp": {"anything": 1}}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"chek": {}}, "unknown setting 'chek'; did you mean 'check'\\? Known: model, check, "),
        (
            {"check": {"maxFalseAlarm": 1}},
            "unknown setting 'maxFalseAlarm' in section 'check'; did you mean 'max_false_alarms'",
        ),
        ({"check": {"x" * 50: 1}}, "unknown setting 'x+' in section 'check'; did you mean"),
        ({"check": {"lsp": 1}}, "unknown setting 'lsp' in section 'check'"),
        ({"model": "qwen"}, "model: expected a section, got 'qwen'"),
        ({"model": {"name": " "}}, "model.name: expected a text that is not empty, got ' '"),
        ({"model": {"device": "gpu"}}, "model.device: expected auto, cpu, cuda, cuda:1, mps or xpu"),
        ({"model": {"dtype": "int8"}}, "model.dtype: expected auto, float32, bfloat16 or float16"),
        ({"check": {"max_false_alarms": 0}}, "expected a number above 0 and at most 100, got 0"),
        ({"check": {"max_false_alarms": 101}}, "expected a number above 0 and at most 100, got 101"),
        ({"check": {"max_false_alarms": "1"}}, "expected a number above 0 and at most 100, got '1'"),
        ({"check": {"max_false_alarms": True}}, "expected a number above 0"),
        ({"check": {"max_false_alarms": float("nan")}}, "expected a number above 0"),
        ({"check": {"ignore": "comparison"}}, "check.ignore: expected a list of texts, got 'comparison'"),
        ({"check": {"exclude": [1]}}, "check.exclude: expected a list of texts"),
        ({"check": {"max_file_bytes": 0}}, "expected a whole number of at least 1, got 0"),
        ({"check": {"max_file_bytes": 1.5}}, "expected a whole number of at least 1, got 1.5"),
        ({"circuit_discovery": {"target_layers": [0, -1]}}, "expected a list of layers, counted from 0"),
        ({"circuit_discovery": {"target_layers": 3}}, "expected a list of layers, counted from 0"),
        ({"steering": {"normalize": 1}}, "steering.normalize: expected true or false, got 1"),
        ({"steering": {"default_strength": "x"}}, "steering.default_strength: expected a number, got 'x'"),
        ({"cache": {"max_megabytes": -1}}, "expected a number of at least 0, got -1"),
    ],
)
def test_a_mistake_says_what_was_expected_and_what_was_got(overrides: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(None, overrides)


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "ace.toml", "[model]\nnam = 1\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path)
    assert str(caught.value).startswith(f"{path}: unknown setting 'nam' in section 'model'")


@pytest.mark.parametrize("text", ["[model\n", "x = \n"])
def test_a_file_that_is_no_toml_is_told(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "ace.toml", text)
    with pytest.raises(SettingsError, match="expected TOML in UTF-8") as caught:
        load_settings(tmp_path)
    assert str(path) in str(caught.value)


def test_a_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "ace.toml").write_bytes(b'[model]\nname = "\xe9"\n')
    with pytest.raises(SettingsError, match="expected TOML in UTF-8"):
        load_settings(tmp_path)


def test_a_table_that_is_none_is_told(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", "[tool]\nace = 1\n")
    with pytest.raises(SettingsError, match=r"expected a table \[tool.ace\], got 1"):
        load_settings(tmp_path)


def test_a_file_that_can_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "ace.toml", "")

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(SettingsError, match=r"ace.toml: can't be read \(Permission denied\)"):
        load_settings(tmp_path)


def test_a_folder_that_one_may_not_look_into_has_no_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    assert load_settings(tmp_path) == EngineSettings()


def test_a_folder_called_as_the_file_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "ace.toml").mkdir()
    assert load_settings(tmp_path) == EngineSettings()


@pytest.mark.parametrize(("given", "kept"), [("BF16", "bfloat16"), ("fp32", "float32"), ("auto", "auto")])
def test_short_names_of_number_formats_become_the_long_ones(given: str, kept: str) -> None:
    assert load_settings(None, {"model": {"dtype": given}}).model.dtype == kept


def test_the_cache_is_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "kept"))
    assert cache_dir() == tmp_path / "kept"
    monkeypatch.setenv("ACE_CACHE_DIR", "~/kept")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "kept"


@pytest.mark.parametrize("value", [None, ""])
def test_the_cache_is_in_the_users_cache_folder_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("ACE_CACHE_DIR", raising=False)
    if value is not None:
        monkeypatch.setenv("ACE_CACHE_DIR", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir().name == "ace"
    assert not cache_dir().exists()

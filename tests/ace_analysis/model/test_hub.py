"""The hub's cache is read without the network, and the hub itself only where the user lets us."""

import contextlib
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from ace_analysis.errors import Cancelled, ModelError
from ace_analysis.model import hub
from ace_analysis.model.catalogue import HubFile
from ace_analysis.model.hub import cached_model, download_file, download_model, hub_has

FILE = HubFile("org/tiny", "tiny.gguf")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def put_into_cache(cache: Path, *files: str) -> Path:
    """A model as huggingface_hub lays it out."""
    root, commit = cache / "models--org--tiny", "0" * 40
    folder = root / "snapshots" / commit
    folder.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs/main").write_text(commit)
    for name in files:
        (folder / name).write_text("{}")
    return folder


def test_a_cached_model_is_found_without_the_network(hub_cache: Path) -> None:
    folder = put_into_cache(hub_cache, "config.json")
    assert cached_model("org/tiny") == folder


def test_a_model_that_is_not_cached_is_none(hub_cache: Path) -> None:
    assert cached_model("org/tiny") is None


def test_a_cached_repository_that_is_no_model_is_none(hub_cache: Path) -> None:
    put_into_cache(hub_cache, "README.md")
    assert cached_model("org/tiny") is None


def test_what_is_no_hub_name_is_none(hub_cache: Path) -> None:
    assert cached_model("a/b/c d") is None


def test_a_hub_that_the_user_forbids_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "hub_is_off", lambda: True)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: pytest.fail("it was asked"))
    assert not hub_has(FILE)


def test_a_hub_that_can_not_be_reached_has_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, timeout: float, **__: object) -> None:
        assert timeout <= 5
        raise OSError("no route to host")

    monkeypatch.setattr(hub, "hub_is_off", lambda: False)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", fail)
    assert not hub_has(FILE)


def test_a_hub_that_answers_has_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "hub_is_off", lambda: False)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: object())
    assert hub_has(FILE)


def test_a_download_tells_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repository: str, file: str, *, local_dir: Path, tqdm_class: type) -> str:
        with tqdm_class(total=4, unit="B", initial=1, desc=file) as bar:
            bar.update(3)
        (local_dir / file).write_bytes(b"1234")
        return str(local_dir / file)

    told: list[tuple[str, float | None]] = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    path = download_file(FILE, tmp_path, lambda message, fraction: told.append((message, fraction)))
    assert path.read_bytes() == b"1234"
    assert told == [("downloading org/tiny: 0 MB of 0 MB", 1.0)]


def test_only_weights_without_code_are_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patterns: list[str] = []

    def download(repository: str, *, allow_patterns: list[str], tqdm_class: type) -> str:
        patterns.extend(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert download_model("org/tiny", lambda message, fraction: None) == tmp_path
    assert not [each for each in patterns if each.endswith((".py", ".bin", ".pt", ".pkl", "*"))]


@pytest.mark.parametrize(
    ("off", "reason"), [(True, "HF_HUB_OFFLINE is set"), (False, "OSError: no route to host")]
)
def test_a_failed_download_says_why_and_what_to_do(
    off: bool, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(hub, "hub_is_off", lambda: off)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(
        ModelError, match=f"expected to download org/tiny .*, got {reason}.* give a local folder"
    ):
        download_model("org/tiny", lambda message, fraction: None)


def stop(message: str, fraction: float | None) -> None:
    raise Cancelled("that is enough")


def swallowing(*_: object, tqdm_class: type, **__: object) -> str:
    """A download that takes what a callback raises for a broken connection, and tries again."""
    with tqdm_class(total=4, unit="B", desc="f") as bar:
        for _attempt in range(2):
            try:
                bar.update(1)
            except Exception as error:
                failed = error
    raise RuntimeError("no more attempts") from failed


def ignoring(*_: object, tqdm_class: type, **__: object) -> str:
    """A download whose callbacks can raise what they like."""
    with tqdm_class(total=4, unit="B", desc="f") as bar, contextlib.suppress(Exception):
        bar.update(4)
    return "somewhere"


def passing(*_: object, tqdm_class: type, **__: object) -> str:
    with tqdm_class(total=4, unit="B", desc="f") as bar:
        bar.update(1)
    return "somewhere"


@pytest.mark.parametrize("download", [swallowing, ignoring, passing])
def test_a_caller_that_asks_to_stop_is_heard_whatever_the_library_does_with_errors(
    download: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(Cancelled, match="that is enough"):
        download_file(FILE, tmp_path, stop)
    with pytest.raises(Cancelled, match="that is enough"):
        download_model("org/tiny", stop)


def test_after_a_request_to_stop_the_caller_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def once(message: str, fraction: float | None) -> None:
        asked.append(message)
        raise Cancelled("that is enough")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", swallowing)
    with pytest.raises(Cancelled):
        download_file(FILE, tmp_path, once)
    assert len(asked) == 1

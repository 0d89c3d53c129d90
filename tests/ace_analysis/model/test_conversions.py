"""A conversion is whole or not there, and made by one process at a time."""

import json
import shutil
import threading
from pathlib import Path

import pytest

from ace_analysis.errors import StorageError
from ace_analysis.model import conversions
from ace_analysis.model.conversions import (
    DESCRIPTION,
    Conversion,
    Original,
    convert,
    folder_of,
    intact_conversion,
    locked,
    models_dir,
    read_conversion,
    remove_conversion,
)

SHA256 = "ab" * 32


def quiet(message: str, fraction: float | None) -> None:
    pass


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def original(tmp_path: Path) -> Original:
    return Original(
        gguf=tmp_path / "m.gguf",
        sha256=SHA256,
        name="m",
        source="somewhere",
        licence="MIT",
        tied=False,
        converted_size=1,
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversion that writes one small file, since what is tested is the folder around it."""

    def write(gguf: Path, folder: Path, *, name: str, tied: bool) -> None:
        (folder / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(conversions, "convert_gguf", write)


@pytest.mark.usefixtures("quick")
def test_a_conversion_says_what_it_is(original: Original) -> None:
    conversion = convert(original, quiet)
    assert read_conversion(folder_of(SHA256)) == conversion == intact_conversion(folder_of(SHA256))
    assert conversion.fingerprint == f"{SHA256}-r1"
    assert conversion.files["model.safetensors"]["size"] == 7


@pytest.mark.usefixtures("quick")
def test_folder_names_are_neutral(original: Original) -> None:
    convert(original, quiet)
    assert folder_of(SHA256).name == "abababababababab-r1"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_conversion_that_fails_leaves_nothing(
    error: BaseException, original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(gguf: Path, folder: Path, **_: object) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise error

    monkeypatch.setattr(conversions, "convert_gguf", fail)
    with pytest.raises(StorageError if isinstance(error, OSError) else KeyboardInterrupt):
        convert(original, quiet)
    assert not list(models_dir().iterdir())


@pytest.mark.usefixtures("quick")
def test_what_a_killed_process_left_behind_is_removed_and_others_work_is_not(original: Original) -> None:
    killed = models_dir() / f".unfinished-{folder_of(SHA256).name}-x"
    busy = models_dir() / ".unfinished-0123456789abcdef-r1-x"
    for folder in (killed, busy):
        folder.mkdir(parents=True)
    convert(original, quiet)
    assert not killed.exists() and busy.exists()


@pytest.mark.usefixtures("quick")
def test_a_damaged_conversion_is_replaced(original: Original) -> None:
    convert(original, quiet)
    weights = folder_of(SHA256) / "model.safetensors"
    weights.write_bytes(b"WEIGHTS")
    assert read_conversion(folder_of(SHA256)) is not None and intact_conversion(folder_of(SHA256)) is None
    convert(original, quiet)
    assert intact_conversion(folder_of(SHA256)) is not None


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("damage", ["cut", "missing", "no description", "broken description", "newer format"])
def test_a_conversion_that_is_not_whole_is_none(damage: str, original: Original) -> None:
    convert(original, quiet)
    folder = folder_of(SHA256)
    match damage:
        case "cut":
            (folder / "model.safetensors").write_bytes(b"weig")
        case "missing":
            (folder / "model.safetensors").unlink()
        case "no description":
            (folder / DESCRIPTION).unlink()
        case "broken description":
            (folder / DESCRIPTION).write_text("[]")
        case _:
            described = json.loads((folder / DESCRIPTION).read_text())
            (folder / DESCRIPTION).write_text(json.dumps({**described, "format": 99}))
    assert read_conversion(folder) is None and intact_conversion(folder) is None


@pytest.mark.usefixtures("quick")
def test_whole_conversions_are_listed(original: Original) -> None:
    conversion = convert(original, quiet)
    (models_dir() / "0000-r1").mkdir()
    assert conversions.conversions() == {folder_of(SHA256): conversion}


@pytest.mark.usefixtures("quick")
def test_removing_frees_the_folder(original: Original) -> None:
    convert(original, quiet)
    assert remove_conversion(folder_of(SHA256)) > 7
    assert not folder_of(SHA256).exists()


def test_a_second_process_waits_and_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    entered = threading.Event()

    def wait() -> None:
        with locked("m", lambda message, fraction: (told.append(message), entered.set())[0]):
            told.append("in")

    with locked("m", quiet):
        other = threading.Thread(target=wait)
        other.start()
        assert entered.wait(10)
        assert told == ["waiting for another process that is getting the same model"]
    other.join(10)
    assert told[-1] == "in"


def test_too_little_room_is_told_before_the_work(original: Original, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(StorageError, match="expected 0 MB free in"):
        convert(original, quiet)


def test_a_fingerprint_changes_with_the_recipe() -> None:
    def of(recipe: int) -> Conversion:
        return Conversion(name="m", gguf_sha256=SHA256, recipe=recipe, source="", licence="", files={})

    assert of(1).fingerprint != of(2).fingerprint

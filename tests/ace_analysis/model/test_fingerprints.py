"""The same weights have the same fingerprint, and other weights another."""

import os
from pathlib import Path

import pytest

from ace_analysis.errors import ModelError
from ace_analysis.model import fingerprints
from ace_analysis.model.disk import sha256_of
from ace_analysis.model.fingerprints import fingerprint_of_folder, fingerprint_of_gguf, kept_sha256_of


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names of the files that were read for their checksum; an empty cache."""
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))
    names: list[str] = []

    def counting(path: Path, *rest: object) -> str:
        names.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(fingerprints, "sha256_of", counting)
    return names


def weights(folder: Path, **files: bytes) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / f"{name}.safetensors").write_bytes(content)
    return folder


def test_a_gguf_files_fingerprint_names_its_recipe() -> None:
    assert fingerprint_of_gguf("abc", 1) != fingerprint_of_gguf("abc", 2)


def test_names_of_files_do_not_matter_and_bytes_do(tmp_path: Path, reads: list[str]) -> None:
    first = fingerprint_of_folder(weights(tmp_path / "1", a=b"x", b=b"y"))
    renamed = fingerprint_of_folder(weights(tmp_path / "2", p=b"y", q=b"x"))
    changed = fingerprint_of_folder(weights(tmp_path / "3", a=b"x", b=b"z"))
    assert first == renamed != changed


def test_one_files_fingerprint_is_its_checksum(tmp_path: Path, reads: list[str]) -> None:
    folder = weights(tmp_path / "1", a=b"x")
    assert fingerprint_of_folder(folder) == sha256_of(folder / "a.safetensors")


def test_a_file_is_read_once(tmp_path: Path, reads: list[str]) -> None:
    folder = weights(tmp_path / "1", a=b"x", b=b"y")
    assert fingerprint_of_folder(folder) == fingerprint_of_folder(folder)
    assert sorted(reads) == ["a.safetensors", "b.safetensors"]


def test_a_changed_file_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    folder = weights(tmp_path / "1", a=b"x")
    before = fingerprint_of_folder(folder)
    (folder / "a.safetensors").write_bytes(b"z")
    os.utime(folder / "a.safetensors", ns=(1, 1))
    assert fingerprint_of_folder(folder) != before and len(reads) == 2


def test_files_that_are_gone_are_forgotten(tmp_path: Path, reads: list[str]) -> None:
    first, second = weights(tmp_path / "1", a=b"x"), weights(tmp_path / "2", b=b"y")
    fingerprint_of_folder(first)
    (first / "a.safetensors").unlink()
    fingerprint_of_folder(second)
    assert [Path(each).name for each in fingerprints._read_kept()] == ["b.safetensors"]


@pytest.mark.parametrize("content", ["{", "[]", '{"%s": 1}'])
def test_a_damaged_list_of_checksums_costs_a_reading(content: str, tmp_path: Path, reads: list[str]) -> None:
    file = weights(tmp_path / "1", a=b"x") / "a.safetensors"
    kept_sha256_of(file)
    fingerprints._path().write_text(content.replace("%s", str(file)))
    assert kept_sha256_of(file) == sha256_of(file) and len(reads) == 2


def test_a_cache_that_can_not_be_written_costs_a_reading(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "file"))
    file = weights(tmp_path / "1", a=b"x") / "a.safetensors"
    assert kept_sha256_of(file) == kept_sha256_of(file) == sha256_of(file)


def test_a_folder_without_weights_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"expected weights \(\*\.safetensors.* in .*, got none"):
        fingerprint_of_folder(tmp_path)

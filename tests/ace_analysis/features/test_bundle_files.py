"""A file that is missing or has changed by one byte is named; what has no sums is not checked."""

import json
from pathlib import Path

import pytest

from ace_analysis.errors import BundleError
from ace_analysis.features.bundle_files import (
    BUNDLE_FILE,
    CARD_FILE,
    CORPUS_FILE,
    READOUT_FILE,
    SUMS,
    check_sums,
    sums_of,
    write_extras,
    write_json,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (READOUT_FILE, CARD_FILE, CORPUS_FILE):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "notes.txt").write_text("not of the bundle")
    return tmp_path


def test_sums_are_of_the_bundles_own_files(folder: Path) -> None:
    sums = sums_of(folder)
    assert set(sums) == {READOUT_FILE, CARD_FILE, CORPUS_FILE}
    assert all(len(each) == 64 for each in sums.values())
    check_sums(folder, {SUMS: sums})


@pytest.mark.parametrize("at", [0, 5, -1])
def test_one_changed_byte_is_seen(folder: Path, at: int) -> None:
    sums = sums_of(folder)
    content = bytearray((folder / READOUT_FILE).read_bytes())
    content[at] ^= 1
    (folder / READOUT_FILE).write_bytes(content)
    with pytest.raises(
        BundleError, match=f"{READOUT_FILE}: damaged, expected the SHA-256 .*; install ace-lsp"
    ):
        check_sums(folder, {SUMS: sums})


def test_a_missing_file_is_named(folder: Path) -> None:
    sums = sums_of(folder)
    (folder / CARD_FILE).unlink()
    with pytest.raises(BundleError, match=f"{CARD_FILE}: this file of the bundle is missing"):
        check_sums(folder, {SUMS: sums})


def test_a_file_that_can_t_be_read_is_told(folder: Path) -> None:
    sums = sums_of(folder)
    (folder / CARD_FILE).unlink()
    (folder / CARD_FILE).mkdir()
    with pytest.raises(BundleError, match=f"{CARD_FILE}: this file of the bundle can't be read"):
        check_sums(folder, {SUMS: sums})


def test_a_bundle_without_sums_is_not_checked(folder: Path) -> None:
    check_sums(folder, {})


@pytest.mark.parametrize("sums", [["a"], {"../outside": "0"}, {"notes.txt": "0"}, "x"])
def test_sums_of_other_files_are_refused(folder: Path, sums: object) -> None:
    with pytest.raises(BundleError, match=f"{BUNDLE_FILE}: expected sha256 of some of"):
        check_sums(folder, {SUMS: sums})


def test_extras_are_those_that_were_given_last(folder: Path) -> None:
    write_extras(folder, {CORPUS_FILE: b"new"})
    assert (folder / CORPUS_FILE).read_bytes() == b"new"
    write_extras(folder, {})
    assert not (folder / CORPUS_FILE).exists() and (folder / CARD_FILE).exists()


def test_json_is_written_for_people_too(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": "é"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"a": "é"} and "é" in text and text.count("\n") > 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]

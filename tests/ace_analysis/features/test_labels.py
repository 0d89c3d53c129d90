"""Labels lie beside a bundle, or don't."""

from pathlib import Path

import pytest

from ace_analysis.errors import StorageError
from ace_analysis.features.labels import LABELS_FILE, read_labels, write_labels

LABELS = {773: ("return", " None", "\n"), 4: ('"', "é\U0001f600")}


def test_labels_come_back_as_they_were_a_line_for_each_latent(tmp_path: Path) -> None:
    write_labels(tmp_path, LABELS)
    assert read_labels(tmp_path) == LABELS
    assert len((tmp_path / LABELS_FILE).read_text(encoding="utf-8").splitlines()) == len(LABELS) + 2


def test_a_folder_without_labels_has_none(tmp_path: Path) -> None:
    assert read_labels(tmp_path) == {}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"latents": 3}', '{"latents": {"x": []}}'])
def test_a_file_that_holds_no_labels_is_a_value_error(tmp_path: Path, content: str) -> None:
    (tmp_path / LABELS_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError):
        read_labels(tmp_path)


def test_labels_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="labels can't be written"):
        write_labels(tmp_path / "missing", LABELS)

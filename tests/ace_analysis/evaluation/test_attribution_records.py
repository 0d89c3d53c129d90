"""What was measured is not measured again, and never mixed with something else."""

from pathlib import Path

import pytest

from ace_analysis.errors import InputError, StorageError
from ace_analysis.evaluation.attribution_records import LINES, Records

ABOUT = {"fingerprint": "f", "prompts": {"seed": 0}}


def test_records_are_found_again(tmp_path: Path) -> None:
    first = Records(tmp_path / "new", ABOUT)
    assert first.get("a", "exact", "zero") is None
    first.put("a", "exact", "zero", seconds=1.5, effects=[1.0, -2.0])
    again = Records(tmp_path / "new", ABOUT)
    found = again.get("a", "exact", "zero")
    assert found is not None and found["effects"] == [1.0, -2.0] and len(again) == 1
    assert again.get("a", "exact", "mean") is None


def test_a_line_that_was_cut_short_counts_for_nothing(tmp_path: Path) -> None:
    Records(tmp_path, ABOUT).put("a", "exact", "zero", seconds=1.0)
    with (tmp_path / LINES).open("a", encoding="utf-8") as file:
        file.write('{"prompt": "b", "part": "ex')
    again = Records(tmp_path, ABOUT)
    assert len(again) == 1
    again.put("b", "exact", "zero", seconds=2.0)
    assert len(Records(tmp_path, ABOUT)) == 2


def test_records_of_something_else_are_refused(tmp_path: Path) -> None:
    Records(tmp_path, ABOUT)
    with pytest.raises(InputError, match="got others of prompts; name another folder"):
        Records(tmp_path, {**ABOUT, "prompts": {"seed": 1}})


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="can't be kept there"):
        Records(tmp_path / "file" / "folder", ABOUT)


def test_a_record_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    records = Records(tmp_path, ABOUT)
    (tmp_path / LINES).mkdir()
    with pytest.raises(StorageError, match="the record can't be written"):
        records.put("a", "exact", "zero")

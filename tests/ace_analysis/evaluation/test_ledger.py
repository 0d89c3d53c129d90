"""Kept results, and files that are not what they were."""

import pytest

from ace_analysis.errors import InputError, StorageError
from ace_analysis.evaluation.ledger import Ledger


def test_what_was_put_is_there_again(tmp_path):
    path = tmp_path / "folder" / "kept.jsonl"
    ledger = Ledger(path)
    assert ledger.get("a") is None
    ledger.put("a", {"text": "é\n", "scores": [1.5]})
    ledger.put("b", 2)
    ledger.put("b", 3)
    assert len(Ledger(path)) == 2
    assert Ledger(path).get("a") == {"text": "é\n", "scores": [1.5]}
    assert Ledger(path).get("b") == ledger.get("b") == 3


def test_a_line_that_was_cut_off_costs_only_itself(tmp_path):
    path = tmp_path / "kept.jsonl"
    Ledger(path).put("a", 1)
    Ledger(path).put("b", 2)
    path.write_bytes(path.read_bytes()[:-3])
    ledger = Ledger(path)
    assert (ledger.get("a"), ledger.get("b")) == (1, None)
    ledger.put("c", 3)
    assert [Ledger(path).get(key) for key in "abc"] == [1, None, 3]


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "kept.jsonl"
    path.write_text('{"key": "a", "value": 1}\n[]\n{"key": "b", "value": 1}\n')
    with pytest.raises(InputError, match=r"kept.jsonl:2: expected a kept result"):
        Ledger(path)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "kept.jsonl"
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(StorageError, match="expected kept results"):
        Ledger(path)


def test_a_place_that_can_not_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="can't write"):
        Ledger(tmp_path / "file" / "kept.jsonl").put("a", 1)

"""Verifying reads everything again, and tells each thing that is not as it was written."""

import json

import pytest
import torch

from ace_analysis.editing.deltas import RowDelta
from ace_analysis.editing.ledger import Edit, EditLedger
from ace_analysis.editing.verifying import verify
from ace_analysis.errors import ModelNotFound
from ace_analysis.model.edits import edits_dir
from ace_analysis.model.store import resolve_model


@pytest.fixture
def edited(monkeypatch, tmp_path, tiny_qwen2):
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))
    base = tmp_path / "base"
    base.mkdir()
    for path in tiny_qwen2.iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    delta = RowDelta(layer=1, module="mlp.down", rows=(3,), left=torch.ones(1, 1), right=torch.ones(1, 32))
    edit = Edit(model=resolve_model(str(base)), deltas=[delta], parameters={}, name="mine")
    return base, EditLedger().apply(edit)


def test_what_is_as_it_was_written_holds(edited):
    verified = verify("mine")
    assert verified.holds and verified.edits == 1
    assert verified.fingerprint == edited[1].fingerprint_after


def test_other_changes_receipts_and_weights_are_told(edited):
    base, receipt = edited
    changes = edits_dir() / "mine" / f"{receipt.sha256}.safetensors"
    kept = changes.read_bytes()
    changes.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    assert "have other bytes than were written" in verify("mine").problems[0]
    changes.unlink()
    assert "can't be read" in verify("mine").problems[0]
    changes.write_bytes(kept)
    path = edits_dir() / "mine" / "model.json"
    whole = path.read_text()
    described = json.loads(whole)
    described["edits"][0]["reason"] = "another"
    path.write_text(json.dumps(described))
    assert verify("mine").problems == ("the receipts are not those that were written",)
    described["fingerprint"] = "other"
    path.write_text(json.dumps(described))
    assert "recorded was other" in verify("mine").problems[1]
    path.write_text(whole)
    assert verify("mine").holds
    (base / "model.safetensors").write_bytes(b"other weights")
    assert "the base has the fingerprint" in verify("mine").problems[0]
    (base / "model.safetensors").unlink()
    assert "expected weights" in verify("mine").problems[0]


def test_weights_that_changed_behind_an_unchanged_time_are_noticed(edited):
    import os

    base, _ = edited
    file = base / "model.safetensors"
    status = file.stat()
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert verify("mine").problems == ("the base's weights have changed",)


def test_an_unknown_name_is_refused(edited):
    with pytest.raises(ModelNotFound, match="expected an edited model"):
        verify("other")

"""An edit of the real weights: planned, written, verified and taken back to the bit."""

import pytest
import torch

from ace_analysis.editing.ledger import EditLedger
from ace_analysis.editing.preparing import prepare
from ace_analysis.editing.requesting import EditRequest
from ace_analysis.editing.verifying import verify
from ace_analysis.errors import ModelNotFound
from ace_analysis.model.causal import load_causal
from ace_analysis.model.edits import put_on
from ace_analysis.model.scan import never
from ace_analysis.model.store import resolve_model

MODEL = "qwen2.5-coder-0.5b-instruct"
IDS = torch.tensor([[750, 912, 2877, 11, 293, 982, 262, 470]])

pytestmark = pytest.mark.model


@pytest.fixture
def own_ledger(monkeypatch, tmp_path):
    """The user's weights, and a ledger of the test's own."""
    for module in ("model.edits", "editing.ledger", "editing.ledger_files", "editing.verifying"):
        monkeypatch.setattr(f"ace_analysis.{module}.edits_dir", lambda: tmp_path / "edits")
    return tmp_path


@torch.no_grad()
def test_an_edit_is_planned_applied_verified_and_undone_to_the_bit(own_ledger):
    causal = load_causal(MODEL, "cpu", "float32")
    before = causal.model(input_ids=IDS).logits.clone()
    request = EditRequest(latents=(5,), mu=10.0, tau=0.5, name="tried", reason="a test", measure=False)
    edit, plan = prepare(causal, request, lambda message, fraction: None, never)
    assert torch.equal(causal.model(input_ids=IDS).logits, before)
    ledger = EditLedger()
    assert ledger.plan(edit).sha256 == ledger.apply(edit).sha256
    assert verify("tried").problems == ()
    stored = resolve_model("tried")
    assert stored.folder == resolve_model(MODEL).folder and stored.fingerprint != causal.info.fingerprint
    (matrix,) = [causal.blocks[each.layer].mlp.down_proj.weight for each in plan.deltas]
    kept = matrix.detach().clone()
    put_on(stored.edit, causal.model)
    assert not torch.equal(causal.model(input_ids=IDS).logits, before)
    (delta,) = plan.deltas
    rest = torch.ones(kept.shape[1], dtype=torch.bool)
    rest[list(delta.rows)] = False
    assert torch.equal(matrix[:, rest], kept[:, rest])
    ledger.undo("tried")
    with pytest.raises(ModelNotFound, match="all were undone"):
        resolve_model("tried")
    del causal
    again = load_causal(MODEL, "cpu", "float32")
    assert torch.equal(again.model(input_ids=IDS).logits, before)

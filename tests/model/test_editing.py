"""An edit of the real weights: planned, written, verified and taken back to the bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ace_analysis.editing.ledger import EditLedger
from ace_analysis.editing.preparing import prepare
from ace_analysis.editing.requesting import EditRequest
from ace_analysis.editing.verifying import verify
from ace_analysis.errors import ModelNotFound
from ace_analysis.model.causal import load_causal
from ace_analysis.model.conversions import models_dir
from ace_analysis.model.edits import put_on
from ace_analysis.model.scan import never
from ace_analysis.model.store import resolve_model

MODEL = "qwen2.5-coder-0.5b-instruct"
IDS = torch.tensor([[750, 912, 2877, 11, 293, 982, 262, 470]])

MOST = 1.5
"""Peak memory of planning and applying, in models in fp32."""

APPLY = """
import re, sys
from pathlib import Path
from ace_analysis.cli import main
try:
    main()
finally:
    status = Path("/proc/self/status").read_text()
    print(1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]), file=sys.stderr)
"""

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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell peak memory")
def test_planning_and_applying_takes_little_more_memory_than_the_model(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "models").symlink_to(models_dir(), target_is_directory=True)
    text = tmp_path / "text.py"
    text.write_text("import numpy as np\n\n\ndef mean(values):\n    return np.mean(np.asarray(values))\n")
    asked = ["edit", "apply", "--word", "np", "--text", str(text), "--model", MODEL, "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-c", APPLY, *asked, "--dtype", "float32", "--name", "tried", "--json", "--quiet"],
        env={**os.environ, "ACE_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["applied"]
    weights = resolve_model(MODEL).folder / "model.safetensors"
    in_fp32 = 2 * weights.stat().st_size
    assert int(done.stderr.split()[-1]) <= MOST * in_fp32

"""An exported folder is a model like any other, with the edited one's logits."""

import json

import pytest
import torch

from ace_analysis.editing.deltas import RowDelta
from ace_analysis.editing.export import export
from ace_analysis.editing.ledger import Edit, EditLedger
from ace_analysis.errors import Cancelled, InputError, StorageError
from ace_analysis.model.causal import load_causal
from ace_analysis.model.loading import load_hooked_model
from ace_analysis.model.store import resolve_model

IDS = torch.tensor([[3, 9, 27, 5, 11, 14]])


@pytest.fixture(autouse=True)
def own_ledger(monkeypatch, tmp_path):
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))


def edit(source) -> None:
    left, right = torch.randn(2, 1), torch.randn(1, 32)
    delta = RowDelta(layer=1, module="mlp.down", rows=(3, 5), left=left, right=right)
    EditLedger().apply(Edit(model=resolve_model(str(source)), deltas=[delta], parameters={}, name="mine"))


@torch.no_grad()
def test_transformers_and_transformerlens_load_it_with_the_same_logits(tiny_model, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    edit(tiny_model)
    folder = export("mine", tmp_path / "out")
    expected = load_causal("mine", "cpu", "float32").model(input_ids=IDS).logits
    plain = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    assert torch.equal(plain(input_ids=IDS).logits, expected)
    assert not torch.equal(
        load_causal(str(tiny_model), "cpu", "float32").model(input_ids=IDS).logits, expected
    )
    assert AutoTokenizer.from_pretrained(folder, local_files_only=True)("x").input_ids
    hooked = load_hooked_model(str(folder), "cpu", "float32")
    assert torch.equal(hooked(IDS), load_hooked_model("mine", "cpu", "float32")(IDS))
    assert json.loads((folder / "ace-edits.json").read_text())["name"] == "mine"


def test_a_folder_that_holds_something_and_an_unknown_dtype_are_refused(tiny_qwen2, tmp_path):
    edit(tiny_qwen2)
    with pytest.raises(InputError, match="a folder that is new or empty"):
        export("mine", tiny_qwen2)
    with pytest.raises(InputError, match="a dtype among float32"):
        export("mine", tmp_path / "out", "int8")


def test_what_fails_or_is_cancelled_leaves_nothing_behind(tiny_qwen2, tmp_path, monkeypatch):
    edit(tiny_qwen2)
    out = tmp_path / "exports" / "out"
    with pytest.raises(Cancelled, match="nothing was written"):
        export("mine", out, cancelled=lambda: True)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(StorageError, match="the disk became full"):
        export("mine", out)
    assert list(out.parent.iterdir()) == []

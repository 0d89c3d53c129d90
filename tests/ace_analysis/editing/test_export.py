"""An exported folder is a model like any other, with the edited one's logits.

This file is also the program of the processes that export at the same time, or are killed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ace_analysis.editing.deltas import RowDelta
from ace_analysis.editing.export import export
from ace_analysis.editing.ledger import Edit, EditLedger
from ace_analysis.editing.pisces import PISCES
from ace_analysis.errors import Cancelled, InputError, StorageError
from ace_analysis.model.causal import load_causal
from ace_analysis.model.loading import load_hooked_model
from ace_analysis.model.store import resolve_model

PATIENCE = 300
"""Seconds until a process that should have ended is given up."""

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


@torch.no_grad()
def test_a_tied_embedding_is_exported_as_it_was_and_edited_only_where_that_was_asked_for(
    tiny_model, tmp_path
):
    from transformers import AutoModelForCausalLM

    base = load_causal(str(tiny_model), "cpu", "float32")
    before = base.model.get_input_embeddings().weight
    for embedding in (False, True):
        plan = PISCES(base.model).remove_direction(torch.ones(32), 2, "resid_writers", embedding=embedding)
        name = f"embedding-{embedding}"
        EditLedger().apply(Edit.of_plan(resolve_model(str(tiny_model)), plan, name=name))
        exported = AutoModelForCausalLM.from_pretrained(export(name, tmp_path / name)).eval()
        after = exported.get_input_embeddings().weight
        assert after is exported.get_output_embeddings().weight
        assert torch.equal(after, before) is not embedding
        edited = load_causal(name, "cpu", "float32").model
        assert torch.equal(exported(input_ids=IDS).logits, edited(input_ids=IDS).logits)


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
    with pytest.raises(StorageError, match=r"the disk became full: .* or name a folder on another disk"):
        export("mine", out)
    assert list(out.parent.iterdir()) == []


def export_slowly(folder: str) -> None:
    """Tell each step, and wait for a line before the weights are written."""

    def told(message: str, _: float | None) -> None:
        print(message, flush=True)  # noqa: T201 - the processes talk over their pipes
        if message.startswith("writing"):
            sys.stdin.readline()

    try:
        export("mine", Path(folder), progress=told)
    except InputError as error:
        print(error)  # noqa: T201


def exporting(folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    program = [sys.executable, __file__, str(folder)]
    return subprocess.Popen(
        program, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def hear(one: subprocess.Popen[str], wanted: str) -> None:
    """Read what a process tells until it tells this."""
    assert one.stdout is not None
    told = []
    for line in one.stdout:
        told.append(line)
        if wanted in line:
            return
    raise AssertionError(f"expected {wanted!r} from the process, got {told}")


def test_a_process_that_is_killed_leaves_no_folder_and_the_next_one_clears_up(tiny_qwen2, tmp_path):
    edit(tiny_qwen2)
    out = tmp_path / "exports" / "out"
    killed = exporting(out)
    hear(killed, "writing mine")
    killed.kill()
    killed.wait(PATIENCE)
    (left,) = out.parent.iterdir()
    assert left != out
    assert export("mine", out) == out
    assert list(out.parent.iterdir()) == [out]


def test_two_exports_to_one_folder_are_made_one_after_the_other(tiny_qwen2, tmp_path):
    edit(tiny_qwen2)
    out = tmp_path / "exports" / "out"
    first = exporting(out)
    hear(first, "writing mine")
    second = exporting(out)
    hear(second, "waiting for another process that exports to the same folder")
    first.communicate("go\n", timeout=PATIENCE)
    hear(second, f"expected a folder that is new or empty, got {out}")
    assert [first.returncode, second.wait(PATIENCE)] == [0, 0]
    assert list(out.parent.iterdir()) == [out] and (out / "config.json").is_file()


if __name__ == "__main__":
    export_slowly(sys.argv[1])

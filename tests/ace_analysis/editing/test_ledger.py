"""Edits become names, names become weights, and taking an edit back gives the very weights again."""

import hashlib
import itertools
import os
import threading
from pathlib import Path

import pytest
import torch

from ace_analysis.editing.deltas import RowDelta, apply_deltas
from ace_analysis.editing.ledger import Edit, EditLedger
from ace_analysis.errors import (
    Cancelled,
    ChecksumError,
    FingerprintError,
    InputError,
    ModelError,
    ModelNotFound,
    StorageError,
)
from ace_analysis.model.causal import load_causal
from ace_analysis.model.edits import base_of, edited_fingerprint, edits_dir, put_on, read_deltas
from ace_analysis.model.loading import load_hooked_model, load_scanner
from ace_analysis.model.store import resolve_model

IDS = torch.tensor([[3, 9, 27, 5, 11, 14]])
WIDTH, NEURONS = 32, 48


@pytest.fixture(autouse=True)
def own_ledger(monkeypatch, tmp_path):
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def ledger() -> EditLedger:
    return EditLedger()


def delta(rows, seed=0, layer=1, module="mlp.down", all_rows=NEURONS) -> RowDelta:
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(all_rows if rows is None else len(rows), 2, generator=generator)
    return RowDelta(
        layer=layer,
        module=module,
        rows=rows,
        left=left,
        right=torch.randn(2, WIDTH, generator=generator),
    )


def edit_of(source, deltas, **more) -> Edit:
    return Edit(model=resolve_model(str(source)), deltas=deltas, parameters={"method": "test"}, **more)


@torch.no_grad()
def logits_of(name) -> torch.Tensor:
    return load_causal(str(name), "cpu", "float32").model(input_ids=IDS).logits


def weights_of(name) -> dict[str, torch.Tensor]:
    return load_causal(str(name), "cpu", "float32").model.state_dict()


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_loader_gives_the_weights_that_applying_the_deltas_gives(ledger, tiny_model):
    changes = [delta((1, 5)), delta(None, 3, 0, "attn.o", 32), delta((7,), 4, 3)]
    ledger.apply(edit_of(tiny_model, changes, name="mine"))
    plain = load_causal(str(tiny_model), "cpu", "float32")
    apply_deltas(plain.model, changes)
    causal = load_causal("mine", "cpu", "float32")
    for name, weight in plain.model.state_dict().items():
        assert torch.equal(causal.model.state_dict()[name], weight), name
    hooked = load_hooked_model("mine", "cpu", "float32")
    with torch.no_grad():
        expected = plain.model(input_ids=IDS).logits
        assert torch.allclose(hooked(IDS), expected, atol=1e-4)
    scanner = load_scanner("mine", "cpu", "float32", n_blocks=2)
    assert torch.equal(scanner.resid_post(IDS, 1), plain.scanner.resid_post(IDS, 1))
    assert not torch.equal(expected, logits_of(tiny_model))


def test_the_downloaded_weights_stay_as_they_are(ledger, tiny_qwen2):
    before = files_below(tiny_qwen2)
    ledger.apply(edit_of(tiny_qwen2, [delta((1, 5))], name="mine"))
    ledger.undo("mine")
    assert files_below(tiny_qwen2) == before


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_three_edits_of_different_rows_are_undone_in_any_order_to_the_bit(ledger, tiny_qwen2, order):
    changes = [delta((1, 2), 1), delta((3, 4), 2), delta((1, 2), 3, layer=2)]
    for each in changes:
        source = tiny_qwen2 if not ledger.entries() else "mine"
        ledger.apply(edit_of(source, [each], name="mine"))
    receipts = ledger.show("mine").edits
    left = [0, 1, 2]
    for number in order[:-1]:
        ledger.undo("mine", receipts[number].id)
        left.remove(number)
        plain = load_causal(str(tiny_qwen2), "cpu", "float32").model
        for each in left:
            apply_deltas(plain, [changes[each]])
        for name, weight in weights_of("mine").items():
            assert torch.equal(weight, plain.state_dict()[name])
    ledger.undo("mine", receipts[order[-1]].id)
    assert ledger.show("mine").fingerprint == resolve_model(str(tiny_qwen2)).fingerprint
    with pytest.raises(ModelNotFound, match="all were undone; use its base"):
        resolve_model("mine")


def test_an_edit_below_another_of_the_same_rows_is_not_undone_first(ledger, tiny_qwen2):
    before = weights_of(tiny_qwen2)
    first = ledger.apply(edit_of(tiny_qwen2, [delta((1, 2), 1)], name="mine"))
    middle = weights_of("mine")
    second = ledger.apply(edit_of("mine", [delta(None, 2)], name="mine"))
    kept = files_below(edits_dir())
    with pytest.raises(InputError, match=f"can't be undone before {second.id}.*layer 1 mlp.down: all rows"):
        ledger.undo("mine", first.id)
    assert files_below(edits_dir()) == kept
    assert ledger.undo("mine").sha256 == second.sha256
    assert all(torch.equal(weight, middle[name]) for name, weight in weights_of("mine").items())
    ledger.undo("mine")
    assert all(torch.equal(weight, before[name]) for name, weight in weights_of(tiny_qwen2).items())
    assert [each.sha256 for each in ledger.show("mine").undone] == [second.sha256, first.sha256]
    with pytest.raises(InputError, match="none: all were undone"):
        ledger.undo("mine")


def test_a_fingerprint_is_the_bases_and_a_checksum_over_all_edits_in_order(ledger, tiny_qwen2):
    base = resolve_model(str(tiny_qwen2)).fingerprint
    first = ledger.apply(edit_of(tiny_qwen2, [delta((1,), 1)], name="mine"))
    second = ledger.apply(edit_of("mine", [delta((2,), 2)], name="mine"))
    lines = "\n".join((base, first.sha256, second.sha256))
    expected = f"{base}+{hashlib.sha256(lines.encode()).hexdigest()}"
    assert resolve_model("mine").fingerprint == second.fingerprint_after == expected
    assert (first.fingerprint_before, second.fingerprint_before) == (base, first.fingerprint_after)
    assert base_of(expected) == base == base_of(base)
    assert edited_fingerprint(base, [second.sha256, first.sha256]) != expected


def test_a_model_can_be_edited_further_under_a_new_name_and_stands_on_its_own(ledger, tiny_qwen2):
    first = ledger.apply(edit_of(tiny_qwen2, [delta((1,), 1)], name="one"))
    both = ledger.apply(edit_of("one", [delta((2,), 2)]))
    assert [each.sha256 for each in ledger.show(both.name).edits] == [first.sha256, both.sha256]
    expected = logits_of(both.name)
    ledger.undo("one")
    assert torch.equal(logits_of(both.name), expected)


def test_planning_tells_the_receipt_and_writes_nothing(ledger, tiny_qwen2):
    edit = edit_of(tiny_qwen2, [delta((1,))], name="mine", reason="a try")
    planned = ledger.plan(edit)
    assert not edits_dir().exists()
    applied = ledger.apply(edit)
    assert (planned.sha256, planned.fingerprint_after) == (applied.sha256, applied.fingerprint_after)
    assert (applied.reason, applied.rank, str(applied.changed[0])) == ("a try", 2, "layer 1 mlp.down: 1 rows")


def test_names_that_are_taken_or_no_names_are_refused(ledger, tiny_qwen2):
    ledger.apply(edit_of(tiny_qwen2, [delta((1,))], name="mine"))
    with pytest.raises(InputError, match="a name that is free, got 'mine'"):
        ledger.apply(edit_of(tiny_qwen2, [delta((2,))], name="mine"))
    for name in ("../up", "a/b", "-x", "x" * 81):
        with pytest.raises(InputError, match="expected a name of up to 80"):
            ledger.plan(edit_of(tiny_qwen2, [delta((2,))], name=name))
    with pytest.raises(InputError, match="which is a model's"):
        ledger.plan(edit_of(tiny_qwen2, [delta((2,))], name="qwen2.5-coder-0.5b-instruct"))


def test_an_edit_that_changes_nothing_is_refused(ledger, tiny_qwen2):
    nothing = RowDelta(
        layer=1, module="mlp.down", rows=(1,), left=torch.zeros(1, 1), right=torch.ones(1, WIDTH)
    )
    with pytest.raises(InputError, match="changes nothing"):
        ledger.plan(edit_of(tiny_qwen2, [nothing]))


def test_an_edit_planned_on_what_has_changed_meanwhile_is_refused(ledger, tiny_qwen2):
    ledger.apply(edit_of(tiny_qwen2, [delta((1,))], name="mine"))
    late = edit_of("mine", [delta((2,))], name="mine")
    ledger.apply(edit_of("mine", [delta((3,), 5)], name="mine"))
    with pytest.raises(FingerprintError, match=r"edited since it was read.*Plan the edit again"):
        ledger.apply(late)


def test_another_base_than_the_edits_were_made_for_is_refused(ledger, tiny_qwen2, tiny_llama, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in tiny_qwen2.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    ledger.apply(edit_of(folder, [delta((1,))], name="mine"))
    (folder / "model.safetensors").write_bytes((tiny_llama / "model.safetensors").read_bytes())
    with pytest.raises(FingerprintError, match=r"mine was edited from .* undo the edits"):
        resolve_model("mine")


def test_changed_bytes_of_an_edit_are_refused_and_missing_ones_too(ledger, tiny_qwen2):
    receipt = ledger.apply(edit_of(tiny_qwen2, [delta((1,))], name="mine"))
    path = edits_dir() / "mine" / f"{receipt.sha256}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ChecksumError, match="nothing of it was used"):
        resolve_model("mine")
    path.unlink()
    with pytest.raises(Exception, match="undo it: ace edit undo mine"):
        resolve_model("mine")
    assert ledger.undo("mine").sha256 == receipt.sha256


def test_a_cancelled_edit_writes_nothing(ledger, tiny_qwen2):
    with pytest.raises(Cancelled, match="nothing was written"):
        ledger.apply(edit_of(tiny_qwen2, [delta((1,))], name="mine"), cancelled=lambda: True)
    assert ledger.entries() == ()


def test_a_full_disk_is_told_and_loses_nothing(ledger, tiny_qwen2, monkeypatch):
    ledger.apply(edit_of(tiny_qwen2, [delta((1,))], name="mine"))
    kept = {name: value for name, value in files_below(edits_dir()).items() if name != ".lock"}
    real = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the disk became full"):
        ledger.apply(edit_of("mine", [delta((2,))], name="mine"))
    with pytest.raises(StorageError, match="the disk became full"):
        ledger.undo("mine")
    monkeypatch.setattr(os, "fsync", real)
    assert {name: value for name, value in files_below(edits_dir()).items() if name != ".lock"} == kept


def test_two_edits_at_once_are_made_one_after_the_other(ledger, tiny_qwen2):
    """Of the same name: the second sees the first, and is refused instead of replacing it."""
    edits = [edit_of(tiny_qwen2, [delta((number,), number)], name="mine") for number in range(1, 7)]
    gate, outcomes = threading.Barrier(len(edits)), []

    def make(edit: Edit) -> None:
        gate.wait()
        try:
            outcomes.append(EditLedger().apply(edit).sha256)
        except InputError:
            outcomes.append(None)

    threads = [threading.Thread(target=make, args=[edit]) for edit in edits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (made,) = [each for each in outcomes if each]
    assert [each.sha256 for each in ledger.show("mine").edits] == [made]
    assert len(list((edits_dir() / "mine").glob("*.safetensors"))) == 1


def test_a_name_that_the_ledger_does_not_have_is_told_with_those_that_it_has(ledger, tiny_qwen2):
    with pytest.raises(ModelNotFound, match=r"an edited model \(none yet\), got 'mine'"):
        ledger.show("mine")
    ledger.apply(edit_of(tiny_qwen2, [delta((1,))], name="mine"))
    with pytest.raises(InputError, match="expected an edit of mine"):
        ledger.undo("mine", "ffff")


def test_a_description_that_is_damaged_is_refused_with_where_it_lies(ledger, tiny_qwen2):
    receipt = ledger.apply(edit_of(tiny_qwen2, [delta((1,))], name="mine"))
    path = edits_dir() / "mine" / "model.json"
    whole = path.read_text()
    for text, message in (
        ("{", "expected JSON"),
        ('{"format": 99}', "expected format 1"),
        ('{"format": 1}', "damaged"),
    ):
        path.write_text(text)
        with pytest.raises(ModelError, match=message):
            resolve_model("mine")
    path.write_text(whole)
    changes = edits_dir() / "mine" / f"{receipt.sha256}.safetensors"
    changes.write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"the edit is damaged.*undo it"):
        read_deltas(changes)


def test_an_edit_of_a_part_that_the_model_does_not_have_is_refused(ledger, tiny_qwen2, tmp_path):
    ledger.apply(edit_of(tiny_qwen2, [delta((1,))], name="mine"))
    with pytest.raises(ModelError, match=r"expected mlp\.down in block 1 of"):
        model = load_causal(str(tiny_qwen2), "cpu", "float32").model
        model.model.layers[1].mlp.down_proj = torch.nn.Identity()
        put_on(resolve_model("mine").edit, model)


def test_an_edited_embedding_is_the_same_in_a_scanner_of_a_model_stored_in_bf16(ledger, tiny_qwen2, tmp_path):
    folder = tmp_path / "narrow"
    narrow = load_causal(str(tiny_qwen2), "cpu", "bfloat16").model
    narrow.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tiny_qwen2 / name).read_bytes())
    change = RowDelta(
        layer=-1, module="embedding", rows=(3, 9), left=torch.full((2, 1), 1e-3), right=torch.ones(1, WIDTH)
    )
    ledger.apply(edit_of(folder, [change], name="mine"))
    scanned = load_scanner("mine", "cpu", "float32", n_blocks=2).resid_post(IDS, 1)
    assert torch.equal(scanned, load_causal("mine", "cpu", "float32").scanner.resid_post(IDS, 1))
    assert not torch.equal(scanned, load_scanner(str(folder), "cpu", "float32").resid_post(IDS, 1))


def test_blocks_that_have_an_edit_already_are_not_edited_twice(ledger, tiny_qwen2, tmp_path):
    """The whole model takes over the blocks that a scan of the edited model holds."""
    folder = tmp_path / "narrow"
    load_causal(str(tiny_qwen2), "cpu", "bfloat16").model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tiny_qwen2 / name).read_bytes())
    ledger.apply(edit_of(folder, [delta((1, 5), layer=0), delta((7,), 4, 3)], name="mine"))
    held = load_scanner("mine", "cpu", "float32", n_blocks=2)
    causal = load_causal("mine", "cpu", "float32", held)
    assert causal.blocks[0].mlp.down_proj.weight.data_ptr() == next(
        each.data_ptr()
        for name, each in held.decoder.named_parameters()
        if name == "layers.0.mlp.down_proj.weight"
    )
    for name, weight in weights_of("mine").items():
        assert torch.equal(causal.model.state_dict()[name], weight), name

"""What stands in a receipt can be read again, and a damaged one is refused."""

import json
from dataclasses import replace

import pytest

from ace_analysis.editing.receipt import ChangedRows, EditReceipt, receipt_from_json, receipt_to_json
from ace_analysis.errors import ModelError

RECEIPT = EditReceipt(
    sha256="ab" * 32,
    name="mine",
    fingerprint_before="base",
    fingerprint_after="base+1",
    parameters={"method": "erase", "mu": 30.0},
    changed=(ChangedRows(layer=3, module="mlp.down", rows=(1, 4)),),
    rank=2,
    norm=1.5,
    reason="a try",
    time="2026-01-01T00:00:00+00:00",
    measured={"perplexity": {"before": 2.0, "after": 2.1}},
)


def test_a_receipt_reads_back_from_json():
    assert receipt_from_json(json.loads(json.dumps(receipt_to_json(RECEIPT)))) == RECEIPT
    assert receipt_from_json({**receipt_to_json(RECEIPT), "added_later": 1}) == RECEIPT


def test_what_was_measured_is_told_with_what_it_was_measured_on():
    assert RECEIPT.effects == ["  perplexity: 2 -> 2.1"]
    assert replace(RECEIPT, measured={**RECEIPT.measured, "on": "a text"}).effects[-1] == "  on a text"
    assert replace(RECEIPT, measured={}).effects == []


@pytest.mark.parametrize("gone", ["changed", "sha256"])
def test_a_damaged_receipt_is_refused(gone):
    data = {name: value for name, value in receipt_to_json(RECEIPT).items() if name != gone}
    with pytest.raises(ModelError, match="got a damaged one"):
        receipt_from_json(data)


def test_rows_meet_in_the_same_matrix_only():
    def rows(layer, module, which):
        return ChangedRows(layer=layer, module=module, rows=which)

    mine = rows(3, "mlp.down", (1, 4))
    assert mine.overlaps(rows(3, "mlp.down", (4, 5))) and mine.overlaps(rows(3, "mlp.down", None))
    assert not mine.overlaps(rows(3, "mlp.down", (2, 5)))
    assert not mine.overlaps(rows(4, "mlp.down", None)) and not mine.overlaps(rows(3, "attn.o", None))
    assert str(rows(-1, "embedding", None)) == "the embedding: all rows"

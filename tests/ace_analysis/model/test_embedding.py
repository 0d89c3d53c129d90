"""A narrow table gives the numbers that a widened one gives."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ace_analysis.model import embedding
from ace_analysis.model.embedding import StoredEmbedding, widen, widen_blocks


class Decoder(nn.Module):
    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        self.embedding = embedding
        self.block = nn.Linear(4, 4, dtype=torch.bfloat16)

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def set_input_embeddings(self, embedding: nn.Module) -> None:
        self.embedding = embedding


class Scaled(nn.Embedding):
    """As Gemma's: it does more than look up."""


def test_looked_up_rows_are_those_of_the_widened_table() -> None:
    table = torch.randn(9, 4).bfloat16()
    rows = StoredEmbedding(table, torch.float32)(torch.tensor([[3, 0, 8]]))
    assert torch.equal(rows, table.float()[[3, 0, 8]][None])


def test_blocks_are_widened_and_the_table_is_not() -> None:
    decoder = Decoder(nn.Embedding(9, 4, dtype=torch.bfloat16))
    before = decoder.block.weight.detach().clone()
    assert widen_blocks(decoder, torch.float32)
    assert torch.equal(decoder.block.weight, before.float())
    assert next(decoder.embedding.parameters()).dtype == torch.bfloat16


def test_an_embedding_that_does_more_than_look_up_is_left_alone() -> None:
    decoder = Decoder(Scaled(9, 4, dtype=torch.bfloat16))
    assert not widen_blocks(decoder, torch.float32)
    assert decoder.block.weight.dtype == torch.bfloat16


def test_constants_that_were_rounded_are_noticed() -> None:
    decoder = Decoder(nn.Embedding(9, 4, dtype=torch.bfloat16))
    decoder.register_buffer("scale", torch.tensor(1.1, dtype=torch.bfloat16))
    assert not widen_blocks(decoder, torch.float32)


class Tied(nn.Module):
    """With a head that is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4, dtype=torch.bfloat16)
        self.head = nn.Linear(4, 9, bias=False, dtype=torch.bfloat16)
        self.head.weight = self.embedding.weight
        self.config = SimpleNamespace(dtype=torch.bfloat16)


def test_all_weights_are_widened_once_and_stay_tied(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = Tied(), []
    before = model.embedding.weight.detach().clone()
    monkeypatch.setattr(embedding, "ROOM", 1)
    assert widen(model, torch.float32, lambda: calls.append(model.head.weight.dtype))
    assert torch.equal(model.head.weight, before.float())
    assert model.head.weight is model.embedding.weight and model.config.dtype == torch.float32
    assert calls == [torch.float32, torch.float32], "once when there was enough, and at the end"


def test_a_model_whose_constants_were_rounded_is_not_widened() -> None:
    model = Tied()
    model.register_buffer("scale", torch.tensor(1.1, dtype=torch.bfloat16))
    assert not widen(model, torch.float32, lambda: None)
    assert model.head.weight.dtype == torch.bfloat16

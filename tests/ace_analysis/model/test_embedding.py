"""A narrow table gives the numbers that a widened one gives."""

import torch
from torch import nn

from ace_analysis.model.embedding import StoredEmbedding, widen_blocks


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

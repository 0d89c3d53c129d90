"""What is not quantized is widened exactly, and gets its own format back."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ace_analysis.errors import ModelError
from ace_analysis.model.embedding import StoredEmbedding
from ace_analysis.model.loading import load_scanner
from ace_analysis.quantization.widening import check_wide_enough, widen

from .conftest import same_state, state_of


def test_a_narrow_model_is_wide_and_then_itself_again(plain: Any) -> None:
    narrow = plain.to(torch.bfloat16)
    before = state_of(narrow)
    undo = widen(narrow, torch.float32)
    assert {parameter.dtype for parameter in narrow.parameters()} == {torch.float32}
    assert all(
        torch.equal(narrow.state_dict()[name].to(torch.bfloat16), value) for name, value in before.items()
    )
    undo()
    assert same_state(narrow, before)


def test_tied_tables_stay_tied(qwen2: Any) -> None:
    narrow = qwen2.to(torch.bfloat16)
    undo = widen(narrow, torch.float32)
    assert narrow.lm_head.weight is narrow.model.embed_tokens.weight
    undo()
    assert narrow.lm_head.weight is narrow.model.embed_tokens.weight


def test_an_embedding_that_is_kept_narrow_stays_so_and_gives_the_wide_format(
    tiny_qwen2: Path, tmp_path: Path, qwen2: Any
) -> None:
    import shutil

    folder = shutil.copytree(tiny_qwen2, tmp_path / "narrow")
    qwen2.to(torch.bfloat16).save_pretrained(folder)
    decoder: Any = load_scanner(str(folder), device="cpu", dtype="float32").decoder
    embedding = decoder.get_input_embeddings()
    assert isinstance(embedding, StoredEmbedding)
    undo = widen(decoder, torch.float64)
    assert embedding.table.dtype == torch.bfloat16
    assert embedding(torch.tensor([[1]])).dtype == torch.float64
    undo()
    assert embedding(torch.tensor([[1]])).dtype == torch.float32


@pytest.mark.parametrize(
    ("own", "target"),
    [(torch.float32, torch.bfloat16), (torch.float64, torch.float32), (torch.float16, torch.bfloat16)],
)
def test_a_target_that_the_model_would_be_rounded_to_is_refused(
    own: torch.dtype, target: torch.dtype
) -> None:
    with pytest.raises(
        ModelError, match=f"holds the model's {own}, got {target}: the whole model, and not only"
    ):
        check_wide_enough(torch.zeros(1, dtype=own), target)


@pytest.mark.parametrize("own", [torch.float32, torch.bfloat16, torch.float16])
def test_a_target_that_is_as_wide_or_wider_is_taken(own: torch.dtype) -> None:
    check_wide_enough(torch.zeros(1, dtype=own), torch.float32)

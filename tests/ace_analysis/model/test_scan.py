"""The scanner's numbers are the hooked model's, in whatever company a text is run."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, MistralConfig, MistralModel

from ace_analysis.errors import Cancelled, InputError, ModelError
from ace_analysis.model.loading import load_hooked_model, load_scanner
from ace_analysis.model.scan import ResidualScanner, blocks_of
from ace_analysis.model.sites import Site

LAYERS = 4

Close = Callable[[Tensor, Tensor], None]


def test_the_residual_stream_is_the_hooked_models_at_every_layer(
    scanner: ResidualScanner, hooked: Any, ids: Tensor, close: Close
) -> None:
    names = [Site(layer).hook_name for layer in range(LAYERS)]
    _, cache = hooked.run_with_cache(ids, names_filter=names)
    for layer, name in enumerate(names):
        close(scanner.resid_post(ids, layer), cache[name])


def test_the_residual_stream_is_plain_hugging_faces(
    scanner: ResidualScanner, ids: Tensor, tiny_model: Path
) -> None:
    plain = AutoModel.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.no_grad():
        states = plain(ids, output_hidden_states=True).hidden_states
    for layer in range(LAYERS - 1):  # the last state there is already normalised
        assert torch.equal(scanner.resid_post(ids, layer), states[layer + 1])


def test_the_first_blocks_alone_give_the_same_numbers(
    scanner: ResidualScanner, ids: Tensor, tiny_model: Path
) -> None:
    first_two = load_scanner(str(tiny_model), device="cpu", dtype="float32", n_blocks=2)
    assert first_two.n_blocks == 2 and first_two.info.n_layers == LAYERS
    assert torch.equal(first_two.resid_post(ids, 1), scanner.resid_post(ids, 1))


def test_later_blocks_are_not_in_memory(tiny_model: Path) -> None:
    def weights(n_blocks: int) -> int:
        decoder = load_scanner(str(tiny_model), device="cpu", dtype="float32", n_blocks=n_blocks)._decoder
        return sum(parameter.numel() for parameter in decoder.parameters())

    each = weights(2) - weights(1)
    assert each > 0 and weights(4) == weights(1) + 3 * each


def test_what_stands_behind_a_token_does_not_change_it(
    scanner: ResidualScanner, ids: Tensor, close: Close
) -> None:
    cut = scanner.resid_post(ids[:, :10], 3)
    close(scanner.resid_post(ids, 3)[:, :10], cut)


def test_padding_and_company_do_not_change_a_text(
    scanner: ResidualScanner, ids: Tensor, close: Close
) -> None:
    batch = torch.zeros(2, 24, dtype=torch.long)
    batch[0], batch[1, :9] = ids[0], ids[0, 3:12]
    alone = scanner.resid_post(ids[:, 3:12], 3)
    close(scanner.resid_post(batch, 3)[1:, :9], alone)


def tree_of(stem: list[int], branches: list[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and positions of a stem and branches, all in one row; a branch sees the stem and itself."""
    ids = list(stem)
    positions = list(range(len(stem)))
    length = len(stem) + sum(map(len, branches))
    mask = torch.zeros(length, length, dtype=torch.bool)
    mask[: len(stem), : len(stem)] = True
    for branch in branches:
        start, end = len(ids), len(ids) + len(branch)
        mask[start:end, : len(stem)] = True
        mask[start:end, start:end] = True
        ids += branch
        positions += range(len(stem), len(stem) + len(branch))
    return torch.tensor([ids]), mask.tril()[None], torch.tensor([positions])


def test_branches_run_as_a_tree_are_what_they_are_alone(
    scanner: ResidualScanner, ids: Tensor, close: Close
) -> None:
    stem, first, second = ids[0, :13].tolist(), ids[0, 13:19].tolist(), [5, 9, 11, 30]
    tree, mask, positions = tree_of(stem, [first, second])
    together = scanner.resid_post(tree, 3, attention_mask=mask, position_ids=positions)[0]
    alone = [scanner.resid_post(torch.tensor([stem + branch]), 3)[0] for branch in (first, second)]
    expected = torch.cat([alone[0], alone[1][len(stem) :]])
    close(together, expected)


def test_a_tree_whose_branches_see_each_other_is_something_else(
    scanner: ResidualScanner, ids: Tensor
) -> None:
    """Else the test above would pass for a wrong reason."""
    tree, mask, positions = tree_of(ids[0, :6].tolist(), [[7, 8], [5, 9]])
    seen = scanner.resid_post(tree, 3, attention_mask=torch.ones_like(mask).tril(), position_ids=positions)
    kept_apart = scanner.resid_post(tree, 3, attention_mask=mask, position_ids=positions)
    assert (seen - kept_apart).abs().max() > 1e-3


def test_gemma_3_is_read_and_branched_as_the_others(tiny_gemma3: Path, close: Close) -> None:
    scanner = load_scanner(str(tiny_gemma3), device="cpu", dtype="float32")
    hooked = load_hooked_model(str(tiny_gemma3), device="cpu", dtype="float32")
    stem, branch = list(range(2, 15)), [5, 9, 11, 30]
    _, cache = hooked.run_with_cache(torch.tensor([stem + branch]), names_filter=[Site(3).hook_name])
    tree, mask, positions = tree_of(stem, [[7, 8, 9], branch])
    together = scanner.resid_post(tree, 3, attention_mask=mask, position_ids=positions)
    close(together[:, -4:], cache[Site(3).hook_name][:, -4:])


def test_a_causal_mask_is_the_same_as_none(scanner: ResidualScanner, ids: Tensor, close: Close) -> None:
    mask = torch.ones(1, 24, 24, dtype=torch.bool).tril()
    masked = scanner.resid_post(ids, 3, attention_mask=mask)
    close(masked, scanner.resid_post(ids, 3))


def test_positions_alone_keep_the_causal_mask(scanner: ResidualScanner, ids: Tensor, close: Close) -> None:
    usual = scanner.resid_post(ids, 3, position_ids=torch.arange(24)[None])
    close(usual, scanner.resid_post(ids, 3))


def test_a_row_that_sees_nothing_is_still_finite(scanner: ResidualScanner, ids: Tensor) -> None:
    mask = torch.zeros(1, 24, 24, dtype=torch.bool)
    assert scanner.resid_post(ids, 3, attention_mask=mask).isfinite().all()


def test_a_cancel_is_noticed_before_the_next_block(scanner: ResidualScanner, ids: Tensor) -> None:
    asked = count(1)
    with pytest.raises(Cancelled, match="nothing was kept"):
        scanner.resid_post(ids, 3, cancelled=lambda: next(asked) == 3)
    assert next(asked) == 4
    assert scanner.resid_post(ids, 3).shape == (1, 24, 32)


def test_no_hook_stays_behind(scanner: ResidualScanner, ids: Tensor) -> None:
    scanner.resid_post(ids, 2)
    with pytest.raises(Cancelled):
        scanner.resid_post(ids, 2, cancelled=lambda: True)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in scanner._decoder.modules())


def test_the_result_may_be_trained_on(scanner: ResidualScanner, ids: Tensor) -> None:
    weights = torch.zeros(32, requires_grad=True)
    (scanner.resid_post(ids, 1) @ weights).sum().backward()
    assert weights.grad is not None


@pytest.mark.parametrize("layer", [-1, 2])
def test_a_layer_that_is_not_loaded_is_an_error(layer: int, tiny_qwen2: Path) -> None:
    scanner = load_scanner(str(tiny_qwen2), device="cpu", dtype="float32", n_blocks=2)
    with pytest.raises(InputError, match=f"expected a layer from 0 to 1, got {layer}; 2 of .* 4 blocks"):
        scanner.resid_post(torch.ones(1, 3, dtype=torch.long), layer)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("shape", [(1, 0), (0, 3)])
def test_ids_without_a_token_are_an_error(shape: tuple[int, int], scanner: ResidualScanner) -> None:
    with pytest.raises(InputError, match=r"at least one token, got \[\d, \d\]"):
        scanner.resid_post(torch.zeros(shape, dtype=torch.long), 0)


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_mask_of_another_type_is_an_error(scanner: ResidualScanner, ids: Tensor) -> None:
    with pytest.raises(
        InputError, match=r"expected an attention mask torch\.bool \[1, 24, 24\], got .*\[1, 5, 5\]"
    ):
        scanner.resid_post(ids, 0, attention_mask=torch.ones(1, 5, 5, dtype=torch.bool))


@pytest.mark.usefixtures("unchecked_shapes")
def test_positions_of_another_shape_are_an_error(scanner: ResidualScanner, ids: Tensor) -> None:
    with pytest.raises(InputError, match=r"expected position ids \[1, 24\], got \[1, 5\]"):
        scanner.resid_post(ids, 0, position_ids=torch.arange(5)[None])


def test_attention_that_a_mask_can_not_describe_is_an_error(tiny_qwen2: Path) -> None:
    scanner = load_scanner(str(tiny_qwen2), device="cpu", dtype="float32")
    scanner._decoder.config.layer_types = ["chunked_attention"] * 4
    with pytest.raises(ModelError, match=r"expected blocks with full or sliding attention, got .*chunked"):
        scanner.resid_post(torch.ones(1, 3, dtype=torch.long), 0, position_ids=torch.arange(3)[None])


def test_a_model_without_a_list_of_blocks_is_an_error() -> None:
    module = nn.Linear(1, 1)
    module.config = MistralConfig(num_hidden_layers=3)
    with pytest.raises(ModelError, match="expected a list of 3 blocks in Linear"):
        blocks_of(module)


def test_a_model_that_runs_no_block_is_an_error(tiny_qwen2: Path) -> None:
    scanner = load_scanner(str(tiny_qwen2), device="cpu", dtype="float32")
    scanner._decoder.config.num_hidden_layers = 1
    with pytest.raises(ModelError, match="to run block 2, but its forward pass ended before"):
        scanner.resid_post(torch.ones(1, 3, dtype=torch.long), 2)


def test_a_window_over_all_blocks_is_kept_in_a_tree(tiny_qwen2: Path, close: Close) -> None:
    """Mistral says its window in one place for all blocks."""
    shape = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.4}
    torch.manual_seed(0)
    decoder = MistralModel(MistralConfig(**shape, **heads, sliding_window=4)).eval()
    like = load_scanner(str(tiny_qwen2), device="cpu", dtype="float32")
    scanner = ResidualScanner(decoder, like.tokenizer, like.info)
    ids = torch.arange(12)[None]
    masked = scanner.resid_post(ids, 1, attention_mask=torch.ones(1, 12, 12, dtype=torch.bool).tril())
    close(masked, scanner.resid_post(ids, 1))


def test_a_model_that_is_stored_in_bf16_is_widened_exactly(
    tiny_model: Path, tmp_path: Path, ids: Tensor
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((tiny_model / "tokenizer.json").read_bytes())
    scanner = load_scanner(str(tmp_path), device="cpu", dtype="float32")
    plain = AutoModel.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        expected = plain(ids, output_hidden_states=True).hidden_states[2]
    resid = scanner.resid_post(ids, 1)
    assert resid.dtype == torch.float32 and torch.equal(resid, expected)
